"""Between what Redis keeps and Faena's records.

What a script reads or changes is MessagePack of plain arrays (`cmsgpack` in Lua); what it only passes on (arguments,
results, checkpoints) stays the bytes that came.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from faena.events import Event, EventType, Told
from faena.job import Failure, Gate, Job, NewJob, OnConflict, Record, Status, Window, same_arguments
from faena.ports.engine import Delivery
from faena.ports.records import Claim, Inserted
from faena.rates import call_within

STATUSES: Final = tuple(Status)
"""A status is stored as its position here."""
EVENT_TYPES: Final = tuple(EventType)
CODES: Final = {status: code for code, status in enumerate(STATUSES)}
EVENT_CODES: Final = {kind: code for code, kind in enumerate(EVENT_TYPES)}

Text = str | bool
"""Lua's arrays end at a nil, so nothing is stored as false."""
Number = float | bool

pack: Final = msgspec.msgpack.Encoder().encode
encode_json: Final = msgspec.json.Encoder().encode
_decode_failure: Final = msgspec.json.Decoder(Failure).decode
_decode_json: Final = msgspec.json.Decoder().decode


class Head(Record, frozen=True, array_like=True):
    """What scripts change of a job, in the order of the names in prelude.lua. The fields that follow there (lanes and
    kept keys) are no part of a `Job`; plain jobs lack them, and the gates, too."""

    id: str
    status: int
    attempt: int
    max_attempts: int
    crashes: int
    token: int
    seq: int
    progress: float
    cancel_requested: int
    reported: int
    last_step: Text
    kept_from: int
    priority: int
    created_at: float
    due_at: float
    lease_until: Number
    started_at: Number
    finished_at: Number
    expires_at: Number
    delivered_at: Number
    worker: Text
    message: Text
    error: Text
    place: int
    key: Text
    user: Text
    topic: Text
    origin: Text
    has_result: bool
    has_checkpoint: bool
    gates: Text = False


class Body(Record, frozen=True, array_like=True):
    """What never changes of a job and no script looks into."""

    timeout: float | None
    args: bytes


class StoredJob(Record, frozen=True, array_like=True):
    """A whole job, as `answer` in prelude.lua returns it."""

    head: Head
    queue: str
    task: str
    body: Body
    result: bytes | None
    checkpoint: bytes | None


class StoredEvent(Record, frozen=True, array_like=True):
    """An event, as `tell` in prelude.lua makes it. ``data`` is JSON."""

    seq: int
    type: int
    status: int
    at: float
    progress: float
    attempt: int
    event: Text
    message: Text
    data: Text


class _StoredTold(Record, frozen=True, array_like=True):
    id: str
    topic: Text
    user: Text
    queue: str
    task: str
    events: list[StoredEvent]


decode_jobs: Final = msgspec.msgpack.Decoder(list[StoredJob | None]).decode
decode_events: Final = msgspec.msgpack.Decoder(list[StoredEvent]).decode
decode_counts: Final = msgspec.msgpack.Decoder(list[tuple[str, str, int, int]]).decode
decode_workers: Final = msgspec.msgpack.Decoder(list[tuple[float, str]]).decode
_GateParts = tuple[str, int | bool, list[tuple[int, float]]]
_decode_gate: Final = msgspec.msgpack.Decoder(_GateParts).decode
_decode_gates: Final = msgspec.json.Decoder(list[_GateParts]).decode
_decode_told: Final = msgspec.msgpack.Decoder(list[_StoredTold]).decode
_decode_deliveries: Final = msgspec.msgpack.Decoder(list[tuple[str, int, str, str]]).decode


def _text(value: Text) -> str | None:
    return None if value is False else str(value)


def _number(value: Number) -> float | None:
    return None if value is False else float(value)


def job_of(stored: StoredJob) -> Job:
    """Build the record of a stored job."""
    head = stored.head
    return Job(
        id=head.id,
        task=stored.task,
        args=stored.body.args,
        queue=stored.queue,
        priority=head.priority,
        status=STATUSES[head.status],
        attempt=head.attempt,
        max_attempts=head.max_attempts,
        crashes=head.crashes,
        token=head.token,
        seq=head.seq,
        created_at=head.created_at,
        due_at=head.due_at,
        progress=head.progress,
        message=_text(head.message),
        cancel_requested=bool(head.cancel_requested),
        timeout=stored.body.timeout,
        key=_text(head.key),
        user=_text(head.user),
        topic=_text(head.topic),
        origin=_text(head.origin),
        worker=_text(head.worker),
        lease_until=_number(head.lease_until),
        started_at=_number(head.started_at),
        finished_at=_number(head.finished_at),
        expires_at=_number(head.expires_at),
        result=stored.result,
        error=None if head.error is False else _decode_failure(str(head.error)),
        checkpoint=stored.checkpoint,
    )


