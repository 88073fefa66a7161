"""Runs an attempt in a child process, which can be limited and killed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from faena.attempt import Attempt, Why
from faena.errors import SoftTimeout
from faena.isolation import frames
from faena.isolation.pool import Child, Gone, NotStarted, Pool
from faena.job import Failure, Outcome
from faena.options import Limits
from faena.outcomes import Died, Hopeless
from faena.reports import Reports

_SIGXCPU: Final = getattr(signal, "SIGXCPU", None)


class InChild:
    """Runs functions with ``isolation="process"``. What they tell goes through the worker, under its token."""

    def __init__(
        self,
        make_reports: Callable[[Attempt], Reports],
        on_time: Callable[[Attempt], Awaitable[None]],
        started: Callable[[Attempt], None],
        pool: Pool,
    ) -> None:
        self._make_reports = make_reports
        self._on_time = on_time
        self._started = started
        self._pool = pool

    async def run(self, attempt: Attempt) -> Outcome:
        """Run the job in a child; its outcome comes from there. A child that dies fails this attempt only."""
        child = await self._take(attempt)
        try:
            await self._on_time(attempt)
            attempt.handle = child
            attempt.reports = self._make_reports(attempt)
            self._started(attempt)
            return await child.run(attempt.job, attempt.reports.forward, cancelled=attempt.cancelled)
        except Gone as gone:
            if attempt.why is not None and gone.status == -signal.SIGKILL:
                raise asyncio.CancelledError from None
            raise _died(gone, attempt) from None
        except frames.TooLarge as error:
            raise Hopeless(Failure(type="InvalidArguments", message=str(error))) from None
        finally:
            attempt.handle = None
            self._pool.give_back(child)

    async def _take(self, attempt: Attempt) -> Child:
        """Take a child from the pool; that may take a while, and can be stopped."""
        current = attempt.handle = asyncio.current_task()
        try:
            return await self._pool.take()
        except NotStarted as error:
            raise Died(Failure(type="NotStarted", message=str(error)), RuntimeError(str(error))) from None
        except OSError as error:
            told = f"a child process could not be started: {error}"
            raise Died(Failure(type="NotStarted", message=told), error) from None
        finally:
            attempt.handle = None
            if attempt.why is not None and current is not None:
                while current.cancelling():
                    current.uncancel()

    def notice(self, attempt: Attempt) -> None:
        """Have the child's context say that the job is cancelled."""
        self._send(attempt, cancelled=True)

    def ask(self, attempt: Attempt) -> None:
        """Have `SoftTimeout` raised in the child."""
        self._send(attempt, overdue=True)

    def kill(self, attempt: Attempt, why: Why) -> bool:
        """Kill the child; nothing in it can prevent that."""
        if isinstance(attempt.handle, Child):
            attempt.handle.kill()
        else:
            attempt.handle.cancel()
        return True

    @staticmethod
    def _send(attempt: Attempt, *, cancelled: bool = False, overdue: bool = False) -> None:
        if isinstance(attempt.handle, Child):
            job = attempt.job
            attempt.handle.send(
                frames.Stop(job_id=job.id, token=job.token, cancelled=cancelled, overdue=overdue)
            )


def _died(gone: Gone, attempt: Attempt) -> Died:
    """Return why a child died that nobody killed."""
    limits = None if attempt.task is None else attempt.task.options.limits
    if _SIGXCPU is not None and gone.status == -_SIGXCPU:
        allowed = "its limit" if limits is None or limits.cpu is None else f"{limits.cpu:g} s"
        told = f"it used more processor time than {allowed}"
        return Died(Failure(type="CpuLimit", message=told), SoftTimeout(told))
    if gone.status < 0:
        told = f"the child process was ended by {_signal_name(-gone.status)}{_hint(-gone.status, limits)}"
    else:
        told = f"the child process exited with code {gone.status} while the function ran"
    return Died(Failure(type="Crashed", message=told), ChildProcessError(told))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _hint(number: int, limits: Limits | None) -> str:
    if number == signal.SIGKILL:
        return " (by somebody, or by the system when its memory ran out)"
    if number == signal.SIGABRT and limits is not None and limits.memory is not None:
        return f" (a library may abort when memory runs out; the limit is {limits.memory:,} bytes)"
    return ""
