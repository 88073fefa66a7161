"""A worker as a whole process: signals, the loop, the exit code, and an end even when a function is stuck."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from time import monotonic
from types import FrameType
from typing import Final

from faena.errors import FaenaError
from faena.worker import Worker

logger = logging.getLogger("faena.worker")

DONE: Final = 0
RECYCLED: Final = 75
"""The exit code of a worker that has run its ``max_jobs``: start another one."""
HUNG: Final = 70
"""The exit code of a worker that did not end in good order, and was ended."""
SUPERVISED: Final = "FAENA__SUPERVISED"
"""Set in a worker whose standard input is a pipe that its supervisor holds: at its end the worker stops."""
MARGIN: Final = 10.0
"""Seconds beyond the grace time until a process that hangs is ended."""
LAST_WORDS: Final = 1.0
"""Seconds for the log and what was printed to be written, when the process is ended."""
SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name)
)

OpenWorker = Callable[[], AbstractAsyncContextManager[Worker]]


def run_worker_process(open_worker: OpenWorker) -> int:
    """Run a worker until it is stopped by SIGTERM or SIGINT (a second one: at once), and return the exit code.

    ``open_worker`` opens the store and makes the worker, on the loop. Call this in the main thread, last in the
    process: when a function can't be stopped, the process is ended from here.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        code, stuck = runner.run(_main(open_worker))
        for number in SIGNALS:  # for good: one that comes late must not change the exit code
            signal.signal(number, signal.SIG_IGN)
        if stuck:  # the loop's end would wait for them for ever
            exit_now(code)
    return code


async def _main(open_worker: OpenWorker) -> tuple[int, int]:
    async with open_worker() as worker:
        stop = Stop(worker)
        for number in SIGNALS:
            signal.signal(number, stop.received)
        if os.environ.pop(SUPERVISED, None):
            threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
        try:
            await worker.run()
        except FaenaError:
            raise  # it says what to do
        except Exception:
            logger.critical(
                "the worker broke and its process ends with status %d: start another one",
                HUNG,
                exc_info=True,
            )
            return HUNG, worker.stuck
    return (RECYCLED if worker.recycled and not stop.asked else DONE), worker.stuck


class Stop:
    """Stops a worker: in good order the first time, at once the second, and by force when it hangs.

    The handlers are Python's own, not the loop's: they run though an async function blocks the loop.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.asked = 0

    def __call__(self) -> None:
        """Stop it; any thread."""
        self.asked += 1
        now = self.asked > 1
        self._worker.stop(now=now)
        end_by_force_after(MARGIN if now else self._worker.options.grace + MARGIN)

    def received(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self()


def end_by_force_after(seconds: float) -> None:
    """End the process with `HUNG` if it still lives then. Safe in a signal handler."""
    timer = threading.Timer(seconds, exit_now, args=(HUNG,))
    timer.daemon = True
    timer.start()


def _stop_at_end_of_input(stop: Stop) -> None:
    """Wait for the supervisor's end of the pipe to close."""
    while os.read(0, 1024):
        pass
    logger.warning("the supervisor is gone; stopping")
    stop()


def exit_now(code: int) -> None:
    """End the process without waiting for functions that do not end (`Worker.stuck`), nor for long for last words:
    nobody may read the pipe that they go to, and a thread that never ends may hold a log handler's lock."""
    last = monotonic() + LAST_WORDS
    try:
        words = [
            threading.Thread(target=_told, args=(tell,), daemon=True)
            for tell in (logging.shutdown, sys.stdout.flush, sys.stderr.flush)
        ]
        for thread in words:
            thread.start()
        for thread in words:
            thread.join(max(last - monotonic(), 0.0))
    finally:
        os._exit(code)


def _told(tell: Callable[[], object]) -> None:
    with suppress(Exception):  # a stream that is closed, say
        tell()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop of a worker: uvloop's where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
