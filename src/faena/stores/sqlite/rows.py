"""Between rows of the database and Faena's records."""

from __future__ import annotations

from typing import Any, Final

import apsw
import msgspec

from faena.job import Failure, Job, Status
from faena.ports.engine import Delivery

STATUSES: Final = (
    Status.SCHEDULED,
    Status.PENDING,
    Status.PROCESSING,
    Status.COMPLETED,
    Status.FAILED,
    Status.CANCELLED,
)
"""A status is stored as its position here; the partial indices of schema.sql name these numbers."""
CODES: Final = {status: code for code, status in enumerate(STATUSES)}
LARGE_ARGS: Final = 2048
"""Bytes of arguments that are rewritten with each change of a job; larger ones have a row of their own."""

encode: Final = msgspec.json.Encoder().encode
_decode_failure: Final = msgspec.json.Decoder(Failure).decode


def many(connection: apsw.Connection, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
    """Return all rows of a query."""
    return connection.execute(sql, values).fetchall()


def one(connection: apsw.Connection, sql: str, values: tuple[Any, ...] = ()) -> Any:
    """Return the first row of a query, None if there is none."""
    return connection.execute(sql, values).fetchone()


class Head(msgspec.Struct):
    """What a change of a job reads and writes: the row without its weight. Mutable: a working copy."""

    n: int
    id: str
    task: str
    queue: str
    topic: str | None
    user: str | None
    status: int
    attempt: int
    max_attempts: int
    crashes: int
    token: int
    seq: int
    progress: float
    cancel_requested: int
    reported: int
    last_step: str | None
    kept_from: int
    priority: int
    due_at: float
    lease_until: float | None
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    delivered_at: float | None
    worker: str | None
    message: str | None
    error: bytes | None
    checkpoint: bytes | None
    result: bytes | None
    key_held: float | None
    kept_until: float | None
    gates: str | None
    lane: int | None


HEAD: Final = ", ".join(Head.__struct_fields__)
_ARGS: Final = "coalesce(args, (SELECT b.args FROM bodies b WHERE b.job = n))"
_REST: Final = ("created_at", "timeout", "key", "origin", _ARGS)
JOB: Final = ", ".join((HEAD, *_REST))
"""The columns of a whole job: a `Head`'s, then the rest."""


def failure_of(body: bytes | None) -> Failure | None:
    """Decode a stored failure."""
    return None if body is None else _decode_failure(body)


def job_of(head: Head, rest: tuple[Any, ...]) -> Job:
    """Build the record from a head and the columns behind it."""
    created_at, timeout, key, origin, args = rest
    return Job(
        id=head.id,
        task=head.task,
        args=args,
        queue=head.queue,
        priority=head.priority,
        status=STATUSES[head.status],
        attempt=head.attempt,
        max_attempts=head.max_attempts,
        crashes=head.crashes,
        token=head.token,
        seq=head.seq,
        created_at=created_at,
        due_at=head.due_at,
        progress=head.progress,
        message=head.message,
        cancel_requested=bool(head.cancel_requested),
        timeout=timeout,
        key=key,
        user=head.user,
        topic=head.topic,
        origin=origin,
        worker=head.worker,
        lease_until=head.lease_until,
        started_at=head.started_at,
        finished_at=head.finished_at,
        expires_at=head.expires_at,
        result=head.result,
        error=failure_of(head.error),
        checkpoint=head.checkpoint,
    )


_WIDTH: Final = len(Head.__struct_fields__)


def split(row: tuple[Any, ...]) -> tuple[Head, tuple[Any, ...]]:
    """Split a row of `JOB` columns into its head and the rest."""
    return Head(*row[:_WIDTH]), row[_WIDTH:]


def read_job(row: tuple[Any, ...]) -> Job:
    """Build the record from a row of `JOB` columns."""
    return job_of(*split(row))


class Stored(msgspec.Struct):
    """A job with what the store knows besides."""

    job: Job
    gates: str | None
    key_held: float | None = None


def read_stored(row: tuple[Any, ...]) -> Stored:
    """Build a job with its gates from a row of `JOB` columns."""
    head, rest = split(row)
    return Stored(job_of(head, rest), head.gates, head.key_held)


def delivery_of(head: Head) -> Delivery:
    """Return what an engine is told of a job."""
    return Delivery(job_id=head.id, task=head.task, queue=head.queue, priority=head.priority)
