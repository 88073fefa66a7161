"""The store: the truth about every job.

Verbs take and return frozen records, in the order given, and each is one atomic step. A vendor's type or
exception never crosses this border: what can go wrong is `StoreDown` and `StoreFull`, and then nothing of
the call has happened, or (for a lost answer) repeating the very call is safe.

The eleven rules that every store keeps, each with a test in `faena.testing.stores`:

 1. An acknowledged enqueue ends in a final status; nothing disappears before its TTL.
 2. `claim` is one step: pick, attempt + 1, token + 1, lease, event. At most one valid (job, token).
 3. Every write of a running job carries its token; a stale one changes nothing and is told so.
 4. Final is final. Attempts never exceed the maximum; crashes are counted apart; a job that kills its worker
    ``max_crashes`` times ends `failed`.
 5. Progress never falls within one attempt. A job's events have seq 1, 2, 3, … without a gap, written in the
    same step as the change that they tell.
 6. A key is held by one job of a task: from its insertion until it ends, longer or shorter where the job says so.
    The same key with other arguments is a conflict. A key is a property of its job: nothing else can hold it.
 7. A job that bears gates is claimed only when all of them let it through. A rate of n per period holds for any
    window of that length, and n at once are never n + 1. A slot is given back by the step that ends the run.
 8. Leases use the store's clock; waiting uses the monotonic one.
 9. A call that was carried out but whose answer was lost can be repeated: never two jobs, never two claims.
10. A store that is full or down refuses with a clear error, or keeps all of it; never half.
11. What is paused is not claimed. A tick of a schedule is taken once, with its job, in one step.

Jobs wait in lines. Those without gates form one line for each queue and priority, by due time. Those with gates form a
line of their own for each queue, priority, task and set of gates: a closed gate stops its own lines and no other job.
Within a queue the higher priority goes first; among lines of the same priority that may go, the jobs without gates
alternate with those with gates, and the latter's lines take turns (the one that was served longest ago first), so that
no line starves another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from faena.events import Published
from faena.job import Job, NewJob, Outcome, Record
from faena.ports.engine import Delivery
from faena.ports.records import (
    CancelResult,
    Changed,
    Claim,
    Count,
    Held,
    Inserted,
    Lease,
    Obstacles,
    Page,
    Paused,
    Promoted,
    Query,
    Report,
    StoreHealth,
    Story,
    WorkerInfo,
)
from faena.schedule import Schedule


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
        with its job as the first call was (not as a duplicate) and changes nothing. Looked at in this order: the id,
        the `Idempotency`, the key with its `OnConflict`. A replaced holder ends `cancelled` ("replaced by ID"); a
        debounced one takes over arguments, gates, priority and due time."""
        ...

    async def claim(self, ids: Sequence[str], *, worker: str, lease: float, request: str) -> list[Claim]:
        """Take those of ``ids`` that are pending, neither paused nor behind a closed gate, with a lease of ``lease``
        seconds. Pending ones that may not go are sent back: `admit` gives them out again. The same ``request`` again
        returns the same claims that are still held."""
        ...

    async def claim_next(
        self, queues: Sequence[str], *, worker: str, lease: float, limit: int, request: str
    ) -> list[Claim]:
        """Take up to ``limit`` pending jobs that may go: queues in the order given, then higher priority, then by lines
        (see above), within a line longer due first."""
        ...

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Held]:
        """Make the leases last ``lease`` seconds from now, where they are still held. One that expired is held until
        `rescue` takes the job: the token decides, not the clock."""
        ...

    async def started(self, leases: Sequence[Lease]) -> list[Held]:
        """Count the starts of held jobs under the rates of their gates once more, as of now: their functions are called
        only now, long after the claim. The earlier start stays counted, too."""
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
        """Make up to ``limit`` scheduled jobs pending whose time has come. Those that are paused or bear gates are not
        among the deliveries; when ``limit`` were made pending, ``next_in`` is 0."""
        ...

    async def admit(self, *, limit: int) -> Promoted:
        """For engines that deliver: give out up to ``limit`` pending jobs that are held back and may go now, line by
        line in turn, no more of a gate than it has room for (those given out before and not yet claimed count), and
        mark them as delivered now. ``next_in``: when the next gate with jobs behind it opens by time."""
        ...

    async def rescue(self, *, limit: int) -> list[Delivery]:
        """Take jobs from holders whose lease expired: crashes + 1, then `cancelled` if that was requested, `failed`
        ("Crashed") after ``max_crashes``, or pending again. Returns those that are pending again and not held back."""
        ...

    async def undelivered(self, *, empty: Sequence[str], age: float, limit: int) -> list[Delivery]:
        """Return pending jobs that the engine must have lost, and mark them as delivered now: of those that were given
        out, the ones delivered more than ``age`` seconds ago whose queue is in ``empty`` (the engine holds nothing for
        it), or of whose queue and priority a job that became due only after that was claimed more than ``age`` seconds
        ago."""
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

    async def change(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        delay: float | None = None,
        due_at: float | None = None,
    ) -> Changed:
        """Give a waiting job another priority, or another due time (``delay`` seconds from now, or ``due_at``): it
        becomes `pending` or `scheduled` accordingly, told by an event."""
        ...

    async def pause(self, *, queue: str | None = None, task: str | None = None) -> bool:
        """Claim no more jobs of a queue or a task (exactly one is given); those that run go on. False: it was so."""
        ...

    async def resume(self, *, queue: str | None = None, task: str | None = None) -> bool:
        """Claim jobs of a queue or a task again, and wake who waits for work. False: it was not paused."""
        ...

    async def paused(self) -> list[Paused]:
        """Return what is paused, longest first."""
        ...

    async def obstacles(self, job_id: str) -> Obstacles | None:
        """Say what keeps a waiting job from running; None if there is no such job or it does not wait."""
        ...

    async def put_schedules(self, schedules: Sequence[Schedule]) -> None:
        """Keep schedules, each under its name. One that is there with the same `Schedule.definition` stays as it is;
        of one with another definition ``paused`` and what it counted stay, and the rest is replaced."""
        ...

    async def schedules(self) -> list[Schedule]:
        """Return all schedules by name."""
        ...

    async def tick(
        self, name: str, *, at: float, next_at: float | None, jobs: Sequence[NewJob], missed: int = 0
    ) -> list[Inserted] | None:
        """If a schedule's ``next_at`` is ``at`` and it is not paused: insert the jobs of its tick and set ``next_at``,
        in one step. ``runs`` grows by the jobs that were created, ``skipped`` by those that were not and by
        ``missed``, ``last_at`` becomes ``at``, ``last_job`` the last one created. None: another scheduler was first,
        or it is paused or gone; nothing happened."""
        ...

    async def steer_schedule(
        self, name: str, *, paused: bool | None = None, next_at: float | None = None
    ) -> Schedule | None:
        """Pause or resume a schedule, set when it goes next; returns it, None if there is none."""
        ...

    async def drop_schedules(self, names: Sequence[str]) -> int:
        """Forget schedules; returns how many there were."""
        ...

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        """Return the jobs, None where there is none."""
        ...

    async def find(self, query: Query) -> Page:
        """List jobs, newest first. A cursor stays valid while jobs come and go; raises `InvalidCursor` for a text that
        no page gave out."""
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
        """Return when there may be something to claim in ``queues``, also because a gate opens by time; after ``wait``
        seconds at the latest."""
        ...

    async def beat(self, worker: WorkerInfo, *, ttl: float) -> None:
        """Remember a worker or a server for ``ttl`` seconds."""
        ...

    async def leave(self, worker_id: str) -> None:
        """Forget a worker or a server."""
        ...

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers and servers whose beat has not expired."""
        ...

    async def check(self) -> StoreHealth:
        """Say how the store is. Raises `StoreDown`."""
        ...
