"""Jobs, their statuses, and the one table that knows which step is legal.

Every record here is frozen and crosses every border of Faena unchanged: a store returns these very
objects, whatever it is built on.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from faena.errors import IllegalStep


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What every record is: immutable, built by keywords, compared by value."""


class Status(enum.StrEnum):
    """Where a job stands."""

    SCHEDULED = "scheduled"
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """True when nothing can happen to the job any more."""
        return self in FINAL


WAITING: Final = frozenset({Status.SCHEDULED, Status.PENDING})
LIVE: Final = WAITING | {Status.PROCESSING}
FINAL: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class Step(enum.StrEnum):
    """What can happen to a job. The values are the words of the docs and of the logs."""

    ENQUEUE = "enqueue"  # created, ready to run
    SCHEDULE = "schedule"  # created, for later
    PROMOTE = "promote"  # its time has come
    POSTPONE = "postpone"  # somebody put a waiting job off
    CLAIM = "claim"  # taken with a lease: attempt + 1, token + 1
    COMPLETE = "complete"  # returned
    FAIL = "fail"  # failed for good
    RETRY = "retry"  # failed; again after a delay
    SNOOZE = "snooze"  # asked to run later; the attempt is given back
    RELEASE = "release"  # handed back by a stopping worker; the attempt is given back
    RESCUE = "rescue"  # its lease expired: crashes + 1; the attempt is given back
    CRASH = "crash"  # its lease expired once too often
    CANCEL = "cancel"  # called off


class Transition(Record, frozen=True):
    """From which statuses a step may start (None: there is no job yet), and where it ends."""

    sources: frozenset[Status | None]
    target: Status


def _from(*sources: Status | None, to: Status) -> Transition:
    return Transition(sources=frozenset(sources), target=to)


TRANSITIONS: Final[Mapping[Step, Transition]] = {
    Step.ENQUEUE: _from(None, to=Status.PENDING),
    Step.SCHEDULE: _from(None, to=Status.SCHEDULED),
    Step.PROMOTE: _from(Status.SCHEDULED, to=Status.PENDING),
    Step.POSTPONE: _from(Status.SCHEDULED, Status.PENDING, to=Status.SCHEDULED),
    Step.CLAIM: _from(Status.PENDING, to=Status.PROCESSING),
    Step.COMPLETE: _from(Status.PROCESSING, to=Status.COMPLETED),
    Step.FAIL: _from(Status.PROCESSING, to=Status.FAILED),
    Step.RETRY: _from(Status.PROCESSING, to=Status.SCHEDULED),
    Step.SNOOZE: _from(Status.PROCESSING, to=Status.SCHEDULED),
    Step.RELEASE: _from(Status.PROCESSING, to=Status.PENDING),
    Step.RESCUE: _from(Status.PROCESSING, to=Status.PENDING),
    Step.CRASH: _from(Status.PROCESSING, to=Status.FAILED),
    Step.CANCEL: _from(Status.SCHEDULED, Status.PENDING, Status.PROCESSING, to=Status.CANCELLED),
}
"""The only place that knows which step is legal."""


def advance(status: Status | None, step: Step) -> Status:
    """Return the status that ``step`` leads to from ``status``; raise `IllegalStep` when it may not be taken."""
    transition = TRANSITIONS[step]
    if status not in transition.sources:
        raise IllegalStep(status=status, step=step)
    return transition.target


def diagram() -> str:
    """Return the transition table as a Mermaid state diagram (the docs embed this very text)."""
    lines = ["stateDiagram-v2"]
    for step, transition in TRANSITIONS.items():
        for source in sorted(transition.sources, key=lambda status: status or ""):
            lines.append(f"    {source or '[*]'} --> {transition.target}: {step}")
    lines += [f"    {status} --> [*]" for status in Status if status.final]
    return "\n".join(lines)


class Failure(Record, frozen=True):
    """Why an attempt did not succeed, in a form that can be stored and shown."""

    type: str
    """The exception's class name, or one of Faena's words: ``Timeout``, ``Crashed``, ``OutOfMemory``…"""
    message: str
    traceback: str | None = None

    @property
    def told(self) -> str:
        """Both in one line; the type alone when there is no message."""
        return f"{self.type}: {self.message}" if self.message else self.type


class Window(Record, frozen=True):
    """At most ``count`` starts within any ``period`` seconds."""

    count: int
    period: float


class Gate(Record, frozen=True):
    """A limit by its name: every job that bears it passes it when it is claimed, whatever its task or queue.

    Its rules travel with each job, so a new release changes them for the jobs to come; what is counted (who runs, and
    when the last ones started) belongs to the name.
    """

    name: str
    at_once: int | None = None
    """How many of its jobs may run at once."""
    windows: tuple[Window, ...] = ()
    """How many may start within a time; all of them hold."""


