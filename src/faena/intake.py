"""How a worker gets its jobs: pulled from the store in batches, or one by one from an engine that delivers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Final, Protocol

from faena.batch import Batch
from faena.errors import EngineDown, Unavailable
from faena.ports.engine import Engine, ServeOptions, Serving
from faena.ports.store import Claim, Store
from faena.threads import Threads

logger = logging.getLogger("faena.worker")

REST: Final = 2.0
"""Seconds after which an idle worker looks for jobs even if nothing woke it."""
LONGEST_PAUSE: Final = 5.0
"""Seconds between two tries to start an engine that does not answer."""


class Crew(Protocol):
    """Who does the work: the worker."""

    @property
    def room(self) -> int:
        """How many jobs may be taken now."""
        ...

    async def change(self) -> None:
        """Return when `room` may have changed."""
        ...

    def take(self, claim: Claim, lease_until: float, ended: Callable[[], None] | None = None) -> None:
        """Run a job, or hand it back if the worker takes nothing new any more."""
        ...


class Intake(Protocol):
    """A source of jobs. `run` returns after `stop`; both belong to the worker's loop."""

    async def run(self) -> None:
        """Take jobs until stopped."""
        ...

    def stop(self) -> None:
        """Take nothing more."""
        ...


class Claims:
    """Claims with a lease that is known to hold until a moment of the monotonic clock."""

    def __init__(self, worker: str, lease: float) -> None:
        self.worker = worker
        self.lease = lease
        self.stopped = False
        self._requests = 0

    async def ask(self, verb: Callable[[str], Awaitable[list[Claim]]]) -> tuple[list[Claim], float]:
        """Call a claiming verb with a request id, again and again while the store is away: if it was carried out
        and only the answer was lost, the same request gets the same claims. No error ends the worker."""
        self._requests += 1
        request = f"{self.worker}:{self._requests}"
        asked, pause = monotonic(), 0.05
        while True:
            try:
                return await verb(request), asked + self.lease
            except Exception as error:
                if self.stopped:
                    return [], asked
                if pause == 0.05:
                    expected = isinstance(error, Unavailable)
                    logger.error("the store gives no jobs: %s", error, exc_info=None if expected else error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)


class Pull:
    """For the direct engine: claims as many jobs as there is room for, one call at a time."""

    def __init__(self, store: Store, crew: Crew, *, queues: Sequence[str], worker: str, lease: float) -> None:
        self._store = store
        self._crew = crew
        self._queues = tuple(queues)
        self._claims = Claims(worker, lease)
        self._resting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Claim, hand on, and rest when there is nothing."""
        while not self._claims.stopped:
            room = self._crew.room
            if room <= 0:
                await self._crew.change()
                continue
            claims, lease_until = await self._claims.ask(partial(self._claim, room))
            for claim in claims:
                self._crew.take(claim, lease_until)
            if claims:
                await asyncio.sleep(0)  # let them begin, and short ones end, before the next claim
            else:
                await self._rest()

    def stop(self) -> None:
        """Finish the claim that is under way (what it brings is handed back), then end."""
        self._claims.stopped = True
        if self._resting is not None:
            self._resting.cancel()

    async def _claim(self, room: int, request: str) -> list[Claim]:
        claims = self._claims
        return await self._store.claim_next(
            self._queues, worker=claims.worker, lease=claims.lease, limit=room, request=request
        )

    async def _rest(self) -> None:
        """Wait until there may be something to claim. Only this is broken off by a stop, never a claim."""
        if self._claims.stopped:
            return
        self._resting = asyncio.ensure_future(self._store.work(self._queues, wait=REST))
        try:
            await asyncio.wait([self._resting])
            if not self._resting.cancelled() and (error := self._resting.exception()) is not None:
                if not isinstance(error, Unavailable):
                    logger.error("waiting for work failed", exc_info=error)
                await asyncio.sleep(0.1)
        finally:
            self._resting.cancel()
            self._resting = None


class Serve:
    """For an engine that delivers: serves it from a thread, again after it failed, and claims what it brings."""

    def __init__(
        self, store: Store, engine: Engine, crew: Crew, *, options: ServeOptions, worker: str, lease: float
    ) -> None:
        self._store = store
        self._engine = engine
        self._crew = crew
        self._options = options
        self._claims = Claims(worker, lease)
        self._claim = Batch(self._claim_many)
        self._threads = Threads("faena-engine")
        self._serving: Serving | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve; when the engine goes away, start again after a pause that grows."""
        self._loop = asyncio.get_running_loop()
        pause = 0.1
        while not self._stopped.is_set():
            began = monotonic()
            try:
                await self._threads.start(self._serve)
                if not self._stopped.is_set():
                    logger.warning("the engine %s stopped serving; starting again", self._engine.name)
            except EngineDown as error:
                logger.warning("the engine %s does not answer: %s", self._engine.name, error)
            except Exception:
                logger.exception("the engine %s failed", self._engine.name)
            pause = 0.1 if monotonic() - began > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopped.wait()
        self._threads.close()

    def stop(self) -> None:
        """Have the engine take nothing more. Its calls under way end with their attempts."""
        self._claims.stopped = True
        self._stopped.set()
        if self._serving is not None:
            self._threads.start(self._serving.stop).add_done_callback(_log_error)

    def run_job(self, job_id: str) -> None:
        """The engine's `RunJob`: blocks its thread until the attempt has ended. Never raises."""
        ended = threading.Event()
        if self._loop is None or self._stopped.is_set():
            return
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._begin, job_id, ended.set)
            ended.wait()

    def _serve(self) -> None:
        serving = self._serving = self._engine.serve(self.run_job, self._options)
        if not self._stopped.is_set():
            serving.run()

    def _begin(self, job_id: str, ended: Callable[[], None]) -> None:
        task = asyncio.ensure_future(self._run(job_id, ended))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _run(self, job_id: str, ended: Callable[[], None]) -> None:
        try:
            claim, lease_until = await self._claim(job_id)
        except Exception:
            logger.exception("a job could not be claimed", extra={"job_id": job_id})
            ended()
            return
        if claim is None:
            ended()
        else:
            self._crew.take(claim, lease_until, ended)

    async def _claim_many(self, ids: Sequence[str]) -> list[tuple[Claim | None, float]]:
        """Claim what was delivered at about the same time in one call; of repeated ids the first gets the job."""
        unique = list(dict.fromkeys(ids))
        claims, lease_until = await self._claims.ask(partial(self._claim_ids, unique))
        found = {claim.job.id: claim for claim in claims}
        return [(found.pop(job_id, None), lease_until) for job_id in ids]

    async def _claim_ids(self, ids: Sequence[str], request: str) -> list[Claim]:
        claims = self._claims
        return await self._store.claim(ids, worker=claims.worker, lease=claims.lease, request=request)


def _log_error(future: asyncio.Future[object]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        logger.error("the engine could not be stopped in good order", exc_info=error)
