"""Every error that Faena raises on purpose.

    FaenaError
    ├── Rejected                  the request is wrong: change it
    │   ├── InvalidArguments      the arguments do not fit the task's signature
    │   ├── InvalidOptions        a job or task option makes no sense
    │   ├── InvalidCursor         no page gave out this cursor
    │   ├── InvalidResult         what the task returned can't be stored as JSON
    │   ├── UnknownTask           no task of that name is registered
    │   └── InvalidSettings       the configuration has faults, all named together
    ├── NotFound                  no such job (never there, or pruned after its TTL)
    │   ├── UnknownName           nobody knows a queue, or a task, of that name
    │   └── UnknownSchedule       no schedule has that name
    ├── Conflict                  it is right, but not now
    │   ├── KeyConflict           another job holds the key
    │   └── IllegalStep           the job's status does not allow this step
    ├── Unavailable               try again later
    │   ├── StoreDown             the store does not answer
    │   ├── StoreFull             the store has no room; nothing was accepted
    │   ├── EngineDown            the engine does not answer; the job is stored and will be delivered
    │   └── QueueDisabled         QUEUE_ENABLED=0
    ├── StoreFault                the store can't carry the call out, and won't be able to later: a bug, or broken data
    ├── Stale                     another attempt holds the job now: this one may not write any more
    └── JobNotDone                what `wait` and `result` raise
        ├── JobFailed             it ended failed; carries the stored failure
        ├── JobCancelled          it was cancelled
        └── WaitTimeout           it did not end in time (it goes on)

What a running task may raise to steer its job: `Retry`, `Snooze`. `Cancelled` is raised *into* it at the
next report after a cancellation; like asyncio's own it is a BaseException, so that an ``except Exception``
does not swallow it. `SoftTimeout` is raised into it when its time is up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from faena.durations import finite_seconds

if TYPE_CHECKING:
    from faena.job import Failure, Status, Step


class FaenaError(Exception):
    """The root of all errors that Faena raises on purpose."""


class Rejected(FaenaError):
    """The request is wrong: change it."""


class InvalidArguments(Rejected):
    """The arguments do not fit the task's signature."""

    def __init__(self, task: str, faults: Sequence[dict[str, object]]) -> None:
        self.task = task
        self.faults = list(faults)
        told = "; ".join(f"{fault['where']}: {fault['message']}" for fault in self.faults)
        super().__init__(f"the arguments do not fit task {task!r}: {told}")


class InvalidOptions(Rejected):
    """A job or task option makes no sense."""


class InvalidCursor(Rejected):
    """No page of a listing gave out this cursor."""

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor
        super().__init__(f"no page gave out the cursor {cursor!r}: start again without one")


class InvalidResult(Rejected):
    """What the task returned can't be stored as JSON."""

    def __init__(self, task: str, told: str) -> None:
        self.task = task
        super().__init__(
            f"task {task!r} returned what can't be stored as JSON ({told}); return plain values, or a model"
        )


class UnknownTask(Rejected):
    """No task of that name is registered."""

    def __init__(self, task: str, known: Sequence[str] = ()) -> None:
        self.task = task
        self.known = sorted(known)
        listed = ", ".join(self.known) or "none"
        super().__init__(f"no task is named {task!r}; registered: {listed}")


class InvalidSettings(Rejected):
    """The configuration has faults, all named together."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        super().__init__("the settings have faults:\n" + "\n".join(f"  - {fault}" for fault in self.faults))


class NotFound(FaenaError):
    """There is no such job: it was never there, or it was pruned after its TTL."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"no job has the id {job_id!r}; it was never there, or its time to be kept is over")


class UnknownName(NotFound):
    """Nobody knows a queue, or a task, of that name."""

    def __init__(self, what: str, name: str, known: Sequence[str] = ()) -> None:
        self.what = what
        self.name = name
        self.known = sorted(known)
        FaenaError.__init__(
            self, f"there is no {what} {name!r}; there are: {', '.join(self.known) or 'none'}"
        )


