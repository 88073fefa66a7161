"""The verb insert: who was here before, who holds the key, and else a new row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from faena.events import Event, EventType
from faena.job import WAITING, Job, NewJob, OnConflict, Status, Step, advance, same_arguments
from faena.ports.records import Inserted
from faena.ports.store import StoreOptions
from faena.stores.sqlite import keys
from faena.stores.sqlite.gates import gates_text
from faena.stores.sqlite.ledger import Ledger
from faena.stores.sqlite.rows import CODES, JOB, LARGE_ARGS, Stored, encode, many, read_stored
from faena.stores.sqlite.steering import rearrange
from faena.stores.sqlite.waiting import call_off

_INSERT_PLAIN: Final = """
    INSERT INTO jobs (id, args, task, queue, topic, user, status, max_attempts, seq, priority, due_at, delivered_at,
        created_at, timeout, origin, events)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT: Final = """
    INSERT INTO jobs (id, args, task, queue, topic, user, status, max_attempts, seq, priority, due_at, delivered_at,
        created_at, timeout, origin, events, key, key_held, key_bound, kept_until, gates, lane)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_NOTHING_MORE: Final = (None,) * 6
_KNOWN: Final = f"SELECT {JOB} FROM jobs WHERE id IN (SELECT value FROM json_each(?))"


def insert(ledger: Ledger, jobs: Sequence[NewJob], *, options: StoreOptions) -> list[Inserted]:
    """Store new jobs, all or none."""
    call = _Call(ledger, jobs, options)
    answers = [call.answer(new) for new in jobs]
    call.write()
    return answers


class _Call:
    """One insert. New rows are collected and written together, at the latest before somebody looks for them."""

    def __init__(self, ledger: Ledger, jobs: Sequence[NewJob], options: StoreOptions) -> None:
        self._ledger = ledger
        self._options = options
        ids = encode([new.id for new in jobs]).decode()
        self._known: dict[str, Job] = {}
        self._gates: dict[str, str | None] = {}
        """Of the jobs in `_known`; one that is missing bears none."""
        self._holders: dict[tuple[str, str], Job] = {}
        for row in many(ledger.connection, _KNOWN, (ids,)):
            self._know(read_stored(row))
        self._rows: list[tuple[Any, ...]] = []
        self._more: list[tuple[Any, ...]] = []
        """For each row: its key, `keys.columns`, gates and lane."""

    def answer(self, new: NewJob) -> Inserted:
        """Say what becomes of one new job."""
        if (there := self._known.get(new.id)) is not None:
            return self._told(there)
        if new.key is None and new.idempotency is None:
            return self._create(new)
        if (replay := self._replayed(new)) is not None:
            return replay
        answer = self._by_key(new) or self._create(new)
        if new.idempotency is not None and not answer.conflict:
            if answer.job.id != new.id:
                self.write()
            keys.remember(self._ledger, new.idempotency, answer.job.id, fresh=answer.job.id == new.id)
        return answer

    def _replayed(self, new: NewJob) -> Inserted | None:
        """Return the answer to a request that was answered before."""
        asked = new.idempotency
        answered = None if asked is None else keys.answered(self._ledger, asked)
        if asked is None or answered is None:
            return None
        job = self._known.get(answered.job) or self._know(keys.stored_job(self._ledger, answered.job))
        if job is None:
            return None
        if answered.digest != asked.digest:
            return self._told(job, conflict=True)
        return self._told(job, replayed=True, duplicate=bool(answered.duplicate))

    def write(self) -> None:
        """Write the rows that were collected."""
        rows, more = self._rows, self._more
        self._rows, self._more = [], []
        write = self._ledger.connection.executemany
        if all(each is _NOTHING_MORE for each in more):
            write(_INSERT_PLAIN, rows)
        else:
            write(_INSERT, [row + each for row, each in zip(rows, more, strict=True)])
        for job_id in [row[0] for row in rows if row[1] is None]:
            keys.put_body(self._ledger, job_id, self._known[job_id].args)

    def _know(self, stored: Stored | None) -> Job | None:
        if stored is None:
            return None
        self._known[stored.job.id] = stored.job
        self._gates[stored.job.id] = stored.gates
        return stored.job

    def _told(self, job: Job, **flags: bool) -> Inserted:
        pending = job.status is Status.PENDING
        held_back = pending and self._ledger.holds_back(job, self._gates.get(job.id))
        return Inserted(job=job, held_back=held_back, **flags)

    def _by_key(self, new: NewJob) -> Inserted | None:
        """Return the answer of whoever holds the new job's key; None if it may have it."""
        if new.key is None:
            return None
        place = (new.task, new.key)
        holder = self._holders.get(place) or self._know(keys.holder(self._ledger, *place))
        if holder is None:
            return None
        if new.on_conflict is OnConflict.REFUSE:
            return self._told(holder, conflict=True)
        if holder.status in WAITING and new.on_conflict in (OnConflict.REPLACE, OnConflict.DEBOUNCE):
            self.write()
            if new.on_conflict is OnConflict.DEBOUNCE:
                return self._debounce(holder.id, new)
            self._replace(holder.id, new)
            return None
        same = same_arguments(holder.args, new.args)
        return self._told(holder, duplicate=same, conflict=not same)

    def _replace(self, job_id: str, new: NewJob) -> None:
        """Cancel the holder and free its key."""
        head = keys.head_of(self._ledger, job_id)
        keys.free(self._ledger, head.n)
        if head.kept_until is not None and head.kept_until == head.key_held:
            head.kept_until = keys.answers_until(self._ledger, job_id)
        head.key_held = None
        call_off(self._ledger, head, self._options, message=f"replaced by {new.id}")
        self._holders.pop((new.task, new.key or ""), None)
        self._refresh(job_id)

    def _debounce(self, job_id: str, new: NewJob) -> Inserted:
        """Let the holder take over what is new."""
        head = keys.head_of(self._ledger, job_id)
        keys.put_args(self._ledger, head, new.args)
        gates = gates_text(new.gates) if new.gates else None
        placed = gates == head.gates
        if not placed:
            self._ledger.change_gates(head, gates)
        due_at = self._ledger.now + new.delay if new.due_at is None else new.due_at
        rearrange(
            self._ledger, head, priority=new.priority, due_at=due_at, message="debounced", placed=placed
        )
        return self._told(self._refresh(job_id), duplicate=True)

    def _refresh(self, job_id: str) -> Job:
        """Read a job that changed."""
        job = self._know(keys.stored_job(self._ledger, job_id))
        assert job is not None
        if (place := (job.task, job.key or "")) in self._holders:
            self._holders[place] = job
        return job

    def _create(self, new: NewJob) -> Inserted:
        ledger, now = self._ledger, self._ledger.now
        due_at = now + new.delay if new.due_at is None else new.due_at
        status = advance(None, Step.SCHEDULE if due_at > now else Step.ENQUEUE)
        gates = gates_text(new.gates) if new.gates else None
        job = _job(new, status, due_at=due_at, now=now)
        event = ledger.tell(job, Event(seq=1, type=EventType.STATUS, status=status, at=now))
        ledger.count(new.queue, new.task, CODES[status], +1)
        delivered_at, lane = ledger.place(new, gates) if status is Status.PENDING else (None, None)
        self._rows.append(
            (
                new.id,
                new.args if len(new.args) <= LARGE_ARGS else None,
                new.task,
                new.queue,
                new.topic,
                new.user,
                CODES[status],
                new.max_attempts,
                new.priority,
                due_at,
                delivered_at,
                now,
                new.timeout,
                new.origin,
                event.decode(),
            )
        )
        plain = (
            lane is None
            and gates is None
            and new.key is None
            and new.key_kept <= 0
            and new.idempotency is None
        )
        self._more.append(_NOTHING_MORE if plain else (*keys.columns(new, now), gates, lane))
        self._known[job.id] = job
        if gates is not None:
            self._gates[job.id] = gates
        if job.key is not None:
            self._holders[job.task, job.key] = job
        return Inserted(job=job, held_back=delivered_at is None and status is Status.PENDING)


def _job(new: NewJob, status: Status, *, due_at: float, now: float) -> Job:
    return Job(
        id=new.id,
        task=new.task,
        args=new.args,
        queue=new.queue,
        priority=new.priority,
        status=status,
        attempt=0,
        max_attempts=new.max_attempts,
        crashes=0,
        token=0,
        seq=1,
        created_at=now,
        due_at=due_at,
        timeout=new.timeout,
        key=new.key,
        user=new.user,
        topic=new.topic,
        origin=new.origin,
    )
