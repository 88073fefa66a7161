"""Stops functions: at their limits, after a cancellation, when the lease is lost, when the worker ends.

One timer serves all attempts of a process. It is set to the earliest moment at which there is something to do, and
only then are the attempts looked through: an attempt that ends in time costs one comparison.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection
from typing import Final

from faena.attempt import Attempt, Why

logger = logging.getLogger("faena.executor")

LAST_WORD: Final = 1.0
"""Seconds that an async function has between being told to end for the last time and being left behind."""


class Stopping:
    """Belongs to one event loop; every method is called there."""

    def __init__(
        self, running: Collection[Attempt], *, cancel_grace: float, leave: Callable[[Attempt], None]
    ) -> None:
        self._running = running
        self._cancel_grace = cancel_grace
        self._leave = leave
        """Concludes an attempt whose function does not end."""
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def limit(self, attempt: Attempt, timeout: float) -> None:
        """Give an attempt ``timeout`` seconds from now."""
        attempt.limit_at = self._loop.time() + timeout
        self._plan(attempt)

    def cancel(self, attempt: Attempt) -> None:
        """Somebody asked to cancel the job: its context says so from now on; force comes after the grace time."""
        attempt.cancelled = True
        if not attempt.noticed and attempt.handle is not None and attempt.runner is not None:
            attempt.noticed = True
            attempt.runner.notice(attempt)
            attempt.cancel_at = self._loop.time() + self._cancel_grace
            self._plan(attempt)

    def lost(self, attempt: Attempt) -> None:
        """The lease is gone: end the function, record nothing."""
        if not attempt.concluded and attempt.why is not Why.STALE:
            logger.warning("an attempt lost its lease; nothing of it is recorded", extra=attempt.about)
            self.stop_now(attempt, Why.STALE)

    def stop_now(self, attempt: Attempt, why: Why) -> None:
        """End the function without a grace time of its own."""
        self._kill(attempt, why, patience=LAST_WORD)

    def close(self) -> None:
        """Do nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self, attempt: Attempt) -> None:
        attempt.due = min(attempt.limit_at, attempt.cancel_at, attempt.kill_at)
        if attempt.due < self._timer_at:
            self._set_timer(attempt.due)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = None if at == math.inf else self._loop.call_at(at, self._look)

    def _look(self) -> None:
        now = max(
            self._loop.time(), self._timer_at
        )  # a timer may come a little early by the loop's own clock
        self._timer_at = math.inf
        for attempt in [attempt for attempt in self._running if attempt.due <= now]:
            self._act(attempt, now)
        self._set_timer(min((attempt.due for attempt in self._running), default=math.inf))

    def _act(self, attempt: Attempt, now: float) -> None:
        """Take the step that is due."""
        if attempt.handle is None:  # the function has ended; its outcome is on the way
            attempt.limit_at = attempt.cancel_at = attempt.kill_at = math.inf
        elif attempt.kill_at <= now:
            attempt.kill_at = math.inf
            self._leave(attempt)
        elif attempt.cancel_at <= now:
            attempt.cancel_at = math.inf
            self._kill(attempt, Why.CANCEL, patience=self._grace(attempt))
        elif not attempt.asked:
            attempt.limit_at = now + self._grace(attempt)
            self._ask(attempt)
        else:
            attempt.limit_at = math.inf
            self._kill(attempt, Why.TIMEOUT, patience=LAST_WORD)
        attempt.due = min(attempt.limit_at, attempt.cancel_at, attempt.kill_at)

    def _ask(self, attempt: Attempt) -> None:
        attempt.asked = True
        attempt.stop(Why.TIMEOUT)
        if attempt.runner is not None:
            attempt.runner.ask(attempt)

    def _kill(self, attempt: Attempt, why: Why, *, patience: float) -> None:
        attempt.stop(why)
        if attempt.runner is None or attempt.handle is None:
            return
        if not attempt.runner.kill(attempt, why):
            attempt.kill_at = self._loop.time() + patience
            self._plan(attempt)

    @staticmethod
    def _grace(attempt: Attempt) -> float:
        return LAST_WORD if attempt.task is None else attempt.task.options.grace
