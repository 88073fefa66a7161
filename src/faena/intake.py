"""How a worker gets its jobs: pulled from the store in batches, or brought by an engine that delivers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Final, Protocol

from faena.claims import Claims, Crew
from faena.errors import EngineDown, Unavailable
from faena.hands import LoopHands
from faena.ports.engine import Engine, ServeOptions, Serving
from faena.ports.records import Claim
from faena.ports.store import Store
from faena.threads import Threads

logger = logging.getLogger("faena.worker")

REST: Final = 2.0
"""Seconds after which an idle worker looks for jobs even if nothing woke it."""
LONGEST_PAUSE: Final = 5.0
"""Seconds between two tries to start an engine that does not answer."""


class Intake(Protocol):
    """A source of jobs. `run` returns after `stop`; both belong to the worker's loop."""

    async def run(self) -> None:
        """Take jobs until stopped."""
        ...

    def stop(self) -> None:
        """Take nothing more."""
        ...


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
            claims, timing = await self._claims.ask(partial(self._claim, room))
            for claim in claims:
                self._crew.take(claim, timing)
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
        self._threads = Threads("faena-engine")
        self._serving: Serving | None = None
        self._stopped = asyncio.Event()
        self._hands: LoopHands | None = None

    async def run(self) -> None:
        """Serve; when the engine goes away, start again after a pause that grows."""
        self._hands = LoopHands(self._store, self._crew, self._claims)
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

    def _serve(self) -> None:
        assert self._hands is not None
        serving = self._serving = self._engine.serve(self._hands, self._options)
        if not self._stopped.is_set():
            serving.run()


def _log_error(future: asyncio.Future[object]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        logger.error("the engine could not be stopped in good order", exc_info=error)