class OnConflict(enum.StrEnum):
    """What becomes of a new job whose key another one holds."""

    RETURN = "return"  # the holder is the answer if its arguments are the same; else it is a conflict
    REFUSE = "refuse"  # a conflict, whatever the arguments
    REPLACE = "replace"  # a waiting holder is cancelled, and the new one takes its place; else as RETURN
    DEBOUNCE = "debounce"  # a waiting holder takes over the new arguments and due time; else as RETURN


class Idempotency(Record, frozen=True):
    """Recognises a request that is sent again: its sender's own key, and what was asked."""

    key: str
    digest: str
    """Of everything that was asked: the same key with another digest is a conflict."""
    kept: float
    """Seconds for which the request is recognised."""


class NewJob(Record, frozen=True):
    """A request to run a task, as handed to `Store.insert`."""

    id: str
    """A UUIDv7, made by the caller, so that a repeated insert is recognised (rule 9)."""
    task: str
    args: bytes = b"{}"
    """The arguments as a JSON object, already validated."""
    queue: str = "default"
    priority: int = 0
    """Higher goes first within a queue."""
    delay: float = 0.0
    """Seconds from the store's now until the job is due."""
    due_at: float | None = None
    """An absolute due time (seconds since the epoch); wins over ``delay``."""
    max_attempts: int = 1
    timeout: float | None = None
    """Seconds for one attempt; None: the task's own."""
    key: str | None = None
    """The idempotency key: at most one job of the task holds it."""
    key_kept: float = 0.0
    """Seconds from now for which the key is held even if the job ends sooner (math.inf: for ever)."""
    key_bound: float | None = None
    """Seconds from now after which the key is free even if the job still lives."""
    on_conflict: OnConflict = OnConflict.RETURN
    idempotency: Idempotency | None = None
    gates: tuple[Gate, ...] = ()
    """The limits that the job passes when it is claimed, ordered by their names."""
    user: str | None = None
    topic: str | None = None
    """The channel on which the job's events are told besides its own."""
    origin: str | None = None
    """The id of the job that this one runs again."""


class Job(Record, frozen=True):
    """One stored request to run a task, as it stands now. Times are seconds since the epoch, in the store's clock."""

    id: str
    task: str
    args: bytes
    queue: str
    priority: int
    status: Status
    attempt: int
    """The number of the current or last attempt; attempts given back do not count."""
    max_attempts: int
    crashes: int
    token: int
    """Grows with each claim; whoever holds the newest may write."""
    seq: int
    """The number of the job's last event."""
    created_at: float
    due_at: float
    progress: float = 0.0
    message: str | None = None
    cancel_requested: bool = False
    timeout: float | None = None
    key: str | None = None
    user: str | None = None
    topic: str | None = None
    origin: str | None = None
    worker: str | None = None
    """Who runs it; of a final job who ran it last. None while it waits."""
    lease_until: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    """When a final job may be pruned."""
    result: bytes | None = None
    """What the function returned, as JSON."""
    error: Failure | None = None
    """Of the last attempt that did not succeed; kept on a job that waits for its retry."""
    checkpoint: bytes | None = None
    """What `Context.save` stored last, as JSON."""


class Outcome(Record, frozen=True):
    """How an attempt ended, as handed to `Store.finish`."""

    job_id: str
    token: int
    step: Step
    """COMPLETE, FAIL, RETRY, SNOOZE, RELEASE or CANCEL."""
    result: bytes | None = None
    error: Failure | None = None
    delay: float = 0.0
    """Seconds until the job is due again (RETRY, SNOOZE)."""
    message: str | None = None
    ttl: float | None = None
    """Seconds to keep the finished job; None: the store's default for its status."""


OUTCOMES: Final = frozenset({Step.COMPLETE, Step.FAIL, Step.RETRY, Step.SNOOZE, Step.RELEASE, Step.CANCEL})
GIVES_BACK: Final = frozenset({Step.SNOOZE, Step.RELEASE, Step.RESCUE})
"""Steps that do not spend the attempt."""


def same_arguments(one: bytes, other: bytes) -> bool:
    """Tell whether two JSON objects of arguments are the same, whatever the order of their names."""
    return one == other or _canonical(one) == _canonical(other)


def _canonical(args: bytes) -> bytes:
    """Return arguments with their names in order. As text, not as values: to Python ``true`` and 1 are equal."""
    return msgspec.json.encode(msgspec.json.decode(args), order="sorted")
