"""What one transaction changes: each change of a job with its event, then once the counts and the event log."""

from __future__ import annotations

from collections import Counter
from typing import Final

import apsw
import msgspec

from faena.events import Event, EventType, NewEvent
from faena.job import Failure, Job, NewJob, Record, Status, Step, advance
from faena.stores.sqlite.gates import leave
from faena.stores.sqlite.lanes import lane_for
from faena.stores.sqlite.pauses import NOTHING, Pauses, read_pauses
from faena.stores.sqlite.rows import CODES, STATUSES, Head, encode

RUN: Final = 64
"""Events that are kept in the job's row; when there are more they move to `history` together."""


class _Told(Record, frozen=True, omit_defaults=True):
    """`faena.events.Told` with its event already encoded."""

    task_id: str
    task: str
    queue: str
    event: msgspec.Raw
    topic: str | None = None
    user: str | None = None


_CHANGES: Final = """
    UPDATE jobs SET status = ?, attempt = ?, crashes = ?, token = ?, seq = ?, progress = ?, cancel_requested = ?,
        reported = ?, last_step = ?, kept_from = ?, due_at = ?, lease_until = ?, started_at = ?, finished_at = ?,
        expires_at = ?, delivered_at = ?, lane = ?, worker = ?, message = ?, error = ?, checkpoint = ?, result = ?,
        events = CASE WHEN events = '' THEN ? ELSE events || ? END"""
_SAVE: Final = f"{_CHANGES} WHERE n = ?"
_SAVE_LAST: Final = f"{_CHANGES}, key_held = ? WHERE n = ?"
_CLAIMED: Final = """
    UPDATE jobs SET status = ?, attempt = ?, token = ?, seq = ?, progress = 0, reported = 0, last_step = NULL,
        kept_from = ?, lease_until = ?, started_at = ?, lane = NULL, worker = ?, message = NULL,
        events = CASE WHEN events = '' THEN ? ELSE events || ? END
    WHERE n = ?"""
_NOTE: Final = """
    UPDATE jobs SET seq = ?, progress = ?, cancel_requested = ?, reported = ?, kept_from = ?, message = ?,
        checkpoint = ?, events = CASE WHEN events = '' THEN ? ELSE events || ? END
    WHERE n = ?"""
_REFUSED: Final = """
    INSERT INTO meta VALUES ('refused', ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"""
_COUNT: Final = """
    INSERT INTO counts VALUES (?, ?, ?, ?)
    ON CONFLICT (queue, task, status) DO UPDATE SET count = count + excluded.count"""


_PENDING: Final = CODES[Status.PENDING]
_PROCESSING: Final = CODES[Status.PROCESSING]


