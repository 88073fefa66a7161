"""Threads for plain functions: started when needed, used again, and left behind when they are stuck.

Not `ThreadPoolExecutor`: its threads can't be replaced when one never returns, and the interpreter waits for them
at its exit, so that one stuck function would hold up the whole process for ever. These are daemon threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

Work = Callable[[], None]


class Threads:
    """A pool that belongs to one event loop. Whoever uses it limits how many calls are under way."""

    def __init__(self, name: str = "faena-task") -> None:
        self._name = name
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._count = 0
        self._idle = 0
        self._busy = 0

    @property
    def busy(self) -> int:
        """How many calls are under way, those that were left behind too."""
        return self._busy

    def start(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call ``function`` in a thread, with a copy of this context's variables. Cancel the future to leave the
        call behind: its thread goes on until it returns, and another one takes its place."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = context.run(function)
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._settle, future, result, error)
            result = error = None  # else the error's traceback holds this frame, and the frame the error

        if self._idle > 0:
            self._idle -= 1
        else:
            self._add_thread()
        self._busy += 1
        self._work.put(work)
        return future

    def close(self) -> None:
        """Let idle threads end; the others end when their call returns."""
        for _ in range(self._count):
            self._work.put(None)

    def _settle(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._idle += 1
        self._busy -= 1
        if future.done():
            return
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration | asyncio.CancelledError):  # a future can't carry these
            future.set_exception(RuntimeError(f"the function raised {type(error).__name__}: {error}"))
        else:
            future.set_exception(error)

    def _add_thread(self) -> None:
        self._count += 1
        threading.Thread(target=self._serve, name=f"{self._name}-{self._count}", daemon=True).start()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            del work  # what it holds must not outlive it while this thread waits
