"""The child process, ``python -m faena.isolation``: started by `faena.isolation.pool`, never by hand.

It speaks frames over what were its standard input and output; what the functions print goes to standard error,
the worker's. It runs one job at a time in its main thread and ends when its worker does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Final

from faena import outcomes
from faena.attempt import Why
from faena.context import Context, Item
from faena.errors import SoftTimeout
from faena.isolation import frames
from faena.isolation.rlimits import limited, no_core_dumps
from faena.job import Job, Outcome
from faena.reports import Told
from faena.task import Task

if TYPE_CHECKING:
    from faena.app import Faena

GATHER: Final = 0.02
"""Seconds for which what a function tells is gathered into one frame."""
_SIGKILL: Final = 9
_PR_SET_PDEATHSIG: Final = 1


class Channel:
    """The pipes to the worker. `send` may be called from any thread."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._in: IO[bytes] = os.fdopen(incoming, "rb", buffering=64 * 1024)
        self._out = outgoing
        self._lock = threading.Lock()

    @classmethod
    def take_over(cls) -> Channel:
        """Take standard input and output away from everybody else in this process."""
        incoming, outgoing = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        return cls(incoming, outgoing)

    def receive(self) -> frames.ToChild | None:
        """Return the next frame; None when the worker is gone."""
        header = self._in.read(frames.HEADER.size)
        if len(header) < frames.HEADER.size:
            return None
        (length,) = frames.HEADER.unpack(header)
        body = self._in.read(length)
        return frames.decode_to_child(body) if len(body) == length else None

    def send(self, frame: frames.Frame) -> None:
        """Send a frame; waits while the worker does not read."""
        left = memoryview(frames.pack(frame))
        with self._lock:
            while left:
                left = left[os.write(self._out, left) :]


