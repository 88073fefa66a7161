"""Where functions run: async ones on the loop, plain ones in a thread. (Those in a child process: `faena.isolation`.)

A runner also knows how a function is stopped there, and what can't be stopped: a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from faena import outcomes
from faena.attempt import Attempt, Why
from faena.context import Context
from faena.threads import Threads

MakeContext = Callable[[Attempt], Context]
OnTime = Callable[[Attempt], Awaitable[None]]
Started = Callable[[Attempt], None]


class InLoop:
    """Runs async functions in the asyncio task of their attempt. Stopped by cancelling it, like `asyncio.timeout`."""

    def __init__(self, make_context: MakeContext, on_time: OnTime, started: Started) -> None:
        self._make_context = make_context
        self._on_time = on_time
        self._started = started

    async def run(self, attempt: Attempt) -> bytes:
        """Await the function; return its result as JSON."""
        task = attempt.task
        assert task is not None
        arguments = outcomes.load(task, attempt.job)
        if (name := task.context_parameter) is not None:
            arguments[name] = self._make_context(attempt)
        if attempt.start is not None:
            await self._on_time(attempt)
        current = attempt.handle = asyncio.current_task()
        self._started(attempt)
        try:
            value = await task.function(**arguments)
        finally:
            attempt.handle = None
            if attempt.why is not None and current is not None:
                while current.cancelling():  # ours, and it has been delivered
                    current.uncancel()
        return outcomes.dump(task, value)

    def notice(self, attempt: Attempt) -> None:
        """Do nothing: the context reads it from the attempt."""

    def ask(self, attempt: Attempt) -> None:
        """Raise `asyncio.CancelledError` inside the function."""
        attempt.handle.cancel()

    def kill(self, attempt: Attempt, why: Why) -> bool:
        """Raise it once more; a function that swallows it goes on."""
        attempt.handle.cancel()
        return False


class InThread:
    """Runs plain functions in threads. They stop at their next call of the context, or not at all."""

    def __init__(
        self, make_context: MakeContext, on_time: OnTime, started: Started, threads: Threads
    ) -> None:
        self._make_context = make_context
        self._on_time = on_time
        self._started = started
        self._threads = threads

    async def run(self, attempt: Attempt) -> bytes:
        """Call the function in a thread; return its result as JSON."""
        context = None
        if attempt.task is not None and attempt.task.context_parameter is not None:
            context = self._make_context(attempt)
        result: bytes | None = None
        while result is None:
            if attempt.start is not None:
                await self._on_time(attempt)
            attempt.handle = self._threads.start(partial(_call, attempt, context))
            self._started(attempt)
            try:
                result = await attempt.handle
            finally:
                attempt.handle = None
        return result

    def notice(self, attempt: Attempt) -> None:
        """Do nothing: the context reads it from the attempt."""

    def ask(self, attempt: Attempt) -> None:
        """Let its next call of the context raise `SoftTimeout`."""
        attempt.overdue = True

    def kill(self, attempt: Attempt, why: Why) -> bool:
        """Leave the thread behind. A cancellation alone does not: the thread would go on all the same."""
        if why is not Why.CANCEL:
            attempt.over = True
            attempt.handle.cancel()
        return True


def _call(attempt: Attempt, context: Context | None) -> bytes | None:
    """Call the function; None: it is too late for that."""
    task = attempt.task
    assert task is not None
    arguments: dict[str, Any] = outcomes.load(task, attempt.job)
    if context is not None and task.context_parameter is not None:
        arguments[task.context_parameter] = context
    if attempt.start is not None and attempt.start.late:
        return None
    return outcomes.dump(task, task.function(**arguments))
