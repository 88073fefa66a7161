"""The memory store's verbs, each as one plain function over the `Book`.

Nothing here waits, so a verb is one atomic step for whoever holds `Ledger.lock`.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from faena.errors import IllegalStep
from faena.events import EventType
from faena.job import FINAL, OUTCOMES, WAITING, Failure, Job, NewJob, Outcome, Status, Step
from faena.ports.engine import Delivery
from faena.ports.records import (
    CancelResult,
    Changed,
    Claim,
    Held,
    Inserted,
    Lease,
    Obstacles,
    Page,
    Promoted,
    Query,
    Report,
)
from faena.ports.store import StoreOptions
from faena.rates import call_within
from faena.stores.memory.book import Book
from faena.stores.memory.intake import Intake
from faena.stores.memory.keyring import Keyring
from faena.stores.memory.listing import page_of
from faena.stores.memory.roster import Roster
from faena.stores.memory.row import Row
from faena.stores.memory.timetable import Timetable

MOST_HOLDERS: Final = 10
MOST_AHEAD: Final = 1000


class Ledger(Book):
    """Every job of a memory store. Hold `lock` around each verb."""

    def __init__(self, options: StoreOptions, clock: Callable[[], float]) -> None:
        super().__init__(options, clock)
        self.lock = threading.Lock()
        self.listeners: set[Callable[[], None]] = set()
        self.roster = Roster(clock)
        self.timetable = Timetable(clock)
        self._keys = Keyring(self.rows)
        self._intake = Intake(self, self._keys, options, clock)

    def wake_listeners(self) -> None:
        """Call every listener: something was told, or resumed."""
        for wake in self.listeners:
            wake()

    # Enqueueing

    def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return self._intake.insert(jobs)

    def change(self, job_id: str, priority: int | None, delay: float | None, due_at: float | None) -> Changed:
        return self._intake.change(job_id, priority, delay, due_at)

    def tick(
        self, name: str, at: float, next_at: float | None, jobs: Sequence[NewJob], missed: int
    ) -> list[Inserted] | None:
        if not self.timetable.due(name, at):
            return None
        inserted = self._intake.insert(jobs)
        self.timetable.ticked(name, next_at=next_at, inserted=inserted, missed=missed)
        return inserted

    # Holding

    def claim(self, ids: Sequence[str], *, worker: str, lease: float, request: str) -> list[Claim]:
        claims = []
        for row in self.known(dict.fromkeys(ids)):
            if row.job.status is Status.PENDING:
                if self.lines.may_go(row):
                    claims.append(self._claim(row, worker, lease, request))
                else:
                    row.delivered_at = None
            elif row.job.status is Status.PROCESSING and row.request == request:
                claims.append(_claim_of(row))
        return claims

    def claim_next(
        self, queues: Sequence[str], *, worker: str, lease: float, limit: int, request: str
    ) -> list[Claim]:
        held = [row for row in self.within(Status.PROCESSING) if row.request == request]
        if held:
            return [_claim_of(row) for row in held]
        turns = self.lines.next_ones(self.within(Status.PENDING), queues)
        return [self._claim(row, worker, lease, request) for row in itertools.islice(turns, limit)]

    def _claim(self, row: Row, worker: str, lease: float, request: str) -> Claim:
        now = self._clock()
        row.request, row.reported, row.turn = request, 0, row.job.due_at
        self.lines.gates.enter(row.job.id, row.gates, now)
        self.step(
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
        return _claim_of(row)

    def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Held]:
        return [self._extend(held, self._clock() + lease) for held in leases]

    def _extend(self, lease: Lease, until: float) -> Held:
        row = self.held(lease.job_id, lease.token)
        if row is None:
            return Held(held=False)
        row.job = msgspec.structs.replace(row.job, lease_until=until)
        return Held(held=True, cancel_requested=row.job.cancel_requested)

    def started(self, leases: Sequence[Lease]) -> list[Held]:
        return [self._start_anew(lease) for lease in leases]

    def _start_anew(self, lease: Lease) -> Held:
        row = self.held(lease.job_id, lease.token)
        if row is None:
            return Held(held=False)
        self.lines.gates.start(row.gates, self._clock())
        return Held(held=True, cancel_requested=row.job.cancel_requested)

    def report(self, reports: Sequence[Report]) -> list[Held]:
        return [self._report(report) for report in reports]

    def _report(self, report: Report) -> Held:
        row = self.held(report.job_id, report.token)
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
            self.write(row, EventType.PROGRESS, told=message, progress=progress, message=message)
        for event in report.events:
            self.write(row, event.type, told=event.message, name=event.event, data=event.data)

    def finish(self, outcomes: Sequence[Outcome]) -> list[bool]:
        for outcome in outcomes:
            if outcome.step not in OUTCOMES:
                raise IllegalStep(status=Status.PROCESSING, step=outcome.step)
        return [self._finish(outcome) for outcome in outcomes]

    def _finish(self, outcome: Outcome) -> bool:
        row = self.held(outcome.job_id, outcome.token)
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
        self.step(row, step, told=outcome.message, ttl=outcome.ttl, **changes)
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
        due = [row for row in self.within(Status.SCHEDULED) if row.job.due_at <= now]
        first = heapq.nsmallest(limit, due, key=lambda row: row.job.due_at)
        for row in first:
            self.step(row, Step.PROMOTE)
        waiting = [row.job.due_at - now for row in self.within(Status.SCHEDULED)]
        next_in = max(0.0, min(waiting)) if waiting else None
        if first and len(first) == limit:
            next_in = 0.0
        return Promoted(deliveries=tuple(self._deliver_pending(first)), next_in=next_in)

    def _deliver_pending(self, rows: Iterable[Row]) -> list[Delivery]:
        """Return deliveries of those that are pending and not held back."""
        return self.deliver(
            row for row in rows if row.job.status is Status.PENDING and not self.lines.held_back(row)
        )

    def admit(self, limit: int) -> Promoted:
        waiting = self.within(Status.PENDING)
        admitted = list(itertools.islice(self.lines.admissible(waiting), limit))
        deliveries = tuple(self.deliver(admitted))
        if admitted and len(admitted) == limit:
            return Promoted(deliveries=deliveries, next_in=0.0)
        left = [row for row in waiting if row.delivered_at is None]
        return Promoted(
            deliveries=deliveries, next_in=self.lines.opens_in(left, self.lines.expected(waiting))
        )

    def rescue(self, limit: int) -> list[Delivery]:
        now = self._clock()
        expired = [row for row in self.within(Status.PROCESSING) if (row.job.lease_until or 0.0) <= now]
        first = heapq.nsmallest(limit, expired, key=lambda row: row.job.lease_until or 0.0)
        for row in first:
            self._rescue(row)
        return self._deliver_pending(first)

    def _rescue(self, row: Row) -> None:
        crashes = row.job.crashes + 1
        if row.job.cancel_requested:
            self.step(row, Step.CANCEL, crashes=crashes)
        elif crashes >= self._options.max_crashes:
            told = f"the job crashed its worker {crashes} times (or the worker lost its lease)"
            self.step(row, Step.CRASH, crashes=crashes, error=Failure(type="Crashed", message=told))
        else:
            self.step(row, Step.RESCUE, crashes=crashes)

    def undelivered(self, *, empty: Sequence[str], age: float, limit: int) -> list[Delivery]:
        before = self._clock() - age
        given_out = [
            (row.delivered_at, row) for row in self.within(Status.PENDING) if row.delivered_at is not None
        ]
        lost = [
            (at, row)
            for at, row in given_out
            if at < before and (row.job.queue in empty or self._was_overtaken(row.job, at, before))
        ]
        return self.deliver(row for _, row in heapq.nsmallest(limit, lost, key=lambda one: one[0]))

    def _was_overtaken(self, job: Job, delivered_at: float, before: float) -> bool:
        return any(
            row.turn is not None and row.turn > delivered_at and (row.job.started_at or before) < before
            for row in self.rows.values()
            if (row.job.queue, row.job.priority) == (job.queue, job.priority)
        )

    def prune(self, limit: int) -> int:
        now = self._clock()
        kept = (row for status in FINAL for row in self.within(status))
        over = list(itertools.islice((row for row in kept if (row.job.expires_at or now) <= now), limit))
        for row in over:
            self.remove(row)
            self._keys.forget(row.job)
        self._keys.forget_requests(now)
        self.lines.gates.forget(now)
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
            self.step(row, Step.CANCEL)
            return CancelResult.CANCELLED
        if not row.job.cancel_requested:
            self.write(row, told="cancellation requested", cancel_requested=True)
        return CancelResult.REQUESTED

    def resume(self, queue: str | None, task: str | None) -> bool:
        resumed = self.lines.resume(queue, task)
        self.wake_listeners()
        return resumed

    def purge(self, queue: str, limit: int) -> int:
        waiting = [row for status in WAITING for row in self.within(status) if row.job.queue == queue]
        for row in waiting[:limit]:
            self.step(row, Step.CANCEL)
        return len(waiting[:limit])

    # Asking

    def get(self, ids: Sequence[str]) -> list[Job | None]:
        return [row.job if (row := self.rows.get(job_id)) else None for job_id in ids]

    def find(self, query: Query) -> Page:
        return page_of((row.job for row in self.rows.values()), query)

    def has_work(self, queues: Sequence[str]) -> bool:
        return any(row.job.queue in queues and self.lines.may_go(row) for row in self.within(Status.PENDING))

    def opens_in(self, queues: Sequence[str]) -> float | None:
        """Return the seconds until a gate opens behind which jobs of these queues wait."""
        return self.lines.opens_in(row for row in self.within(Status.PENDING) if row.job.queue in queues)

    def obstacles(self, job_id: str) -> Obstacles | None:
        row, now = self.rows.get(job_id), self._clock()
        if row is None or row.job.status not in WAITING:
            return None
        queue_paused, task_paused = (
            self.lines.queue_paused(row.job.queue),
            self.lines.task_paused(row.job.task),
        )
        if row.job.status is Status.SCHEDULED:
            due_in = max(0.0, row.job.due_at - now)
            return Obstacles(due_in=due_in, queue_paused=queue_paused, task_paused=task_paused)
        gate = self.lines.closed(row)
        opens_in = self.lines.gates.opens_in(gate, now) if gate else None
        holders = self.lines.gates.running(gate.name) if gate and opens_in is None else ()
        return Obstacles(
            queue_paused=queue_paused,
            task_paused=task_paused,
            gate=gate,
            opens_in=opens_in,
            holders=tuple(itertools.islice(holders, MOST_HOLDERS)),
            ahead=self._ahead(row),
            delivered_ago=None if row.delivered_at is None else now - row.delivered_at,
        )

    def _ahead(self, row: Row) -> int:
        """Count the jobs of the same line that go first."""
        line = (
            other
            for other in self.within(Status.PENDING)
            if (other.lane == row.lane if row.gates else not other.gates)
            and (other.job.queue, other.job.priority) == (row.job.queue, row.job.priority)
        )
        return min(MOST_AHEAD, sum(other.place < row.place for other in line))


def _claim_of(row: Row) -> Claim:
    return Claim(job=row.job, call_within=call_within(row.gates))
