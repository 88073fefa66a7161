"""How jobs come into a memory store, and how waiting ones are changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from faena.job import WAITING, Job, NewJob, OnConflict, Status, Step, advance, same_arguments
from faena.ports.records import Changed, Inserted
from faena.ports.store import StoreOptions
from faena.stores.memory.book import Book
from faena.stores.memory.keyring import Keyring
from faena.stores.memory.row import Row

_KEPT = set(NewJob.__struct_fields__) & set(Job.__struct_fields__) - {"due_at"}
"""What a job takes over from the request as it is."""


class Intake:
    """Puts new jobs into a book, with regard to keys and to requests that are sent again."""

    def __init__(self, book: Book, keys: Keyring, options: StoreOptions, clock: Callable[[], float]) -> None:
        self._book = book
        self._keys = keys
        self._options = options
        self._clock = clock

    def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return [self._insert(new) for new in jobs]

    def _insert(self, new: NewJob) -> Inserted:
        if known := self._book.rows.get(new.id):
            return self._answer(known)
        if new.idempotency is None:
            return self._insert_by_key(new)
        now = self._clock()
        if answered := self._keys.answered(new.idempotency, now):
            row, said = answered
            if said.digest != new.idempotency.digest:
                return self._answer(row, conflict=True)
            return self._answer(row, replayed=True, duplicate=said.duplicate)
        inserted = self._insert_by_key(new)
        if not inserted.conflict:
            answering = self._book.rows[inserted.job.id]
            until = self._keys.remember(new.idempotency, answering, now, duplicate=inserted.duplicate)
            self._keep(answering, until)
        return inserted

    def _insert_by_key(self, new: NewJob) -> Inserted:
        now = self._clock()
        holder = self._keys.holder(new.task, new.key, now) if new.key is not None else None
        if holder is None:
            return self._answer(self._create(new))
        if holder.job.status in WAITING and new.on_conflict is OnConflict.REPLACE:
            holder.key_kept = 0.0  # it has lost its key
            self._book.step(holder, Step.CANCEL, told=f"replaced by {new.id}")
            return self._answer(self._create(new))
        if holder.job.status in WAITING and new.on_conflict is OnConflict.DEBOUNCE:
            self._book.change_gates(holder, new.gates)
            self._move(
                holder, "debounced", now, due_at=_due_at(new, now), args=new.args, priority=new.priority
            )
            return self._answer(holder, duplicate=True)
        same = same_arguments(holder.job.args, new.args) and new.on_conflict is not OnConflict.REFUSE
        return self._answer(holder, duplicate=same, conflict=not same)

    def _answer(self, row: Row, **what: bool) -> Inserted:
        held_back = row.job.status is Status.PENDING and self._book.lines.held_back(row)
        return Inserted(job=row.job, held_back=held_back, **what)

    def _create(self, new: NewJob) -> Row:
        now = self._clock()
        due_at = _due_at(new, now)
        status = advance(None, Step.SCHEDULE if due_at > now else Step.ENQUEUE)
        options = {field: getattr(new, field) for field in _KEPT}
        job = Job(
            status=status, attempt=0, crashes=0, token=0, seq=0, created_at=now, due_at=due_at, **options
        )
        self._book.ever += 1
        row = Row(job, new, number=self._book.ever, max_events=self._options.max_events)
        self._book.rows[job.id] = row
        self._keys.give(job)
        if not self._book.lines.held_back(row):
            row.delivered_at = now
        self._book.write(row)
        return row

    def _keep(self, row: Row, until: float) -> None:
        """Keep a job at least so long, also if it has ended already."""
        row.answers_until = max(row.answers_until, until)
        if row.job.expires_at is not None:
            row.job = msgspec.structs.replace(row.job, expires_at=max(row.job.expires_at, until))

    def change(self, job_id: str, priority: int | None, delay: float | None, due_at: float | None) -> Changed:
        row = self._book.rows.get(job_id)
        if row is None or row.job.status not in WAITING:
            return Changed(job=row.job if row else None, changed=False)
        now = self._clock()
        if due_at is None and delay is not None:
            due_at = now + delay
        changes = {} if priority is None else {"priority": priority}
        return Changed(job=self._move(row, "changed", now, due_at=due_at, **changes), changed=True)

    def _move(self, row: Row, told: str, now: float, *, due_at: float | None, **changes: Any) -> Job:
        """Give a waiting job another place, and another time if ``due_at`` is one."""
        if due_at is None:
            return self._book.write(row, told=told, **changes)
        if due_at > now:
            return self._book.step(row, Step.POSTPONE, told=told, due_at=due_at, **changes)
        if row.job.status is Status.SCHEDULED:
            return self._book.step(row, Step.PROMOTE, told=told, due_at=due_at, **changes)
        return self._book.write(row, told=told, due_at=due_at, **changes)


def _due_at(new: NewJob, now: float) -> float:
    return new.due_at if new.due_at is not None else now + new.delay