class Ledger:
    """The changes of one call. A call that fails is rolled back and its ledger thrown away."""

    def __init__(self, connection: apsw.Connection, *, now: float, max_events: int) -> None:
        self.connection = connection
        self.now = now
        self.rings_work = False
        """True when there may be something to claim: a job became pending, a gate opened."""
        self.refused = 0
        """Writes of holders that lost their lease."""
        self._max_events = max_events
        self._deltas: dict[tuple[str, str, int], int] = {}
        self._told: list[bytes] = []
        self._pauses: Pauses | None = None
        self._lanes: dict[tuple[str, int, str, str], int] = {}
        self._ran: Counter[str] = Counter()
        self._given: Counter[str] = Counter()

    @property
    def pauses(self) -> Pauses:
        """What was paused when this call first asked."""
        if self._pauses is None:
            self._pauses = read_pauses(self.connection)
        return self._pauses

    def lane(self, queue: str, priority: int, task: str, gates: str = "") -> int:
        """Return the lane of pending jobs that bear these gates, or whose task is paused."""
        place = (queue, priority, task, gates)
        if place not in self._lanes:
            self._lanes[place] = lane_for(self.connection, *place)
        return self._lanes[place]

    @property
    def told(self) -> bool:
        """True when there are events to publish."""
        return bool(self._told)

    def absorb(self, other: Ledger) -> None:
        """Take over the changes of a call that succeeded within the same transaction."""
        self.rings_work |= other.rings_work
        self.refused += other.refused
        self._told += other._told
        for place, delta in other._deltas.items():
            self._deltas[place] = self._deltas.get(place, 0) + delta

    def count(self, queue: str, task: str, status: int, delta: int) -> None:
        """Note that ``delta`` more jobs of a queue and a task have a status."""
        place = (queue, task, status)
        self._deltas[place] = self._deltas.get(place, 0) + delta

    def tell(self, head: Head | Job, event: Event) -> bytes:
        """Publish an event of a job; returns it encoded."""
        body = encode(event)
        self._told.append(
            encode(
                _Told(
                    task_id=head.id,
                    task=head.task,
                    queue=head.queue,
                    event=msgspec.Raw(body),
                    topic=head.topic,
                    user=head.user,
                )
            )
        )
        return body

    def event(
        self,
        head: Head,
        type_: EventType,
        *,
        name: str | None = None,
        message: str | None = None,
        data: object = None,
    ) -> bytes:
        """Number, publish and return the next event of a job."""
        head.seq += 1
        return self.tell(
            head,
            Event(
                seq=head.seq,
                type=type_,
                status=STATUSES[head.status],
                at=self.now,
                progress=head.progress,
                attempt=head.attempt,
                event=name,
                message=message,
                data=data,
            ),
        )

    def move(
        self, head: Head, step: Step, *, message: str | None = None, attempt: int | None = None
    ) -> bytes:
        """Take a step: status, counts and its event (told with ``attempt`` if that is given back by the step)."""
        before = head.status
        head.status = CODES[advance(STATUSES[before], step)]
        self.count(head.queue, head.task, before, -1)
        self.count(head.queue, head.task, head.status, +1)
        if head.gates is not None:
            self._left(head, before)
        head.lane = None
        if head.status == _PENDING:
            head.delivered_at, head.lane = self.place(head, head.gates)
        given_back, head.attempt = head.attempt, head.attempt if attempt is None else attempt
        event = self.event(head, EventType.STATUS, message=message)
        head.attempt = given_back
        return event

    def _left(self, head: Head, before: int) -> None:
        """A job with gates leaves a status: slots that it had are free again."""
        assert head.gates is not None
        if before == _PROCESSING:
            self._ran[head.gates] += 1
        elif before == _PENDING and head.delivered_at is not None:
            self._given[head.gates] += 1

    def holds_back(self, job: Head | Job | NewJob, gates: str | None) -> bool:
        """Tell whether a pending job is not to be delivered: it bears gates or is paused."""
        return gates is not None or (self.pauses is not NOTHING and self.pauses.hold(job.queue, job.task))

    def place(self, job: Head | NewJob, gates: str | None) -> tuple[float | None, int | None]:
        """Return when a job that becomes pending now is delivered (None: it is held back), and its lane."""
        self.rings_work = True
        if not self.holds_back(job, gates):
            return self.now, None
        if gates is None and job.task not in self.pauses.tasks:
            return None, None
        return None, self.lane(job.queue, job.priority, job.task, gates or "")

    def change_gates(self, head: Head, gates: str | None) -> None:
        """Let a waiting job bear other gates. What it had under the old ones it gives back, with its place."""
        if head.gates is not None:
            self._left(head, head.status)
        head.gates, head.delivered_at, head.lane = gates, None, None
        self.connection.execute("UPDATE jobs SET gates = ? WHERE n = ?", (gates, head.n))

    def send_back(self, head: Head) -> None:
        """Hold a pending job back that was given out and may not go, without an event."""
        if head.gates is not None:
            self._left(head, _PENDING)
        head.delivered_at, head.lane = self.place(head, head.gates)
        values = (head.lane, head.n)
        self.connection.execute("UPDATE jobs SET delivered_at = NULL, lane = ? WHERE n = ?", values)

    def settle(self) -> None:
        """Give back the slots of the jobs that left: the last thing of a call."""
        if self._ran or self._given:
            self.rings_work |= leave(self.connection, self._ran, self._given)

    def end(self, head: Head, *, ttl: float) -> None:
        """Mark a job as ended now, to be kept for ``ttl`` seconds, longer where its key or a request needs it. Who ran
        it stays."""
        head.finished_at = self.now
        head.expires_at = max(self.now + ttl, head.kept_until or 0.0)
        head.cancel_requested = 0
        head.lease_until = None

    @staticmethod
    def free(head: Head) -> None:
        """Let go of the lease. The token stays: the next claim makes it grow."""
        head.lease_until = None
        head.worker = None

    def told_by_task(self, head: Head, new: NewEvent) -> bytes:
        """Record an event that the running task asked for."""
        return self.event(head, new.type, name=new.event, message=new.message, data=new.data)

    def save(self, head: Head, events: list[bytes]) -> None:
        """Write a job that moved, with its new events."""
        body = self._joined(head, events)
        values = (
            head.status,
            head.attempt,
            head.crashes,
            head.token,
            head.seq,
            head.progress,
            head.cancel_requested,
            head.reported,
            head.last_step,
            head.kept_from,
            head.due_at,
            head.lease_until,
            head.started_at,
            head.finished_at,
            head.expires_at,
            head.delivered_at,
            head.lane,
            head.worker,
            head.message,
            head.error,
            head.checkpoint,
            head.result,
        )
        if head.key_held is None or head.finished_at is None:
            self.connection.execute(_SAVE, (*values, body, f",{body}", head.n))
        else:
            held = head.key_held if head.key_held > self.now else None
            self.connection.execute(_SAVE_LAST, (*values, body, f",{body}", held, head.n))

    def save_claim(self, head: Head, event: bytes) -> None:
        """Write a job that was claimed, with the event: less of it changes than in other steps."""
        body = self._joined(head, [event])
        values = (
            head.status,
            head.attempt,
            head.token,
            head.seq,
            head.kept_from,
            head.lease_until,
            head.started_at,
            head.worker,
        )
        self.connection.execute(_CLAIMED, (*values, body, f",{body}", head.n))

    def note(self, head: Head, events: list[bytes]) -> None:
        """Write a job that told something but did not move: no index changes, which makes it much cheaper."""
        body = self._joined(head, events)
        values = (
            head.seq,
            head.progress,
            head.cancel_requested,
            head.reported,
            head.kept_from,
            head.message,
            head.checkpoint,
        )
        self.connection.execute(_NOTE, (*values, body, f",{body}" if body else "", head.n))

    def _joined(self, head: Head, events: list[bytes]) -> str:
        if head.seq - head.kept_from >= RUN:
            self._shelve(head, len(events))
        return b",".join(events).decode()

    def _shelve(self, head: Head, fresh: int) -> None:
        """Move the events in the row to `history`, and drop what is older than the store promises to keep."""
        last = head.seq - fresh
        execute = self.connection.execute
        execute(
            "INSERT INTO history SELECT n, ?, events FROM jobs WHERE n = ? AND events <> ''", (last, head.n)
        )
        execute("UPDATE jobs SET events = '' WHERE n = ?", (head.n,))
        execute("DELETE FROM history WHERE job = ? AND last <= ?", (head.n, head.seq - self._max_events))
        head.kept_from = last + 1

    def flush(self) -> None:
        """Write the counts and the event log: the last thing in a transaction."""
        changed = [(*place, delta) for place, delta in self._deltas.items() if delta]
        if changed:
            self.connection.executemany(_COUNT, changed)
        if self.refused:
            self.connection.execute(_REFUSED, (self.refused,))
        if self._told:
            self.connection.execute(
                "INSERT INTO feed (at, told) VALUES (?, ?)", (self.now, b",".join(self._told))
            )


def failure_text(failure: Failure | None) -> str | None:
    """Return a failure as an event's message."""
    return None if failure is None else failure.told
