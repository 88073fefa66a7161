"""The memory store's book: every job with its events, and each verb as one plain function.

Nothing here waits, so a verb is one atomic step for whoever holds `Ledger.lock`. All changes of a job go
through `Ledger._write`, which makes the change and tells it as one event.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from faena.errors import IllegalStep
from faena.events import Event, EventType, Published, Told
from faena.job import (
    FINAL,
    GIVES_BACK,
    OUTCOMES,
    WAITING,
    Failure,
    Job,
    NewJob,
    Outcome,
    Status,
    Step,
    advance,
    same_arguments,
)
from faena.ports.engine import Delivery
from faena.ports.store import (
    CancelResult,
    Claim,
    Count,
    Held,
    Inserted,
    Lease,
    Page,
    Promoted,
    Query,
    Report,
    StoreOptions,
    Story,
)
from faena.stores.memory.listing import page_of
from faena.stores.memory.roster import Roster
from faena.stores.memory.row import Row

LOG_LENGTH: Final = 10_000
"""How many of the latest events of all jobs are kept for `Ledger.published`."""


class Ledger:
    """Every job of a memory store. Hold `lock` around each verb."""

    def __init__(self, options: StoreOptions, clock: Callable[[], float]) -> None:
        self.lock = threading.Lock()
        self.listeners: set[Callable[[], None]] = set()
        self.rows: dict[str, Row] = {}
        self.published_up_to = 0
        self.roster = Roster(clock)
        self._options = options
        self._clock = clock
        self._by_status: dict[Status, dict[str, Row]] = {status: {} for status in Status}
        self._keys: dict[tuple[str, str], str] = {}
        self._log: deque[Told] = deque(maxlen=LOG_LENGTH)

    def wake_listeners(self) -> None:
        """Call every listener: something was told."""
        for wake in self.listeners:
            wake()

    # Enqueueing

    def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return [self._insert(new) for new in jobs]

    def _insert(self, new: NewJob) -> Inserted:
        if known := self.rows.get(new.id):
            return Inserted(job=known.job)
        if new.key is not None and (holder := self._keys.get((new.task, new.key))):
            job = self.rows[holder].job
            same = same_arguments(job.args, new.args)
            return Inserted(job=job, duplicate=same, conflict=not same)
        return Inserted(job=self._create(new))

    def _create(self, new: NewJob) -> Job:
        now = self._clock()
        due_at = new.due_at if new.due_at is not None else now + new.delay
        status = advance(None, Step.SCHEDULE if due_at > now else Step.ENQUEUE)
        options = {
            field: getattr(new, field) for field in new.__struct_fields__ if field not in ("delay", "due_at")
        }
        job = Job(
            status=status, attempt=0, crashes=0, token=0, seq=0, created_at=now, due_at=due_at, **options
        )
        row = Row(job, delivered_at=now, max_events=self._options.max_events)
        self.rows[job.id] = row
        if job.key is not None:
            self._keys[job.task, job.key] = job.id
        return self._write(row)

    # Holding

    def claim(self, ids: Sequence[str], *, worker: str, lease: float, request: str) -> list[Claim]:
        claims = []
        for row in self._known(dict.fromkeys(ids)):
            if row.job.status is Status.PENDING:
                claims.append(self._claim(row, worker, lease, request))
            elif row.job.status is Status.PROCESSING and row.request == request:
                claims.append(Claim(job=row.job))
        return claims

    def claim_next(
        self, queues: Sequence[str], *, worker: str, lease: float, limit: int, request: str
    ) -> list[Claim]:
        held = [row for row in self._in(Status.PROCESSING) if row.request == request]
        if held:
            return [Claim(job=row.job) for row in held]
        place = {queue: number for number, queue in reversed(list(enumerate(queues)))}
        ready = [row for row in self._in(Status.PENDING) if row.job.queue in place]

        def turn(row: Row) -> tuple[int, int, float, str]:
            return place[row.job.queue], -row.job.priority, row.job.due_at, row.job.id

        return [self._claim(row, worker, lease, request) for row in heapq.nsmallest(limit, ready, key=turn)]

    def _claim(self, row: Row, worker: str, lease: float, request: str) -> Claim:
        now = self._clock()
        row.request, row.reported, row.turn = request, 0, row.job.due_at
        job = self._step(
            row,
            Step.CLAIM,
            attempt=row.job.attempt + 1,
            token=row.job.token + 1,
            worker=worker,
            lease_until=now + lease,
            started_at=now,
            progress=0.0,
            message=None,
        )
        return Claim(job=job)

    def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Held]:
        return [self._extend(held, self._clock() + lease) for held in leases]

    def _extend(self, lease: Lease, until: float) -> Held:
        row = self._held(lease.job_id, lease.token)
        if row is None:
            return Held(held=False)
        row.job = msgspec.structs.replace(row.job, lease_until=until)
        return Held(held=True, cancel_requested=row.job.cancel_requested)

    def report(self, reports: Sequence[Report]) -> list[Held]:
        return [self._report(report) for report in reports]

    def _report(self, report: Report) -> Held:
        row = self._held(report.job_id, report.token)
        if row is None:
            return Held(held=False)
        if report.number > row.reported:
            row.reported = report.number
            self._record(row, report)
        return Held(held=True, cancel_requested=row.job.cancel_requested)

    def _record(self, row: Row, report: Report) -> None:
        job = row.job
        if report.checkpoint is not None:
            row.job = msgspec.structs.replace(row.job, checkpoint=report.checkpoint)
        progress = job.progress if report.progress is None else min(100.0, max(job.progress, report.progress))
        message = job.message if report.message is None else report.message
        if (progress, message) != (job.progress, job.message):
            self._write(row, EventType.PROGRESS, told=message, progress=progress, message=message)
        for event in report.events:
            self._write(row, event.type, told=event.message, name=event.event, data=event.data)

    def finish(self, outcomes: Sequence[Outcome]) -> list[bool]:
        for outcome in outcomes:
            if outcome.step not in OUTCOMES:
                raise IllegalStep(status=Status.PROCESSING, step=outcome.step)
        return [self._finish(outcome) for outcome in outcomes]

    def _finish(self, outcome: Outcome) -> bool:
        row = self._held(outcome.job_id, outcome.token)
        if row is None:
            known = self.rows.get(outcome.job_id)
            return known is not None and known.ended == (outcome.token, outcome.step)
        row.ended = (outcome.token, outcome.step)
        step = self._settled(row.job, outcome.step)
        changes: dict[str, Any] = {}
        if outcome.error is not None:
            changes["error"] = outcome.error
        if outcome.message is not None:
            changes["message"] = outcome.message
        if step is Step.COMPLETE:
            changes |= {"progress": 100.0, "result": outcome.result, "error": None}
        elif step in (Step.RETRY, Step.SNOOZE):
            changes["due_at"] = self._clock() + outcome.delay
        self._step(row, step, told=outcome.message, ttl=outcome.ttl, **changes)
        return True

    @staticmethod
    def _settled(job: Job, step: Step) -> Step:
        """Return what an outcome comes to: cancelled if that was requested, failed if no attempt is left."""
        if job.cancel_requested and step in (Step.RETRY, Step.SNOOZE, Step.RELEASE):
            return Step.CANCEL
        if step is Step.RETRY and job.attempt >= job.max_attempts:
            return Step.FAIL
        return step

    # Upkeep

    def promote(self, limit: int) -> Promoted:
        now = self._clock()
        due = [row for row in self._in(Status.SCHEDULED) if row.job.due_at <= now]
        first = heapq.nsmallest(limit, due, key=lambda row: row.job.due_at)
        for row in first:
            self._step(row, Step.PROMOTE)
        waiting = [row.job.due_at - now for row in self._in(Status.SCHEDULED)]
        next_in = max(0.0, min(waiting)) if waiting else None
        return Promoted(deliveries=tuple(self._deliver(first)), next_in=next_in)

    def rescue(self, limit: int) -> list[Delivery]:
        now = self._clock()
        expired = [row for row in self._in(Status.PROCESSING) if (row.job.lease_until or 0.0) <= now]
        first = heapq.nsmallest(limit, expired, key=lambda row: row.job.lease_until or 0.0)
        for row in first:
            self._rescue(row)
        return self._deliver(row for row in first if row.job.status is Status.PENDING)

    def _rescue(self, row: Row) -> None:
        crashes = row.job.crashes + 1
        if row.job.cancel_requested:
            self._step(row, Step.CANCEL, crashes=crashes)
        elif crashes >= self._options.max_crashes:
            told = f"the job crashed its worker {crashes} times (or the worker lost its lease)"
            self._step(row, Step.CRASH, crashes=crashes, error=Failure(type="Crashed", message=told))
        else:
            self._step(row, Step.RESCUE, crashes=crashes)

    def undelivered(self, *, empty: Sequence[str], age: float, limit: int) -> list[Delivery]:
        before = self._clock() - age
        lost = [
            row
            for row in self._in(Status.PENDING)
            if row.delivered_at < before and (row.job.queue in empty or self._was_overtaken(row.job, before))
        ]
        return self._deliver(heapq.nsmallest(limit, lost, key=lambda row: row.delivered_at))

    def _was_overtaken(self, job: Job, before: float) -> bool:
        return any(
            row.turn is not None and row.turn > job.due_at and (row.job.started_at or before) < before
            for row in self.rows.values()
            if (row.job.queue, row.job.priority) == (job.queue, job.priority)
        )

    def _deliver(self, rows: Iterable[Row]) -> list[Delivery]:
        deliveries = []
        for row in rows:
            row.delivered_at = self._clock()
            job = row.job
            deliveries.append(Delivery(job_id=job.id, task=job.task, queue=job.queue, priority=job.priority))
        return deliveries

    def prune(self, limit: int) -> int:
        now = self._clock()
        kept = (row for status in FINAL for row in self._in(status))
        over = list(itertools.islice((row for row in kept if (row.job.expires_at or now) <= now), limit))
        for row in over:
            del self.rows[row.job.id], self._by_status[row.job.status][row.job.id]
        return len(over)

    # Calling off

    def cancel(self, ids: Sequence[str]) -> list[CancelResult]:
        return [self._cancel(job_id) for job_id in ids]

    def _cancel(self, job_id: str) -> CancelResult:
        row = self.rows.get(job_id)
        if row is None:
            return CancelResult.UNKNOWN
        if row.job.status.final:
            return CancelResult.FINAL
        if row.job.status in WAITING:
            self._step(row, Step.CANCEL)
            return CancelResult.CANCELLED
        if not row.job.cancel_requested:
            self._write(row, told="cancellation requested", cancel_requested=True)
        return CancelResult.REQUESTED

    def purge(self, queue: str, limit: int) -> int:
        waiting = [row for status in WAITING for row in self._in(status) if row.job.queue == queue]
        for row in waiting[:limit]:
            self._step(row, Step.CANCEL)
        return len(waiting[:limit])

    # Asking

    def get(self, ids: Sequence[str]) -> list[Job | None]:
        return [row.job if (row := self.rows.get(job_id)) else None for job_id in ids]

    def find(self, query: Query) -> Page:
        return page_of((row.job for row in self.rows.values()), query)

    def counts(self) -> list[Count]:
        counter = Counter((row.job.queue, row.job.task, row.job.status) for row in self.rows.values())
        return [
            Count(queue=queue, task=task, status=status, count=count)
            for (queue, task, status), count in counter.items()
        ]

    def story(self, job_id: str, after: int) -> Story | None:
        row = self.rows.get(job_id)
        if row is None:
            return None
        first = row.job.seq - len(row.events) + 1
        events = tuple(event for event in row.events if event.seq > after)
        return Story(job=row.job, events=events, gap=after + 1 < first)

    def published(self, after: int | None, limit: int = 1000) -> Published:
        first = self.published_up_to - len(self._log)
        if after is None or after == self.published_up_to:
            return Published(position=self.published_up_to)
        if after > self.published_up_to:  # a position in another store's log
            return Published(position=self.published_up_to, gap=True)
        start = max(after, first)
        told = tuple(itertools.islice(self._log, start - first, start - first + limit))
        return Published(position=start + len(told), told=told, gap=after < first)

    def has_work(self, queues: Sequence[str]) -> bool:
        return any(row.job.queue in queues for row in self._in(Status.PENDING))

    # The two ways to change a job

    def _step(
        self, row: Row, step: Step, *, told: str | None = None, ttl: float | None = None, **changes: Any
    ) -> Job:
        """Take a step of the transition table and tell it."""
        status = advance(row.job.status, step)
        now = self._clock()
        if step in GIVES_BACK:
            changes["attempt"] = row.job.attempt - 1
        if status is not Status.PROCESSING:
            changes |= {"lease_until": None, "worker": None}
        if status is Status.PENDING:
            row.delivered_at = now
        if status.final:
            kept = self._options.failure_ttl if status is Status.FAILED else self._options.result_ttl
            changes |= {
                "cancel_requested": False,
                "finished_at": now,
                "expires_at": now + (kept if ttl is None else ttl),
            }
        if step in (Step.RETRY, Step.FAIL, Step.CRASH) and (error := changes.get("error")):
            told = f"{error.type}: {error.message}"
        return self._write(row, told=told, status=status, **changes)

    def _write(
        self,
        row: Row,
        kind: EventType = EventType.STATUS,
        *,
        told: str | None = None,
        name: str | None = None,
        data: Any = None,
        **changes: Any,
    ) -> Job:
        """Change a job and tell it with one event, which bears the number of the run even if that is given back."""
        attempt = max(row.job.attempt, changes.get("attempt", 0))
        self._by_status[row.job.status].pop(row.job.id, None)
        job = row.job = msgspec.structs.replace(row.job, seq=row.job.seq + 1, **changes)
        self._by_status[job.status][job.id] = row
        if job.status.final and job.key is not None:
            del self._keys[job.task, job.key]
        event = Event(
            seq=job.seq,
            type=kind,
            status=job.status,
            at=self._clock(),
            progress=job.progress,
            attempt=attempt,
            event=name,
            message=told,
            data=data,
        )
        row.events.append(event)
        self._log.append(
            Told(task_id=job.id, task=job.task, queue=job.queue, event=event, topic=job.topic, user=job.user)
        )
        self.published_up_to += 1
        return job

    def _held(self, job_id: str, token: int) -> Row | None:
        """Return the row if that token holds it (rule 3)."""
        row = self.rows.get(job_id)
        return row if row and row.job.status is Status.PROCESSING and row.job.token == token else None

    def _known(self, ids: Iterable[str]) -> list[Row]:
        return [self.rows[job_id] for job_id in ids if job_id in self.rows]

    def _in(self, status: Status) -> list[Row]:
        return list(self._by_status[status].values())
