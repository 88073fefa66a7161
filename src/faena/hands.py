"""The worker's hands, as an engine sees them: from an engine's threads to the worker's loop, in batches."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from typing import Any, Final

from faena.batch import Batch
from faena.claims import Claims, Crew
from faena.ports.records import Claim
from faena.ports.store import Store
from faena.starts import Timing

logger = logging.getLogger("faena.worker")

LOOP_LATE: Final = 5.0
"""Seconds that an engine's thread waits longer than it wanted to, for a loop that is held up."""
LOOK_FOR_THE_LOOP: Final = 1.0
"""Seconds after which an engine's thread that waits for an attempt looks whether there is still a loop to end it."""


class LoopHands:
    """The `Hands` of a worker whose loop is the running one."""

    def __init__(self, store: Store, crew: Crew, claims: Claims) -> None:
        self._store = store
        self._crew = crew
        self._claims = claims
        self._claim = Batch(self._claim_many)
        self._loop = asyncio.get_running_loop()
        self._calls: set[asyncio.Task[None]] = set()
        self._counting = threading.Lock()
        self._brought = 0
        """Ids that engine threads have handed over; counted by them."""
        self._arrived = 0
        """Those of them that were claimed or proved to be no-ops; counted by the loop."""

    def room(self, wait: float) -> int:
        """Return how many jobs could begin now, waiting for one. Blocks an engine's thread, never the loop."""
        if (room := self._room()) > 0 or self._claims.stopped:
            return room
        try:
            asked = asyncio.run_coroutine_threadsafe(self._room_within(wait), self._loop)
            return asked.result(wait + LOOP_LATE)
        except (RuntimeError, CancelledError, TimeoutError):  # the loop has ended, or is held up
            return 0

    def take(self, ids: Sequence[str]) -> None:
        """Begin jobs. Ids that come when the loop has ended are lost here, and redelivered."""
        if not ids:
            return
        with self._counting:
            self._brought += len(ids)
        with suppress(RuntimeError):  # the loop has ended
            unique = list(dict.fromkeys(ids))
            self._loop.call_soon_threadsafe(self._begin, partial(self._take, unique, len(ids)))

    def run(self, job_id: str) -> None:
        """Run a job for an engine that waits for it: blocks its thread until the attempt has ended."""
        ended = threading.Event()
        if self._claims.stopped:
            return
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._begin, partial(self._run, job_id, ended.set))
            while not ended.wait(LOOK_FOR_THE_LOOP) and not self._loop.is_closed():
                pass

    def _room(self) -> int:
        """How many jobs could begin, besides those that are on their way from the engine to the crew. While jobs are
        short, some may be read while others are being claimed."""
        on_the_way = self._brought - self._arrived  # first: who arrives meanwhile is counted twice, not never
        room = self._crew.room
        return 0 if self._claims.stopped else min(room, room + self._crew.ahead - on_the_way)

    async def _room_within(self, wait: float) -> int:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while self._room() <= 0 and not self._claims.stopped:
                    await self._crew.change()
        return max(0, self._room())

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.ensure_future(work())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _take(self, ids: Sequence[str], brought: int) -> None:
        """Claim what was brought together in one call."""
        try:
            claims, timing = await self._claims.ask(partial(self._claim_ids, ids))
            for claim in claims:
                self._crew.take(claim, timing)
            await asyncio.sleep(0)  # they begin, and are counted there before they are no more counted here
        finally:
            self._arrived += brought
            self._crew.changed()

    async def _run(self, job_id: str, ended: Callable[[], None]) -> None:
        try:
            claim, timing = await self._claim(job_id)
        except Exception:
            logger.exception("a job could not be claimed", extra={"job_id": job_id})
            ended()
            return
        if claim is None:
            ended()
        else:
            self._crew.take(claim, timing, ended)

    async def _claim_many(self, ids: Sequence[str]) -> list[tuple[Claim | None, Timing]]:
        """Claim what was delivered at about the same time in one call; of repeated ids the first gets the job."""
        unique = list(dict.fromkeys(ids))
        claims, timing = await self._claims.ask(partial(self._claim_ids, unique))
        found = {claim.job.id: claim for claim in claims}
        return [(found.pop(job_id, None), timing) for job_id in ids]

    async def _claim_ids(self, ids: Sequence[str], request: str) -> list[Claim]:
        claims = self._claims
        return await self._store.claim(ids, worker=claims.worker, lease=claims.lease, request=request)
