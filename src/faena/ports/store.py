"""The store: the truth about every job.

Verbs take and return frozen records, in the order given, and each is one atomic step. A vendor's type or
exception never crosses this border: what can go wrong is `StoreDown` and `StoreFull`, and then nothing of
the call has happened, or (for a lost answer) repeating the very call is safe.

The ten rules that every store keeps, each with a test in `faena.testing.stores`:

 1. An acknowledged enqueue ends in a final status; nothing disappears before its TTL.
 2. `claim` is one step: pick, attempt + 1, token + 1, lease, event. At most one valid (job, token).
 3. Every write of a running job carries its token; a stale one changes nothing and is told so.
 4. Final is final. Attempts never exceed the maximum; crashes are counted apart; a job that kills its worker
    ``max_crashes`` times ends `failed`.
 5. Progress never falls within one attempt. A job's events have seq 1, 2, 3, … without a gap, written in the
    same step as the change that they tell.
 6. A key is unique among the live jobs of a task; the same key with other arguments is a conflict.
 7. A rate of n per period holds for any window of that length.
 8. Leases use the store's clock; waiting uses the monotonic one.
 9. A call that was carried out but whose answer was lost can be repeated: never two jobs, never two claims.
10. A store that is full or down refuses with a clear error, or keeps all of it; never half.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

from faena.events import Event, NewEvent, Published
from faena.job import Job, NewJob, Outcome, Record, Status
from faena.ports.engine import Delivery


class StoreOptions(Record, frozen=True):
    """What a store decides by itself."""

    result_ttl: float = 3600.0
    """Seconds that a completed or cancelled job is kept (RESULT_TTL)."""
    failure_ttl: float = 86400.0
    """Seconds that a failed job is kept (FAILURE_TTL)."""
    max_crashes: int = 3
    """How many workers a job may kill before it is failed."""
    max_events: int = 1000
    """At least so many of a job's latest events are kept."""


class Inserted(Record, frozen=True):
    """What became of one `NewJob`."""

    job: Job
    """The new job, or the live one that holds the key."""
    duplicate: bool = False
    """True: a live job of the same task, key and arguments was there; it is ``job``."""
    conflict: bool = False
    """True: a live job holds the key with other arguments; it is ``job`` and nothing was stored."""


class Claim(Record, frozen=True):
    """A job taken with a lease: its ``token`` and ``lease_until`` are in ``job``."""

    job: Job


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
    """The jobs whose time has come, and the seconds until the next one's (None: none is scheduled)."""

    deliveries: tuple[Delivery, ...] = ()
    next_in: float | None = None


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
    """A worker process, as it describes itself at each beat."""

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


class StoreHealth(Record, frozen=True):
    """What a store says of itself."""

    name: str
    version: str
    location: str
    warnings: tuple[str, ...] = ()
    details: dict[str, str | int | float] = {}


class Store(Protocol):
    """The truth. One instance belongs to one event loop; `open` and `close` it there."""

    name: str

    async def open(self) -> None:
        """Connect, create or upgrade what is needed, check it. Raises `StoreDown` with what to do."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of everything. Safe to repeat."""
        ...

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        """Store new jobs, `pending` or (due later) `scheduled`, all or none. An id that is there already is answered
        with its job as the first call was (not as a duplicate) and changes nothing."""
        ...

    async def claim(self, ids: Sequence[str], *, worker: str, lease: float, request: str) -> list[Claim]:
        """Take those of ``ids`` that are pending, with a lease of ``lease`` seconds. The same ``request`` again
        returns the same claims that are still held."""
        ...

    async def claim_next(
        self, queues: Sequence[str], *, worker: str, lease: float, limit: int, request: str
    ) -> list[Claim]:
        """Take up to ``limit`` pending jobs: queues in the order given, then higher priority, then longer due."""
        ...

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Held]:
        """Make the leases last ``lease`` seconds from now, where they are still held. One that expired is held until
        `rescue` takes the job: the token decides, not the clock."""
        ...

    async def report(self, reports: Sequence[Report]) -> list[Held]:
        """Record progress, events, log lines and checkpoints of running jobs."""
        ...

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bool]:
        """Record how attempts ended; False: stale, nothing changed. A RETRY, SNOOZE or RELEASE of a job whose
        cancellation was requested cancels it; a RETRY with no attempt left fails it. Repeating an accepted outcome
        is answered True and changes nothing. The event of a RETRY or FAIL tells the failure. Raises `IllegalStep` for
        a step that ends no attempt."""
        ...

    async def promote(self, *, limit: int) -> Promoted:
        """Make scheduled jobs pending whose time has come."""
        ...

    async def rescue(self, *, limit: int) -> list[Delivery]:
        """Take jobs from holders whose lease expired: crashes + 1, then `cancelled` if that was requested, `failed`
        ("Crashed") after ``max_crashes``, or pending again. Returns those that are pending again."""
        ...

    async def undelivered(self, *, empty: Sequence[str], age: float, limit: int) -> list[Delivery]:
        """Return pending jobs that the engine must have lost, and mark them as delivered now: those delivered more
        than ``age`` seconds ago whose queue is in ``empty`` (the engine holds nothing for it), or of whose queue and
        priority a job that was due later was claimed more than ``age`` seconds ago."""
        ...

    async def prune(self, *, limit: int) -> int:
        """Delete up to ``limit`` final jobs whose TTL is over, and old parts of the event log; returns how many."""
        ...

    async def cancel(self, ids: Sequence[str]) -> list[CancelResult]:
        """Cancel waiting jobs at once; ask the holders of running ones to stop (told by one event, the first time)."""
        ...

    async def purge(self, queue: str, *, limit: int) -> int:
        """Cancel up to ``limit`` waiting jobs of a queue; returns how many."""
        ...

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        """Return the jobs, None where there is none."""
        ...

    async def find(self, query: Query) -> Page:
        """List jobs, newest first. A cursor stays valid while jobs come and go."""
        ...

    async def counts(self) -> list[Count]:
        """Return the counts that are kept (not scanned): those above zero."""
        ...

    async def story(self, job_id: str, *, after: int = 0) -> Story | None:
        """Return a job and its events after ``after``, in one step; None if there is no such job."""
        ...

    async def published(self, after: int | None, *, wait: float) -> Published:
        """Read the event log of all jobs after a position, waiting up to ``wait`` seconds for something to come.
        None: from now on (answers at once, with the position)."""
        ...

    async def work(self, queues: Sequence[str], *, wait: float) -> None:
        """Return when there may be something to claim in ``queues``, after ``wait`` seconds at the latest."""
        ...

    async def beat(self, worker: WorkerInfo, *, ttl: float) -> None:
        """Remember a worker for ``ttl`` seconds."""
        ...

    async def leave(self, worker_id: str) -> None:
        """Forget a worker."""
        ...

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers whose beat has not expired."""
        ...

    async def check(self) -> StoreHealth:
        """Say how the store is. Raises `StoreDown`."""
        ...
