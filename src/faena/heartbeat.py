"""The heartbeat: a thread with its own loop and its own store connection, which a busy job can't hold up.

It keeps the leases of running jobs, learns of cancellations and lost leases, and lets the world know that the
worker lives.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol

from faena.attempt import Attempt
from faena.errors import Unavailable
from faena.job import Status
from faena.ports.records import Held, Lease, WorkerInfo
from faena.ports.store import Store

logger = logging.getLogger("faena.heartbeat")

EVERY: Final = 1.0
"""Seconds between two looks at the running jobs."""
EXTEND_BELOW: Final = 2 / 3
"""The part of a lease that must be left for it not to be extended yet."""


class Running(Protocol):
    """The attempts that are not concluded, to be copied from another thread: a set."""

    def copy(self) -> set[Attempt]:
        """Return a copy, in one step."""
        ...


class Heartbeat:
    """Started and stopped by the worker. ``held`` is called on the worker's loop with what the store answers."""

    def __init__(
        self,
        *,
        connect: Callable[[], Store],
        running: Running,
        held: Callable[[Attempt, Held], None],
        describe: Callable[[], WorkerInfo],
        lease: float,
        every: float = EVERY,
    ) -> None:
        self._connect = connect
        self._running = running
        self._held = held
        self._describe = describe
        self._lease = lease
        self._every = min(every, lease / 5)
        self._beat_every = lease / 3
        self._next_beat = 0.0
        self._worker_loop: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._down = False
        self._stopped = False

    def start(self) -> None:
        """Start the thread; call it on the worker's loop."""
        self._worker_loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="faena-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say farewell to the store and end the thread; waits a few seconds at most. Any thread."""
        self._stopped = True
        if self._loop is not None and self._ending is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._ending.set)
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _serve(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._main())
        except Exception:
            logger.exception("the heartbeat ended; running jobs will lose their leases")

    async def _main(self) -> None:
        store: Store | None = None
        self._ending = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if self._stopped:  # before there was an event to set
            self._ending.set()
        while not self._ending.is_set():
            seen = self._running.copy()
            try:
                if store is None:
                    store = await self._opened()
                async with asyncio.timeout(self._lease / 2):
                    await self.tick(store)
                self._recovered()
            except (Unavailable, TimeoutError) as error:
                self._failed(error)
            except Exception as error:
                logger.exception("a heartbeat failed")
                self._failed(error)
            self._expire(seen)
            await self._rest()
        if store is not None:
            with suppress(Exception):
                await store.leave(self._describe().id)
            await store.close()

    async def _opened(self) -> Store:
        store = self._connect()
        await store.open()
        return store

    async def _rest(self) -> None:
        assert self._ending is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(self._every):
                await self._ending.wait()

    async def tick(self, store: Store) -> None:
        """Extend the leases that are wearing out, look at the other jobs, and tell of the worker."""
        now = monotonic()
        attempts = [attempt for attempt in self._running.copy() if not attempt.lost]
        worn = [one for one in attempts if one.lease_until - now < self._lease * EXTEND_BELOW]
        await self._extend(store, worn)
        rest = [one for one in attempts if one.lease_until - now >= self._lease * EXTEND_BELOW]
        await self._look(
            store, [one for one in rest if not one.cancelled and now - one.started >= self._every]
        )
        if now >= self._next_beat:
            await store.beat(self._describe(), ttl=self._lease)
            self._next_beat = now + self._beat_every

    async def _extend(self, store: Store, attempts: Sequence[Attempt]) -> None:
        if not attempts:
            return
        asked = monotonic()
        leases = [Lease(job_id=one.job.id, token=one.job.token) for one in attempts]
        for attempt, held in zip(attempts, await store.extend(leases, lease=self._lease), strict=True):
            if held.held:
                attempt.lease_until = asked + self._lease
            self._tell(attempt, held)

    async def _look(self, store: Store, attempts: Sequence[Attempt]) -> None:
        """Learn of cancellations between two extensions; that costs the store a reading only."""
        if not attempts:
            return
        for attempt, job in zip(attempts, await store.get([one.job.id for one in attempts]), strict=True):
            held = job is not None and job.token == attempt.job.token and job.status is Status.PROCESSING
            self._tell(attempt, Held(held=held, cancel_requested=job is not None and job.cancel_requested))

    def _expire(self, attempts: Iterable[Attempt]) -> None:
        """Give up the attempts whose lease must be over by now, whatever the store would say: those that were there
        to be extended. (One that was claimed in an outage may come with an old lease that still holds.)"""
        now = monotonic()
        for attempt in attempts:
            if attempt.lease_until <= now and not attempt.lost:
                self._tell(attempt, Held(held=False))

    def _tell(self, attempt: Attempt, held: Held) -> None:
        """Flags first, for functions that block the loop; then the worker's loop."""
        if attempt.concluded or (held.held and not held.cancel_requested):
            return
        if held.held:
            attempt.cancelled = True
        else:
            attempt.lost = True
        if self._worker_loop is not None:
            with suppress(RuntimeError):  # the worker's loop has ended
                self._worker_loop.call_soon_threadsafe(self._held, attempt, held)

    def _failed(self, error: BaseException) -> None:
        if not self._down:
            logger.error("the store does not answer the heartbeat: %s", error or type(error).__name__)
        self._down = True

    def _recovered(self) -> None:
        if self._down:
            logger.info("the store answers the heartbeat again")
        self._down = False
