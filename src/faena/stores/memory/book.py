"""What a memory store holds: every job with its events, and the two ways to change a job.

All changes go through `Book.write`, which makes the change and tells it as one event.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from faena.events import Event, EventType, Published, Told
from faena.job import GIVES_BACK, Gate, Job, Status, Step, advance
from faena.ports.engine import Delivery
from faena.ports.records import Count, Story
from faena.ports.store import StoreOptions
from faena.stores.memory.lines import Lines
from faena.stores.memory.row import Row

LOG_LENGTH: Final = 10_000
"""How many of the latest events of all jobs are kept for `Book.published`."""


class Book:
    """Every job of a memory store, by id and by status, and the lines in which they wait."""

    def __init__(self, options: StoreOptions, clock: Callable[[], float]) -> None:
        self.rows: dict[str, Row] = {}
        self.lines = Lines(clock)
        self.published_up_to = 0
        self.ever = 0
        """How many jobs ever came."""
        self._options = options
        self._clock = clock
        self._by_status: dict[Status, dict[str, Row]] = {status: {} for status in Status}
        self._log: deque[Told] = deque(maxlen=LOG_LENGTH)

    # The two ways to change a job

    def step(
        self, row: Row, step: Step, *, told: str | None = None, ttl: float | None = None, **changes: Any
    ) -> Job:
        """Take a step of the transition table and tell it."""
        status = advance(row.job.status, step)
        now = self._clock()
        if step in GIVES_BACK:
            changes["attempt"] = row.job.attempt - 1
        if status is not Status.PROCESSING:
            changes["lease_until"] = None
            if not status.final:
                changes["worker"] = None
        if row.job.status is Status.PROCESSING:
            self.lines.gates.leave(row.job.id, row.gates)
        if status.final:
            kept = self._options.failure_ttl if status is Status.FAILED else self._options.result_ttl
            changes |= {
                "cancel_requested": False,
                "finished_at": now,
                "expires_at": max(now + (kept if ttl is None else ttl), row.kept_until),
            }
        if step in (Step.RETRY, Step.FAIL, Step.CRASH) and (error := changes.get("error")):
            told = error.told
        job = self.write(row, told=told, status=status, **changes)
        if status is Status.PENDING:
            row.delivered_at = None if self.lines.held_back(row) else now
        return job

    def write(
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
        self._take_out(row)
        job = row.job = msgspec.structs.replace(row.job, seq=row.job.seq + 1, **changes)
        self._put_in(row)
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

    def _take_out(self, row: Row) -> None:
        known = self._by_status[row.job.status].pop(row.job.id, None)
        if known is not None and row.job.status is Status.PENDING:
            self.lines.leave(row)

    def _put_in(self, row: Row) -> None:
        self._by_status[row.job.status][row.job.id] = row
        if row.job.status is Status.PENDING:
            self.lines.join(row)

    def change_gates(self, row: Row, gates: tuple[Gate, ...]) -> None:
        """Let a waiting job bear these gates: if others, it leaves its lane and is not given out any more."""
        if gates == row.gates:
            return
        self._take_out(row)
        row.gates = gates
        if row.job.status is Status.PENDING:
            row.delivered_at = None if self.lines.held_back(row) else self._clock()
        self._put_in(row)

    def remove(self, row: Row) -> None:
        """Delete a job."""
        del self.rows[row.job.id], self._by_status[row.job.status][row.job.id]

    # Finding jobs

    def held(self, job_id: str, token: int) -> Row | None:
        """Return the row if that token holds it (rule 3)."""
        row = self.rows.get(job_id)
        return row if row and row.job.status is Status.PROCESSING and row.job.token == token else None

    def known(self, ids: Iterable[str]) -> list[Row]:
        """Return the jobs that are there."""
        return [self.rows[job_id] for job_id in ids if job_id in self.rows]

    def within(self, status: Status) -> list[Row]:
        """Return the jobs that have a status."""
        return list(self._by_status[status].values())

    def deliver(self, rows: Iterable[Row]) -> list[Delivery]:
        """Return deliveries of jobs, and note that they were given out now."""
        deliveries = []
        for row in rows:
            row.delivered_at = self._clock()
            job = row.job
            deliveries.append(Delivery(job_id=job.id, task=job.task, queue=job.queue, priority=job.priority))
        return deliveries

    # Telling

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
