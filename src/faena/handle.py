"""What enqueueing returns: a job as its maker sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import msgspec

from faena.durations import Duration, seconds
from faena.errors import JobCancelled, JobFailed, JobNotDone
from faena.job import Failure, Job, Status
from faena.ports.records import CancelResult

if TYPE_CHECKING:
    from faena.client import Client

R = TypeVar("R")


class Jobs(Protocol):
    """What a handle needs of an app."""

    def ask(self, question: Callable[[Client], Awaitable[R]]) -> R: ...

    async def aask(self, question: Callable[[Client], Awaitable[R]]) -> R: ...

    def retry(self, job_id: str) -> JobHandle: ...

    async def aretry(self, job_id: str) -> JobHandle: ...


def ended(job_id: str, timeout: Duration | None) -> Callable[[Client], Awaitable[Job]]:
    """Return the question for a job that is answered once it has ended; raises `WaitTimeout`, `NotFound`."""
    limit = None if timeout is None else seconds(timeout)
    return lambda client: client.wait(job_id, limit)


class JobHandle:
    """A job as it stood when it was last looked at. `refresh` looks again; `wait` looks when it has ended. Each verb
    has an async twin (`arefresh`, `acancel`, `aretry`; of `wait`: `await_`).

    ``await handle`` waits and returns the result.
    """

    def __init__(self, job: Job, jobs: Jobs, *, duplicate: bool = False, conflict: bool = False) -> None:
        self.job = job
        """All that was known of the job at the last look."""
        self.duplicate = duplicate
        """True: a job that holds the key was there already, with the same arguments (or these by now, if it was
        debounced), and this is it."""
        self.conflict = conflict
        """True (from `enqueue_many`): nothing was stored, another job holds the key; this is it."""
        self._jobs = jobs

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def task(self) -> str:
        """The task's name."""
        return self.job.task

    @property
    def status(self) -> Status:
        """Where the job stood at the last look."""
        return self.job.status

    @property
    def progress(self) -> float:
        """0 to 100, at the last look."""
        return self.job.progress

    @property
    def message(self) -> str | None:
        """What the job said last, at the last look."""
        return self.job.message

    @property
    def error(self) -> Failure | None:
        """Why its last unsuccessful attempt failed, at the last look."""
        return self.job.error

    @property
    def result(self) -> Any:
        """What the function returned, as JSON has it; raises `JobFailed`, `JobCancelled`, or `JobNotDone` when the job
        had not ended at the last look."""
        match self.job.status:
            case Status.COMPLETED:
                return None if self.job.result is None else msgspec.json.decode(self.job.result)
            case Status.FAILED:
                raise JobFailed(self.id, self.job.error)
            case Status.CANCELLED:
                raise JobCancelled(self.id)
            case status:
                raise JobNotDone(
                    self.id, f"was {status} when last looked at: wait() for it, or refresh() to look again"
                )

    def refresh(self) -> Self:
        """Look again; raises `NotFound` once the job is no longer kept."""
        self.job = self._jobs.ask(lambda client: client.get(self.id))
        return self

    async def arefresh(self) -> Self:
        """Look again."""
        self.job = await self._jobs.aask(lambda client: client.get(self.id))
        return self

    def wait(self, timeout: Duration | None = None) -> Any:
        """Block until the job has ended and return its result; raises `WaitTimeout`, `JobFailed`, `JobCancelled`."""
        self.job = self._jobs.ask(ended(self.id, timeout))
        return self.result

    async def await_(self, timeout: Duration | None = None) -> Any:
        """Wait as `wait` does, without blocking the loop."""
        self.job = await self._jobs.aask(ended(self.id, timeout))
        return self.result

    def __await__(self) -> Generator[Any, None, Any]:
        return self.await_().__await__()

    def cancel(self) -> CancelResult:
        """Cancel the job at once if it waits; ask it to stop if it runs."""
        return self._jobs.ask(lambda client: client.cancel(self.id))

    async def acancel(self) -> CancelResult:
        """Cancel the job at once if it waits; ask it to stop if it runs."""
        return await self._jobs.aask(lambda client: client.cancel(self.id))

    def retry(self) -> JobHandle:
        """Run a job that has ended once more, as a new job; raises `Conflict` while it is live."""
        return self._jobs.retry(self.id)

    async def aretry(self) -> JobHandle:
        """Run a job that has ended once more, as a new job."""
        return await self._jobs.aretry(self.id)

    def __repr__(self) -> str:
        return f"<JobHandle {self.id} {self.task} {self.status}>"