class Running:
    """The job that runs: the `Line` of its context, and what the worker's notices reach."""

    def __init__(self, job: Job, channel: Channel, something: threading.Event) -> None:
        self.job = job
        self.cancelled = False
        self.overdue = False
        self.stale = False
        self.why: Why | None = None
        self._told = Told()
        self._something = something
        """Set when something was told."""
        self._channel = channel
        self._unsent: Item | None = None
        self._sending = threading.Lock()
        self._interrupting = threading.Lock()
        self._thread = threading.main_thread().ident or 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._interruptible = False

    def tell(self, item: Item) -> None:
        """Take it up; waits while the worker can't follow."""
        self._told.add(item, wait=lambda: True)
        self._something.set()

    def flush(self) -> None:
        """Send all that was told."""
        with self._sending:
            self._unsent = self._unsent or self._told.take()
            while self._unsent is not None:
                self._channel.send(frames.tell(self._unsent))
                self._unsent = self._told.take()

    def take_notice(self, stop: frames.Stop) -> None:
        """Take up what the worker says of this job (from the reading thread)."""
        self.cancelled = self.cancelled or stop.cancelled
        if stop.overdue:
            self.why = Why.TIMEOUT
            with self._interrupting:
                if self._loop is not None and self._task is not None:
                    self._loop.call_soon_threadsafe(self._task.cancel)
                elif (
                    self._interruptible
                ):  # not by `overdue`: this reaches it between two calls of the context too
                    _raise_in(self._thread, SoftTimeout)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within, `SoftTimeout` may come up between any two steps of this thread; not before and not after."""
        self._interruptible = True
        try:
            yield
        finally:
            while self._interruptible:
                try:
                    with self._interrupting:
                        self._interruptible = False
                        _raise_in(self._thread, None)
                except SoftTimeout:  # it came just now: the function has ended already
                    continue

    def await_in(self, runner: asyncio.Runner, function: Any, arguments: dict[str, Any]) -> Any:
        """Run an async function, which the end of its time cancels."""

        async def main() -> Any:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            try:
                return await function(**arguments)
            finally:
                with self._interrupting:
                    self._loop = self._task = None

        return runner.run(main())


class Child:
    """Runs orders, one at a time, in the main thread."""

    def __init__(self, channel: Channel, app: Faena) -> None:
        self._channel = channel
        self._app = app
        self._orders: queue.SimpleQueue[Running] = queue.SimpleQueue()
        self._running: Running | None = None
        self._something = threading.Event()
        self._runner = asyncio.Runner()

    def serve(self) -> None:
        """Run what the worker orders; never returns."""
        self._runner.get_loop()  # opened now, not within the limits of a job
        for work in (self._read, self._pump):
            threading.Thread(target=work, daemon=True).start()
        self._channel.send(frames.Ready(pid=os.getpid()))
        while True:
            self._channel.send(self.run(self._orders.get()))

    def run(self, running: Running) -> frames.Done:
        """Run one job and say how it ended."""
        job = running.job
        task = self._app.tasks.get(job.task)
        error: BaseException | None = None
        outcome: Outcome | None = None
        try:
            if task is None:
                raise outcomes.unknown(job)
            with limited(task.options.limits):
                result = self._call(running, task)
            outcome = outcomes.completed(job, task.options, result)
        except BaseException as raised:
            error = raised
            options = None if task is None else task.options
            outcome = outcomes.from_error(job, options, raised, why=running.why)
        running.flush()
        self._running = None
        _flush_prints()
        assert outcome is not None  # only a lost lease has none, and then the worker kills this process
        return frames.Done(outcome=outcome, spoiled=isinstance(error, MemoryError))

    def _call(self, running: Running, task: Task[Any, Any]) -> bytes:
        arguments = outcomes.load(task, running.job)
        if task.context_parameter is not None:
            arguments[task.context_parameter] = Context.of(running.job, running, self._app.settings)
        if task.is_async:
            return outcomes.dump(task, running.await_in(self._runner, task.function, arguments))
        with running.interruptible():
            value = task.function(**arguments)
        return outcomes.dump(task, value)

    def _read(self) -> None:
        """Take in frames; without a worker there is no reason to live."""
        while (frame := self._channel.receive()) is not None:
            if isinstance(frame, frames.Order):
                ordered = Running(frame.job, self._channel, self._something)
                ordered.cancelled = frame.cancelled
                self._running = ordered  # before it begins: a notice may follow at once
                self._orders.put(ordered)
            elif isinstance(frame, frames.Stop):
                running = self._running
                if running is not None and (running.job.id, running.job.token) == (frame.job_id, frame.token):
                    running.take_notice(frame)
        os._exit(0)

    def _pump(self) -> None:
        """Send what functions tell, a little gathered."""
        while self._something.wait():
            self._something.clear()
            running = self._running
            try:
                if running is not None:
                    running.flush()
            except MemoryError:  # the function used it up; what is unsent goes when its limit is lifted
                pass
            time.sleep(GATHER)


def main() -> int:
    """Set up as the worker says, then serve."""
    channel = Channel.take_over()
    setup = channel.receive()
    if not isinstance(setup, frames.Setup):
        return 1
    _die_with(setup.parent)
    no_core_dumps()
    sys.path[:] = setup.path
    try:
        app = _load(setup.app)
        app.settings  # noqa: B018  (read now: a fault in them is told before the first job)
    except BaseException as error:
        failure = outcomes.failure_of(error)
        channel.send(frames.Refused(message=f"{failure.type}: {failure.message}\n{failure.traceback or ''}"))
        return 1
    Child(channel, app).serve()
    return 0


def _load(reference: str) -> Faena:
    module, _, attribute = reference.partition(":")
    found: Any = import_module(module)
    for name in attribute.split("."):
        found = getattr(found, name)
    app: Faena = getattr(found, "app", found)  # a queue driver stands before its app
    return app


def _die_with(parent: int) -> None:
    """Have the system kill this process when its worker dies (Linux); elsewhere the end of the pipe does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise an exception in a thread at its next step of Python; None: take one back that is not raised yet."""
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


def _flush_prints() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
