"""The slots of a worker: how many functions run at once, and how many jobs a free slot takes.

A claim costs the store little more for a dozen jobs than for one. So while jobs are short, a free slot takes several
with one claim, which run there one after the other, all within a few milliseconds. When jobs take longer, each free
slot takes one again, and who waits for a slot that does not come free is handed back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Final

SHORT: Final = 0.01
"""Seconds that all jobs which a slot takes at once may take together."""
LONG: Final = 0.1
"""Seconds that no short job takes, however busy the machine is with other things."""
RUN: Final = 32
"""After so many short jobs in a row each slot takes one job more."""
DEEPEST: Final = 16
"""Jobs that one slot takes at most."""
MOST: Final = 256
"""Jobs that all slots take at most with one claim, unless there are more slots."""
PATIENCE: Final = 0.02
"""Seconds after which a job that still waits for a slot is handed back. No more than what a rate limit allows for:
its starts are counted when they are claimed."""


class Slots:
    """Belongs to one event loop; the numbers may be read in any thread."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._queue: deque[tuple[float, asyncio.Future[bool]]] = deque()
        """Since when, and who waits for a slot."""
        self._timer: asyncio.TimerHandle | None = None
        self._in_a_row = 0
        """Short jobs; one that took a little longer, perhaps by chance, halves it."""
        self._closed = False
        self.busy = 0
        """How many functions run."""
        self.waiting = 0
        """How many jobs wait for a slot, or have not gone on yet since they got their answer."""

    @property
    def room(self) -> int:
        """How many jobs may be taken now."""
        free = self._count - self.busy - self.waiting
        return max(free, min(free * self._each, MOST))

    @property
    def ahead(self) -> int:
        """How many more may be on their way meanwhile: as many again while jobs are short."""
        return self.room if self._each > 1 else 0

    @property
    def _each(self) -> int:
        return min(1 + self._in_a_row // RUN, DEEPEST)

    def occupy(self) -> None:
        """Occupy a slot at once, for who counts them himself."""
        self.busy += 1

    async def enter(self) -> bool:
        """Occupy a slot, in the order of the calls; False: none came free in time."""
        if self.busy < self._count:
            self.busy += 1
            return True
        if self._closed:
            return False
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append((monotonic(), answer))
        self._watch()
        self.waiting += 1
        try:
            return await answer
        finally:
            self.waiting -= 1

    def leave(self, *, entered: float) -> None:
        """Free a slot that was entered at that moment of the monotonic clock: the next one gets it."""
        now = monotonic()
        self._learn(now - entered)
        self.busy -= 1
        self._send_away(now - PATIENCE)
        while self._queue and self.busy < self._count:
            _, answer = self._queue.popleft()
            if not answer.done():
                self.busy += 1
                answer.set_result(True)

    def _learn(self, took: float) -> None:
        if took * self._each <= SHORT:
            self._in_a_row = min(self._in_a_row + 1, RUN * DEEPEST)
        else:
            self._in_a_row = self._in_a_row // 2 if took <= LONG else 0

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        self._send_away(monotonic())
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self) -> None:
        """Look when the patience of the first one ends."""
        if self._timer is None:
            left = self._queue[0][0] + PATIENCE - monotonic()
            self._timer = asyncio.get_running_loop().call_later(left, self._look)

    def _look(self) -> None:
        self._timer = None
        self._send_away(monotonic() - PATIENCE)
        if self._queue:
            self._watch()

    def _send_away(self, since: float) -> None:
        """Give up on those who have waited since that moment or longer."""
        while self._queue and self._queue[0][0] <= since:
            _, answer = self._queue.popleft()
            self._in_a_row = 0
            if not answer.done():
                answer.set_result(False)