def jobs_of(blob: bytes) -> list[Job]:
    """Decode an answer that holds jobs only."""
    return [job_of(stored) for stored in decode_jobs(blob) if stored is not None]


def claims_of(blob: bytes) -> list[Claim]:
    """Decode the answer of a claim."""
    return [
        Claim(job=job_of(stored), call_within=_call_within(stored.head.gates) if stored.head.gates else None)
        for stored in decode_jobs(blob)
        if stored is not None
    ]


@lru_cache(maxsize=4096)
def _call_within(gates: Text) -> float | None:
    return call_within(_gate(*parts) for parts in _decode_gates(str(gates)))


def event_of(stored: StoredEvent) -> Event:
    """Build the record of a stored event."""
    return Event(
        seq=stored.seq,
        type=EVENT_TYPES[stored.type],
        status=STATUSES[stored.status],
        at=stored.at,
        progress=stored.progress,
        attempt=stored.attempt,
        event=_text(stored.event),
        message=_text(stored.message),
        data=None if stored.data is False else _decode_json(str(stored.data)),
    )


def told_of(blobs: Sequence[bytes]) -> tuple[Told, ...]:
    """Decode entries of the event log."""
    return tuple(
        Told(
            task_id=told.id,
            task=told.task,
            queue=told.queue,
            event=event_of(event),
            topic=_text(told.topic),
            user=_text(told.user),
        )
        for blob in blobs
        for told in _decode_told(blob)
        for event in told.events
    )


def deliveries_of(blob: bytes) -> list[Delivery]:
    """Decode deliveries."""
    return [
        Delivery(job_id=job_id, task=task, queue=queue, priority=priority)
        for job_id, priority, queue, task in _decode_deliveries(blob)
    ]


def new_job(new: NewJob, *, now: float) -> Job:
    """Return the job that an insert at ``now`` made of ``new``, as the script did."""
    due_at = now + new.delay if new.due_at is None else new.due_at
    return Job(
        id=new.id,
        task=new.task,
        args=new.args,
        queue=new.queue,
        priority=new.priority,
        status=Status.SCHEDULED if due_at > now else Status.PENDING,
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


def gates_of(gates: Sequence[Gate]) -> str:
    """Write gates as lanes.lua reads them."""
    return encode_json(
        [
            (gate.name, gate.at_once or False, [(window.count, window.period) for window in gate.windows])
            for gate in gates
        ]
    ).decode()


def gate_of(packed: bytes) -> Gate:
    """Read a gate."""
    return _gate(*_decode_gate(packed))


def _gate(name: str, at_once: int | bool, windows: list[tuple[int, float]]) -> Gate:
    return Gate(
        name=name,
        at_once=at_once or None,
        windows=tuple(Window(count=count, period=period) for count, period in windows),
    )


def _extra_of(new: NewJob) -> tuple[Any, ...] | None:
    if not (new.gates or new.idempotency or new.key):
        return None
    if not (new.gates or new.idempotency or new.key_kept or new.key_bound is not None) and (
        new.on_conflict is OnConflict.RETURN
    ):
        return None
    request = new.idempotency
    return (
        gates_of(new.gates) if new.gates else False,
        new.key_kept or False,
        False if new.key_bound is None else new.key_bound,
        new.on_conflict,
        request is not None and (request.key, request.digest, request.kept),
    )


def asked_of(new: NewJob) -> tuple[Any, ...]:
    """Return what inserting.lua looks at."""
    return (
        new.id,
        new.task,
        new.queue,
        new.priority,
        new.delay,
        new.due_at,
        new.max_attempts,
        new.key,
        new.user,
        new.topic,
        new.origin,
        _extra_of(new),
    )


def inserted_of(jobs: Sequence[NewJob], answer: Sequence[bytes]) -> list[Inserted]:
    """Read what insert.lua and tick.lua answer."""
    told, kinds, held_back, blob = answer
    now, others = float(told), iter(jobs_of(blob))
    return [
        _inserted(new, new_job(new, now=now) if kind == "1" else next(others), kind, held == "1")
        for new, kind, held in zip(jobs, kinds.decode(), held_back.decode(), strict=True)
    ]


def _inserted(new: NewJob, job: Job, kind: str, held_back: bool) -> Inserted:
    same = kind == "2" and same_arguments(job.args, new.args)
    return Inserted(
        job=job,
        duplicate=same or kind in "46",
        conflict=kind == "3" or (kind == "2" and not same),
        replayed=kind in "56",
        held_back=held_back,
    )