class UnknownSchedule(NotFound):
    """No schedule has that name."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        self.name = name
        self.known = sorted(known)
        listed = f"; there are: {', '.join(self.known)}" if self.known else ""
        FaenaError.__init__(self, f"no schedule is named {name!r}{listed}")


class Conflict(FaenaError):
    """The request is right, but not now."""


class KeyConflict(Conflict):
    """Another job holds the key, or the same idempotency key came with another request."""

    def __init__(
        self,
        key: str,
        job_id: str,
        told: str | None = None,
        *,
        task: str | None = None,
        status: Status | None = None,
        held_until: float | None = None,
    ) -> None:
        """``held_until``: when an ended job gives the key back at the latest (seconds since the epoch)."""
        self.key = key
        self.job_id = job_id
        self.task = task
        self.status = status
        self.held_until = held_until
        super().__init__(told or f"the key {key!r} is held by job {job_id}")


class IllegalStep(Conflict):
    """The job's status does not allow this step."""

    def __init__(self, *, status: Status | None, step: Step) -> None:
        self.status = status
        self.step = step
        super().__init__(f"a job that is {status or 'not stored'} cannot {step}")


class Unavailable(FaenaError):
    """Something that Faena needs does not answer: try again later."""


class StoreDown(Unavailable):
    """The store does not answer."""


class StoreFull(Unavailable):
    """The store has no room: nothing of the call was accepted."""


class EngineDown(Unavailable):
    """The engine does not answer; stored jobs are delivered when it does again."""


class QueueDisabled(Unavailable):
    """The queue is switched off (QUEUE_ENABLED=0)."""


class StoreFault(FaenaError):
    """The store can't carry the call out, and to repeat it won't help: a bug, or broken data."""


class Stale(FaenaError):
    """Another attempt holds the job now: this one may not write any more."""


class JobNotDone(FaenaError):
    """The job has no result to give."""

    def __init__(self, job_id: str, told: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id} {told}")


class JobFailed(JobNotDone):
    """The job ended failed."""

    def __init__(self, job_id: str, failure: Failure | None) -> None:
        self.failure = failure
        told = failure.told if failure else "no reason was stored"
        super().__init__(job_id, f"failed: {told}")


class JobCancelled(JobNotDone):
    """The job was cancelled."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "was cancelled")


class WaitTimeout(JobNotDone, TimeoutError):
    """The job did not end in time; it goes on."""

    def __init__(self, job_id: str, timeout: float) -> None:
        super().__init__(job_id, f"did not end within {timeout:g} s; it goes on")


class Retry(FaenaError):
    """Raise it in a task: this attempt failed, try again in ``after`` (seconds or a timedelta; None: the backoff).

    ``raise Retry("the server is busy", after=60)``

    An ``after`` below zero is a moment that has passed: at once. Anything but a finite duration is `InvalidOptions`.
    """

    def __init__(self, message: str = "", *, after: float | timedelta | None = None) -> None:
        if after is not None:
            _check_after("Retry", after)
        self.after = after
        super().__init__(message)


class Snooze(FaenaError):
    """Raise it in a task: run again after ``after`` (seconds or a timedelta); the attempt is not spent.

    ``raise Snooze(timedelta(minutes=5), "the file is not there yet")``

    An ``after`` below zero is a moment that has passed: at once. Anything but a finite duration is `InvalidOptions`.
    """

    def __init__(self, after: float | timedelta, message: str = "") -> None:
        _check_after("Snooze", after)
        self.after = after
        super().__init__(message)

    def __reduce__(self) -> tuple[type[Snooze], tuple[object, ...]]:
        return type(self), (self.after, *self.args)


def _check_after(name: str, after: object) -> None:
    if math.isnan(finite_seconds(after)):
        raise InvalidOptions(f"{name} takes after in seconds or as a timedelta, not {after!r}")


class SoftTimeout(FaenaError, TimeoutError):
    """The attempt's time is up; there is a short while left to clean up."""


class Cancelled(BaseException):
    """The job was cancelled while it ran: clean up and let it pass. A `BaseException`: ``except Exception`` does not
    catch it."""


class FaenaWarning(UserWarning):
    """Something works, but not as one might hope; the message says how."""
