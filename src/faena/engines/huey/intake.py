"""What huey sees as its storage: an intake that hands messages to huey's worker threads, and nothing else.

Huey asks its storage several times a job: for the message, for revocations, for results. Here only the first
costs anything, since Faena's store keeps the rest, and one visit to the file serves every thread that is idle.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from huey.storage import BlackHoleStorage

from faena.engines.huey.bell import Bell
from faena.engines.huey.file import QueueFile, Row
from faena.errors import EngineDown

log = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 2.0
"""Seconds between two looks at a file that can't be used."""


class Intake(BlackHoleStorage):  # type: ignore[misc]
    """The messages of some queues in strict order. Takes no more off the file than there are idle threads.

    One idle thread at a time watches the file; those behind it wait for their turn.
    """

    blocking = True

    def __init__(self, file: QueueFile, bell: Bell, queues: Sequence[str]) -> None:
        super().__init__("faena")
        self._bell = bell
        self._file = file
        self._queues = tuple(queues)
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._idle = 0
        self._taken: deque[Row] = deque()
        self._halted = threading.Event()
        self._down_since: float | None = None

    def dequeue(self) -> bytes | None:
        """Return the next message, as soon as there is one; None once closed."""
        self._count_idle(+1)
        try:
            with self._turn:
                if not self._taken:
                    self._fetch(lambda: self._idle)
                return None if self._halted.is_set() else self._taken.popleft().data
        finally:
            self._count_idle(-1)

    def take(self, limit: int) -> list[object]:
        """Return up to ``limit`` messages, as soon as there is one; none once halted. For one caller alone."""
        with self._turn:
            self._fetch(lambda: limit)
            taken: list[object] = [row.data for row in self._taken]
            self._taken.clear()
            return taken

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        """Append a message to the first queue (huey's own way in; Faena's is `HueyEngine.deliver`)."""
        self._file.push([Row(self._queues[0], data, int(priority or 0))])
        self._bell.ring()

    def queue_size(self) -> int:
        """Return how many messages wait in the queues that are served."""
        return sum(self._file.count(queue) for queue in self._queues)

    def enqueued_items(self, limit: int | None = None) -> list[bytes]:
        """Return waiting messages, in order."""
        items = [data for queue in self._queues for data in self._file.peek(queue, limit or -1)]
        return items[:limit]

    def flush_queue(self) -> None:
        """Drop all waiting messages."""
        self._file.purge(self._queues)

    def peek_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Nothing is ever revoked here: cancelling a job is the store's business."""
        return {}

    @property
    def halted(self) -> bool:
        """True once `halt` was called."""
        return self._halted.is_set()

    def halt(self) -> None:
        """Let go of the threads that wait for a message; from now on there is none. Any thread, returns at once."""
        self._halted.set()
        self._bell.ring()

    def close(self) -> None:
        """Halt, and let go of the file. Safe to repeat."""
        self.halt()
        self._give_back()
        self._bell.take_down()
        self._file.close()

    def _give_back(self) -> None:
        with contextlib.suppress(EngineDown), self._turn:
            self._file.push([row._replace(first=True) for row in self._taken])
            self._taken.clear()

    def _count_idle(self, change: int) -> None:
        with self._counting:
            self._idle += change

    def _fetch(self, limit: Callable[[], int]) -> None:
        """Wait for messages and take as many as there are, up to the limit."""
        while not self._halted.is_set():
            try:
                self._taken.extend(self._file.pop(self._queues, limit()))
                self._tell_up()
                if self._taken:
                    return
                self._rest()
            except EngineDown as error:
                self._tell_down(error)

    def _rest(self) -> None:
        """Sleep until there may be more in the file than before."""
        while not self._halted.is_set():
            self._bell.wait()
            if self._file.changed():
                return

    def _tell_down(self, error: EngineDown) -> None:
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
            log.warning("huey's queue file cannot be read; trying again until it can: %s", error)
        self._halted.wait(min(0.1 + (now - self._down_since) / 4, LONGEST_PAUSE))

    def _tell_up(self) -> None:
        if self._down_since is not None:
            self._down_since = None
            log.warning("huey's queue file can be read again")
