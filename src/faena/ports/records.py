"""What the store's verbs take and return. The rules that some of them name are those of `faena.ports.store`."""

from __future__ import annotations

import enum
from typing import Literal

from faena.events import Event, NewEvent
from faena.job import Gate, Job, Record, Status
from faena.ports.engine import Delivery


class Inserted(Record, frozen=True):
    """What became of one `NewJob`."""

    job: Job
    """The new job, or the live one that holds the key."""
    duplicate: bool = False
    """True: a job that holds the key was there, with the same arguments or (debounced) with the new ones by now; it is
    ``job``."""
    conflict: bool = False
    """True: another job holds the key, or answered another request under the same `Idempotency.key`; it is ``job``
    and nothing was stored."""
    replayed: bool = False
    """True: this very request (`Idempotency`) was answered before; ``job`` is what it was answered with, and
    ``duplicate`` what was said of it."""
    held_back: bool = False
    """True: ``job`` is pending but paused or bears gates: it is not to be delivered now, `Store.admit` says when."""


class Claim(Record, frozen=True):
    """A job taken with a lease: its ``token`` and ``lease_until`` are in ``job``."""

    job: Job
    call_within: float | None = None
    """Seconds from the claim within which the function must be called, or its start be counted anew
    (`Store.started`)."""


class Lease(Record, frozen=True):
    """The right to write about a job, as its holder names it."""

    job_id: str
    token: int


class Held(Record, frozen=True):
    """The answer to a holder's write: does it still hold the job, and has somebody asked to cancel it?"""

    held: bool
    cancel_requested: bool = False


class Report(Record, frozen=True):
    """What a running job tells. Its parts are recorded in one step."""

    job_id: str
    token: int
    number: int
    """1, 2, 3, … within the attempt: a repeated report is recognised and changes nothing (rule 9)."""
    progress: float | None = None
    """0 to 100; a lower one than before is raised to it (rule 5)."""
    message: str | None = None
    events: tuple[NewEvent, ...] = ()
    checkpoint: bytes | None = None


class CancelResult(enum.StrEnum):
    """What a cancellation came to."""

    CANCELLED = "cancelled"  # it was waiting and is now cancelled
    REQUESTED = (
        "requested"  # it is running: its holder is told, and rescue, retry or release end it cancelled
    )
    FINAL = "final"  # it had ended already
    UNKNOWN = "unknown"  # there is no such job


class Promoted(Record, frozen=True):
    """The jobs to deliver whose time has come, and the seconds until the next one's (None: none is known)."""

    deliveries: tuple[Delivery, ...] = ()
    next_in: float | None = None


class Paused(Record, frozen=True):
    """A queue or a task (one of them) whose jobs are not claimed."""

    queue: str | None = None
    task: str | None = None
    at: float = 0.0
    """Since when; set by the store."""


class Changed(Record, frozen=True):
    """What became of a change: the job as it stands (None: there is no such job), and whether it was still waiting and
    took the change over."""

    job: Job | None
    changed: bool


class Obstacles(Record, frozen=True):
    """What the store knows that keeps a waiting job from running now. All empty: a worker may claim it."""

    due_in: float | None = None
    """Seconds until a scheduled job is due."""
    queue_paused: bool = False
    task_paused: bool = False
    gate: Gate | None = None
    """The first of the job's gates that is closed."""
    opens_in: float | None = None
    """Seconds until ``gate`` may open; None when that hangs on a running job."""
    holders: tuple[str, ...] = ()
    """The ids of jobs that run behind ``gate``, if it is closed because so many do; ten at most."""
    ahead: int = 0
    """How many jobs of its line go first (counted up to 1000)."""
    delivered_ago: float | None = None
    """Seconds since it was last given out for delivery to the engine; None: it was not, or was sent back."""


class Query(Record, frozen=True):
    """Which jobs to list, newest first. Empty filters let everything through."""

    statuses: tuple[Status, ...] = ()
    tasks: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    user: str | None = None
    search: str | None = None
    """A substring of the id, the task, the key or the message, without regard to case."""
    origin: str | None = None
    limit: int = 50
    cursor: str | None = None
    """`Page.cursor` of the page before."""


class Page(Record, frozen=True):
    """Some jobs, newest first, and where the next page starts (None: this was the last)."""

    jobs: tuple[Job, ...]
    cursor: str | None = None


class Count(Record, frozen=True):
    """How many jobs of a queue and a task have a status."""

    queue: str
    task: str
    status: Status
    count: int


class Story(Record, frozen=True):
    """A job with the events after a ``seq``, read in one step: a snapshot that later events join without a hole."""

    job: Job
    events: tuple[Event, ...]
    gap: bool = False
    """True when events after the asked ``seq`` are no longer kept."""


class WorkerInfo(Record, frozen=True):
    """A worker process, or a server that enqueues, as it describes itself at each beat."""

    id: str
    host: str
    pid: int
    engine: str
    queues: tuple[str, ...]
    slots: int
    version: str
    started_at: float
    beat_at: float = 0.0
    """Set by the store."""
    running: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    memory: int = 0
    """Bytes, resident."""
    role: Literal["worker", "server"] = "worker"
    """A server takes no jobs; it tells which engine it delivers to."""


class StoreHealth(Record, frozen=True):
    """What a store says of itself."""

    name: str
    version: str
    location: str
    warnings: tuple[str, ...] = ()
    details: dict[str, str | int | float] = {}
