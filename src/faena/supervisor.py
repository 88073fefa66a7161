"""The supervisor: keeps a number of worker processes alive. It runs no jobs and holds no store.

Children are spawned in sessions of their own, so that a Ctrl-C in the terminal reaches them once, from here. Their
standard input is a pipe that only the supervisor holds: when it dies, they stop.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Final

from faena.process import MARGIN, RECYCLED, SIGNALS, SUPERVISED

logger = logging.getLogger("faena.supervisor")

LOOK_EVERY: Final = 0.1
AT_ONCE: Final = 5.0
"""A child that ends within so many seconds has failed to start: the next one waits longer."""
LONGEST_PAUSE: Final = 30.0
KILLED_PAUSE: Final = 0.5
"""Seconds before a child that a signal killed is replaced, however often: it did not choose to end."""
REFUSED: Final = 2
"""The exit code of a worker whose command line or settings are wrong: no other one would do better."""


class Place:
    """One place in the crew: its child, and when to start the next one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.start_at = 0.0
        self.failures = 0

    def start(self, command: Sequence[str]) -> None:
        """Start its child; when the system has no room for one, plan to try again."""
        self.started = monotonic()
        try:
            self.process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                env={**os.environ, SUPERVISED: "1"},
                start_new_session=True,
            )
        except OSError as error:
            pause = self._plan(failed=True)
            logger.error("no worker process can be started (%s); trying again in %.1f s", error, pause)
            return
        about = {"place": self.number, "pid": self.process.pid}
        logger.info("started worker process %d", self.process.pid, extra=about)

    def ended(self, *, asked: bool) -> int | None:
        """Return the status of a child that has ended, once; plan the next one, unless it was ``asked`` to end."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        if self.process.stdin is not None:
            self.process.stdin.close()
        good = status in (0, RECYCLED)
        quick = not good and monotonic() - self.started < AT_ONCE
        pause = self._plan(failed=quick, longest=KILLED_PAUSE if status < 0 else LONGEST_PAUSE)
        told = "has run its jobs" if status == RECYCLED else f"ended with status {status}"
        if asked:
            told = "has stopped" if good else f"{told} when it was stopped"
        else:
            told += f"; starting another one in {pause:.1f} s" if pause else "; starting another one"
        about = {"place": self.number, "pid": self.process.pid, "status": status}
        level = logging.INFO if good else logging.WARNING
        logger.log(level, "worker process %d %s", self.process.pid, told, extra=about)
        self.process = None
        return status

    def _plan(self, *, failed: bool, longest: float = LONGEST_PAUSE) -> float:
        """Plan the next child; returns the seconds until it may start, more after each failure in a row."""
        self.failures = self.failures + 1 if failed else 0
        pause = 0.0 if self.failures < 2 else min(0.25 * 2.0 ** min(self.failures, 10), longest)
        self.start_at = monotonic() + pause
        return pause

    def signal(self, number: int) -> None:
        """Send its child a signal."""
        if self.process is not None:
            with suppress(OSError):
                self.process.send_signal(number)


class Supervisor:
    """Runs ``processes`` children of one command. `run` belongs to the main thread; `stop` to any."""

    def __init__(self, command: Sequence[str], *, processes: int, grace: float = 30.0) -> None:
        self._command = tuple(command)
        self._places = [Place(number) for number in range(1, processes + 1)]
        self._grace = grace
        self._asked = 0
        self._told = 0
        self._end_at = float("inf")
        self._code = 0
        self._woken = threading.Event()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the children that live."""
        return tuple(place.process.pid for place in self._places if place.process is not None)

    def run(self) -> int:
        """Keep the children alive until stopped; returns the exit code."""
        with self._on_signals():
            while True:
                self._look()
                if self._asked and not self.pids:
                    return self._code
                self._woken.wait(LOOK_EVERY)
                self._woken.clear()

    def stop(self) -> None:
        """Have the children stop: in good order the first time, at once the second. Any thread."""
        self._ask()
        self._woken.set()

    def _ask(self) -> None:
        self._asked += 1
        margin = MARGIN if self._asked > 1 else self._grace + MARGIN
        self._end_at = min(self._end_at, monotonic() + margin + 5.0)

    def _look(self) -> None:
        """Pass on what was asked, see who has ended, fill the empty places."""
        if self._told < min(self._asked, 2):  # one a look: signals of a kind do not queue
            self._told += 1
            for place in self._places:
                place.signal(signal.SIGTERM)
        for place in self._places:
            if place.ended(asked=self._asked > 0) == REFUSED:
                self._give_up()
        for place in self._places:
            if self._asked and monotonic() > self._end_at:
                place.signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            elif not self._asked and place.process is None and place.start_at <= monotonic():
                place.start(self._command)

    def _give_up(self) -> None:
        if not self._asked:
            logger.error("a worker process refused its settings; stopping")
            self._code = REFUSED
            self.stop()

    @contextmanager
    def _on_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._received) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _received(self, number: int, frame: FrameType | None) -> None:
        """Note a signal, for the next look: `run`, which it has interrupted, may hold the lock of what wakes it."""
        self._ask()
