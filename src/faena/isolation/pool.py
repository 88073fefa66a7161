"""Child processes, kept warm: started when needed, used for many jobs one after the other, then replaced."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from faena.context import Item
from faena.isolation import frames
from faena.job import Job, Outcome

logger = logging.getLogger("faena.isolation")

START_WITHIN: Final = 60.0
"""Seconds that a child has to load the app."""
USES: Final = 100
"""Jobs that a child runs before it is replaced."""
IDLE: Final = 60.0
"""Seconds after which a child that has nothing to do is ended; the last one stays."""


class NotStarted(Exception):
    """A child process could not load the app."""


class Gone(Exception):
    """The child process ended in the middle of a job."""

    def __init__(self, status: int) -> None:
        self.status = status
        """As `subprocess` has it: negative for a signal."""
        super().__init__(f"the child process ended with status {status}")


class Child:
    """One child process, seen from the worker. It runs one job at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout
        self.uses = 0
        self.spoiled = False
        self.idle_since = 0.0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """It may be given another job."""
        return self._process.returncode is None and not self.spoiled and self.uses < USES

    async def set_up(self, setup: frames.Setup) -> None:
        """Have it load the app; raises `NotStarted`."""
        try:
            async with asyncio.timeout(START_WITHIN):
                self._to.write(frames.pack(setup))
                answer = await self._receive()
        except TimeoutError:
            raise NotStarted(f"a child process did not load {setup.app} within {START_WITHIN:g} s") from None
        except Gone as gone:
            raise NotStarted(
                f"a child process ended while it loaded {setup.app} (status {gone.status})"
            ) from None
        if isinstance(answer, frames.Refused):
            raise NotStarted(f"a child process can't load {setup.app}: {answer.message}")

    async def run(
        self, job: Job, on_told: Callable[[Item], Awaitable[None]], *, cancelled: bool = False
    ) -> Outcome:
        """Run a job; returns how it ended. Raises `Gone`, and `frames.TooLarge` for a job that can't be sent."""
        order = frames.pack(frames.Order(job=job, cancelled=cancelled))
        self.uses += 1
        self.spoiled = True  # until it says that it is done
        self._to.write(order)
        while True:
            frame = await self._receive()
            if isinstance(frame, frames.Done):
                self.spoiled = frame.spoiled
                return frame.outcome
            if isinstance(frame, frames.Tell):
                await on_told(frames.told(frame))

    def send(self, frame: frames.Frame) -> None:
        """Send a notice; a child that is gone does not get it."""
        with suppress(OSError, RuntimeError):
            self._to.write(frames.pack(frame))

    def kill(self) -> None:
        """End it now, with the processes that it started."""
        self.spoiled = True
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg") and self._process.returncode is None:
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self._process.kill()

    async def gone(self) -> int:
        """Wait until it has ended, let go of its pipes and return its status."""
        status = await self._process.wait()
        self._to.close()
        with suppress(OSError):
            await self._to.wait_closed()
        return status

    async def _receive(self) -> frames.FromChild:
        try:
            header = await self._from.readexactly(frames.HEADER.size)
            (length,) = frames.HEADER.unpack(header)
            if length > frames.MAX_FRAME:
                raise msgspec.DecodeError(f"a frame of {length} bytes")
            return frames.decode_from_child(await self._from.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.spoiled = True
            raise Gone(await self._end()) from None
        except msgspec.MsgspecError:  # it wrote something else into the pipe
            self.kill()
            raise Gone(await self._end()) from None

    async def _end(self) -> int:
        """The pipe is closed: it is ending, or it closed the pipe and lives on."""
        try:
            async with asyncio.timeout(1.0):
                return await self.gone()
        except TimeoutError:
            self.kill()
            return await self.gone()


class Pool:
    """The child processes of one worker, on its loop. Whoever takes one gives it back."""

    def __init__(self, app: str, *, environment: Mapping[str, str] | None = None) -> None:
        self._setup = frames.Setup(app=app, path=list(sys.path), parent=os.getpid())
        self._environment = {"MALLOC_ARENA_MAX": "2", **os.environ, **(environment or {})}
        self._idle: list[Child] = []
        self._children: set[Child] = set()
        self._ending: set[asyncio.Task[int]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def children(self) -> tuple[Child, ...]:
        """The children that live."""
        return tuple(self._children)

    async def take(self) -> Child:
        """Return a child that is ready for a job; raises `NotStarted`."""
        while self._idle:
            child = self._idle.pop()
            if child.usable:
                return child
            self._retire(child)
        return await self._start()

    def give_back(self, child: Child) -> None:
        """Keep it for the next job, or end it when it is used up."""
        if not child.usable or self._closed:
            self._retire(child)
            return
        loop = asyncio.get_running_loop()
        child.idle_since = loop.time()
        self._idle.append(child)
        if self._timer is None:
            self._timer = loop.call_later(IDLE, self._end_idle)

    async def close(self) -> None:
        """End every child."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for child in self.children:
            self._retire(child)
        if self._ending:
            await asyncio.gather(*self._ending)

    async def _start(self) -> Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "faena.isolation",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # a Ctrl-C in the terminal is the worker's alone
        )
        child = Child(process)
        self._children.add(child)
        try:
            await child.set_up(self._setup)
        except BaseException:
            self._retire(child)
            raise
        logger.debug("started child process %d", child.pid)
        return child

    def _retire(self, child: Child) -> None:
        """Kill it (it has nothing to do, or must not go on) and see it off."""
        if child not in self._children:
            return
        self._children.discard(child)
        child.kill()
        task = asyncio.get_running_loop().create_task(child.gone())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _end_idle(self) -> None:
        """End those that have been idle for long, but for the one that was used last."""
        now = asyncio.get_running_loop().time()
        self._timer = None
        old = [child for child in self._idle[:-1] if now - child.idle_since >= IDLE]
        for child in old:
            self._idle.remove(child)
            self._retire(child)
        if len(self._idle) > 1:
            self._timer = asyncio.get_running_loop().call_later(IDLE / 2, self._end_idle)
