"""A desk between the reader of a transport and the threads of an engine's own worker, which ask for one message each.

For engines' own command lines: the reader takes no more off the transport than there are threads that ask, so that
queues keep their order and a stop leaves nothing behind.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence


class Desk:
    """`Hands` that run nothing: what is brought is handed to who asks. What is brought may be whole messages."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self._asked = threading.Condition(lock)
        self._brought = threading.Condition(lock)
        self._asking = 0
        self._waiting: deque[str] = deque()
        self._closed = False

    def next(self, wait: float | None) -> str | None:
        """Return a message as soon as there is one; None after ``wait`` seconds, or once closed."""
        with self._brought:
            self._asking += 1
            self._asked.notify()
            try:
                self._brought.wait_for(lambda: self._waiting or self._closed, wait)
                return self._waiting.popleft() if self._waiting else None
            finally:
                self._asking -= 1

    def close(self) -> None:
        """Let go of everybody who asks or brings. Safe to repeat."""
        with self._brought:
            self._closed = True
            self._asked.notify_all()
            self._brought.notify_all()

    def room(self, wait: float) -> int:
        """As `Hands.room`: how many ask in vain."""
        with self._asked:
            self._asked.wait_for(lambda: self._room() > 0 or self._closed, wait)
            return 0 if self._closed else max(0, self._room())

    def take(self, ids: Sequence[str]) -> None:
        """As `Hands.take`, for what is to be handed on."""
        with self._brought:
            self._waiting.extend(ids)
            self._brought.notify(len(ids))

    def run(self, job_id: str) -> None:
        """Nothing is run at a desk."""
        raise NotImplementedError

    def _room(self) -> int:
        return self._asking - len(self._waiting)
