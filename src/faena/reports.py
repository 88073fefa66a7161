"""What a running job tells, on its way to the store: gathered, in order, one report at a time.

`Told` is what gathers, wherever the function runs; `Reports` sends it to the store from the loop. Progress is
told at most ten times a second, the latest wins; all else goes as soon as the report before it has arrived.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Final

from faena.attempt import Attempt
from faena.context import Item
from faena.errors import Stale, StoreFull, Unavailable
from faena.events import NewEvent
from faena.ports.records import Held, Report

logger = logging.getLogger("faena.executor")

PROGRESS_EVERY: Final = 0.1
"""Seconds between two reports that tell progress only."""
ROOM: Final = 4 * 1024 * 1024
"""Bytes of events and log lines that may wait to be sent."""
STEPS: Final = 16
"""Reports that may wait; with more, progress does overtake events."""
LOOK_AGAIN: Final = 0.25
"""Seconds after which a waiting thread looks whether its attempt still counts."""


class Told:
    """What was told and waits to be sent, in order, with room for `ROOM` bytes. Thread-safe.

    Progress replaces progress that waits, but never overtakes an event: what comes after one is a step of its own.
    """

    __slots__ = ("_changed", "_size", "_steps")

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._steps: list[_Step] = []
        self._size = 0

    @property
    def only_progress(self) -> bool:
        """Nothing waits that may not wait a little longer."""
        return not any(step.events or step.checkpoint is not None for step in self._steps.copy())

    @property
    def empty(self) -> bool:
        """Nothing waits."""
        return not self._steps

    def full(self, size: int) -> bool:
        """There is no room for ``size`` bytes more (one item is taken up whatever its size)."""
        return size > 0 and self._size > 0 and self._size + size > ROOM

    def add(self, item: Item, *, wait: Callable[[], bool] | None) -> None:
        """Take an item up. Without room: wait while ``wait()`` is true, then drop it; without ``wait`` raise
        `Unavailable`."""
        with self._changed:
            while self.full(item.size):
                if wait is None:
                    raise Unavailable(
                        f"more than {ROOM:,} bytes of events and log lines wait to be stored, and an async "
                        "function must not block: await something between its calls, or make it a plain function"
                    )
                if not wait():
                    return
                self._changed.wait(LOOK_AGAIN)
            after_event = item.progress is not None and self._steps and self._steps[-1].events
            if not self._steps or (after_event and len(self._steps) < STEPS):
                self._steps.append(_Step())
            self._steps[-1].add(item)
            self._size += item.size

    def take(self) -> Item | None:
        """Return the first step that waits and make room, None if nothing does: call it again until then."""
        with self._changed:
            if not self._steps:
                return None
            item = self._steps.pop(0).item()
            self._size -= item.size
            self._changed.notify_all()
            return item


class _Step:
    """What is told in one report: progress and then events."""

    __slots__ = ("checkpoint", "events", "message", "progress", "size")

    def __init__(self) -> None:
        self.progress: float | None = None
        self.message: str | None = None
        self.events: list[NewEvent] = []
        self.checkpoint: bytes | None = None
        self.size = 0

    def add(self, item: Item) -> None:
        if item.progress is not None:
            self.progress = max(item.progress, self.progress or 0.0)
            self.message = item.message if item.message is not None else self.message
        self.checkpoint = item.checkpoint if item.checkpoint is not None else self.checkpoint
        self.events += item.events
        self.size += item.size

    def item(self) -> Item:
        return Item(
            progress=self.progress,
            message=self.message,
            events=tuple(self.events),
            checkpoint=self.checkpoint,
            size=self.size,
        )


class Reports:
    """The reports of one attempt, sent from its loop. `add` may be called from any thread, the rest from the loop."""

    __slots__ = (
        "_attempt",
        "_closed",
        "_loop",
        "_next_progress",
        "_number",
        "_on_held",
        "_room",
        "_send",
        "_sender",
        "_thread",
        "_timer",
        "_told",
        "_unsent",
        "_woken",
    )

    def __init__(
        self,
        attempt: Attempt,
        *,
        send: Callable[[Report], Awaitable[Held]],
        on_held: Callable[[Attempt, Held], None],
    ) -> None:
        self._attempt = attempt
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._send = send
        self._on_held = on_held
        self._told = Told()
        self._woken = False
        self._closed = False
        self._number = 0
        self._next_progress = 0.0
        self._sender: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._unsent: Report | None = None
        """On its way, or held back because the store is full."""

    def add(self, item: Item) -> None:
        """Take something up from the function; in another thread than the loop's, wait for room."""
        here = threading.get_ident() == self._thread
        self._told.add(item, wait=None if here else self._counts)
        if not self._counts():
            raise Stale(f"job {self._attempt.job.id}: this attempt is over; nothing it tells is kept")
        if here:
            self._start()
        elif not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._start)

    async def forward(self, item: Item) -> None:
        """Take up what a child process told; waits on the loop until there is room for it."""
        while self._told.full(item.size) and self._counts():
            self._room.clear()
            await self._room.wait()
        self._told.add(item, wait=self._counts)
        self._start()

    async def flush(self) -> bool:
        """Send what waits, without delay, and take nothing more. False: the store is full, and something waits still;
        it goes with the next `flush`, or is lost."""
        self._closed = True
        self._drop_timer()
        if self._sender is not None:
            await self._sender
        if self._unsent is not None or not self._told.empty:
            await self._drain()
        return self._unsent is None

    def give_up(self) -> None:
        """Forget what waits: the attempt does not count any more."""
        self._closed = True
        self._drop_timer()
        self._unsent = None
        while self._told.take() is not None:
            pass
        self._room.set()

    def _counts(self) -> bool:
        return not (self._attempt.stale or self._closed)

    def _start(self) -> None:
        """Send now; when there is only progress, and some was told a moment ago, a little later."""
        self._woken = False  # first: what is added from here on wakes us again
        if self._closed or self._sender is not None:
            return
        pause = self._next_progress - self._loop.time()
        if pause > 0 and self._told.only_progress:
            if self._timer is None:
                self._timer = self._loop.call_later(pause, self._start_late)
            return
        self._drop_timer()
        self._sender = self._loop.create_task(self._drain())

    def _start_late(self) -> None:
        self._timer = None
        self._start()

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _drain(self) -> None:
        try:
            while (report := self._next()) is not None:
                self._unsent = report
                held = await self._deliver(report)
                if self._unsent is not None:  # held back
                    return
                if held is not None:
                    self._on_held(self._attempt, held)
        finally:
            self._sender = None
        if not self._told.empty:
            self._start()

    def _next(self) -> Report | None:
        now = self._loop.time()
        if self._attempt.lost:
            self.give_up()
        if self._unsent is not None:
            return self._unsent
        if self._told.only_progress and now < self._next_progress and not self._closed:
            return None
        item = self._told.take()
        self._room.set()
        if item is None:
            return None
        if item.progress is not None:
            self._next_progress = now + PROGRESS_EVERY
        self._number += 1
        job = self._attempt.job
        return Report(
            job_id=job.id,
            token=job.token,
            number=self._number,
            progress=item.progress,
            message=item.message,
            events=item.events,
            checkpoint=item.checkpoint,
        )

    async def _deliver(self, report: Report) -> Held | None:
        """Send it, again and again while the store is away (a repeated report is recognised). Once the function has
        ended a full store is not waited for: the end of the job makes room in it."""
        pause = 0.05
        while not self._attempt.lost:
            try:
                held = await self._send(report)
            except Unavailable as error:
                if self._closed and isinstance(error, StoreFull):
                    return None
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            except Exception:
                logger.exception("a report was refused; what it told is lost", extra=self._attempt.about)
                break
            else:
                self._unsent = None
                return held
        self._unsent = None
        return None
