"""The verbs of jobs that wait, and of the upkeep: cancel, purge, promote, rescue, undelivered, prune."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from faena.events import EventType
from faena.job import Failure, Status, Step
from faena.ports.engine import Delivery
from faena.ports.records import CancelResult, Promoted
from faena.ports.store import StoreOptions
from faena.stores.sqlite import gates
from faena.stores.sqlite.ledger import Ledger, failure_text
from faena.stores.sqlite.rows import HEAD, STATUSES, Head, delivery_of, encode, many, one

FEED_KEPT: Final = 120.0
"""Seconds that the event log of all jobs goes back."""
REQUESTS_KEPT: Final = 600.0
"""Seconds within which a repeated claim is recognised, and that overtaking is looked back on."""

FURTHEST: Final = 10_000
"""Of a line, so many jobs are looked at for one that was overtaken."""

_HEAD: Final = f"SELECT {HEAD} FROM jobs WHERE id = ?"


def cancel(ledger: Ledger, ids: Sequence[str], *, options: StoreOptions) -> list[CancelResult]:
    """Cancel waiting jobs; ask the holders of running ones to stop."""
    return [_cancel(ledger, job_id, options) for job_id in ids]


def _cancel(ledger: Ledger, job_id: str, options: StoreOptions) -> CancelResult:
    row = one(ledger.connection, _HEAD, (job_id,))
    if row is None:
        return CancelResult.UNKNOWN
    head = Head(*row)
    status = STATUSES[head.status]
    if status.final:
        return CancelResult.FINAL
    if status is not Status.PROCESSING:
        call_off(ledger, head, options)
        return CancelResult.CANCELLED
    if not head.cancel_requested:
        head.cancel_requested = 1
        ledger.note(head, [ledger.event(head, EventType.STATUS, message="cancellation requested")])
    return CancelResult.REQUESTED


def call_off(ledger: Ledger, head: Head, options: StoreOptions, *, message: str | None = None) -> None:
    """End a job as cancelled."""
    ledger.end(head, ttl=options.result_ttl)
    ledger.save(head, [ledger.move(head, Step.CANCEL, message=message)])


def purge(ledger: Ledger, queue: str, *, limit: int, options: StoreOptions) -> int:
    """Cancel waiting jobs of a queue."""
    pending = f"SELECT {HEAD} FROM jobs WHERE status = 1 AND queue = ? LIMIT ?"
    scheduled = f"SELECT {HEAD} FROM jobs WHERE status = 0 AND queue = ? LIMIT ?"
    rows = many(ledger.connection, pending, (queue, limit))
    rows += many(ledger.connection, scheduled, (queue, limit - len(rows)))
    for row in rows:
        call_off(ledger, Head(*row), options)
    return len(rows)


def promote(ledger: Ledger, *, limit: int) -> Promoted:
    """Make due jobs pending."""
    due = f"SELECT {HEAD} FROM jobs WHERE status = 0 AND due_at <= ? ORDER BY due_at LIMIT ?"
    heads = [Head(*row) for row in many(ledger.connection, due, (ledger.now, limit))]
    for head in heads:
        ledger.save(head, [ledger.move(head, Step.PROMOTE)])
    deliveries = tuple(delivery_of(head) for head in heads if head.delivered_at is not None)
    if len(heads) >= limit:
        return Promoted(deliveries=deliveries, next_in=0.0)
    next_due = one(ledger.connection, "SELECT min(due_at) FROM jobs WHERE status = 0")[0]
    next_in = None if next_due is None else max(0.0, next_due - ledger.now)
    return Promoted(deliveries=deliveries, next_in=next_in)


def rescue(ledger: Ledger, *, limit: int, options: StoreOptions) -> list[Delivery]:
    """Take jobs from holders whose lease expired."""
    expired = f"SELECT {HEAD} FROM jobs WHERE status = 2 AND lease_until <= ? ORDER BY lease_until LIMIT ?"
    heads = [Head(*row) for row in many(ledger.connection, expired, (ledger.now, limit))]
    return [delivery_of(head) for head in heads if _rescue(ledger, head, options)]


def _rescue(ledger: Ledger, head: Head, options: StoreOptions) -> bool:
    """Rescue one job; True when it is to be delivered again."""
    head.crashes += 1
    if head.cancel_requested:
        call_off(ledger, head, options)
        return False
    if head.crashes >= options.max_crashes:
        told = f"the job crashed its worker {head.crashes} times (its lease expired and nobody extended it)"
        failure = Failure(type="Crashed", message=told)
        head.error = encode(failure)
        ledger.end(head, ttl=options.failure_ttl)
        ledger.save(head, [ledger.move(head, Step.CRASH, message=failure_text(failure))])
        return False
    told = f"rescued from {head.worker}: its lease expired"
    attempt, head.attempt = head.attempt, head.attempt - 1
    ledger.free(head)
    ledger.save(head, [ledger.move(head, Step.RESCUE, message=told, attempt=attempt)])
    return head.delivered_at is not None


def undelivered(ledger: Ledger, *, empty: Sequence[str], age: float, limit: int) -> list[Delivery]:
    """Return pending jobs that the engine must have lost, marked as delivered now."""
    before = ledger.now - age
    lost = f"""
        SELECT {HEAD} FROM jobs
        WHERE status = 1 AND queue = ? AND delivered_at < ? ORDER BY delivered_at LIMIT ?"""
    # Overtaken is what was sent before that became due which was claimed. Nothing is sent before it is due.
    overtaken = f"""
        SELECT {HEAD} FROM (
            SELECT {HEAD} FROM jobs INDEXED BY jobs_pending WHERE status = 1 AND lane IS NULL
            AND queue = ?1 AND priority = ?2 AND due_at < ?3 ORDER BY due_at LIMIT {FURTHEST})
        WHERE delivered_at < ?3 LIMIT ?4"""
    overtaken_in_lanes = f"""
        SELECT {HEAD} FROM jobs INDEXED BY jobs_given WHERE status = 1 AND lane IS NOT NULL
            AND delivered_at IS NOT NULL AND queue = ?1 AND priority = ?2 AND delivered_at < ?3 LIMIT ?4"""
    frontier = "SELECT queue, priority, max(due_at) FROM turns WHERE second <= ? GROUP BY queue, priority"
    connection = ledger.connection
    rows: dict[int, Any] = {}
    for queue in dict.fromkeys(empty):
        rows |= {row[0]: row for row in many(connection, lost, (queue, before, limit - len(rows)))}
    for queue, priority, due_at in many(connection, frontier, (int(before) - 1,)):
        for select in (overtaken, overtaken_in_lanes):
            place = (queue, priority, min(due_at, before), limit - len(rows))
            rows |= {row[0]: row for row in many(connection, select, place)}
    connection.executemany(
        "UPDATE jobs SET delivered_at = ? WHERE n = ?", [(ledger.now, number) for number in rows]
    )
    return [delivery_of(Head(*row)) for row in rows.values()]


def prune(ledger: Ledger, *, limit: int) -> int:
    """Delete jobs whose TTL is over, and old parts of the logs."""
    expired = (
        "SELECT n, queue, task, status FROM jobs WHERE expires_at IS NOT NULL AND expires_at <= ? LIMIT ?"
    )
    execute = ledger.connection.execute
    gone = many(ledger.connection, expired, (ledger.now, limit))
    for number, queue, task, status in gone:
        ledger.count(queue, task, status, -1)
        execute("DELETE FROM bodies WHERE job = ?", (number,))
        execute("DELETE FROM history WHERE job = ?", (number,))
        execute("DELETE FROM jobs WHERE n = ?", (number,))
    _prune_logs(ledger)
    gates.prune(ledger.connection, now=ledger.now, limit=limit)
    return len(gone)


def _prune_logs(ledger: Ledger) -> None:
    execute, long_ago = ledger.connection.execute, ledger.now - REQUESTS_KEPT
    oldest = "SELECT position, at FROM feed ORDER BY position LIMIT 5000"
    execute(
        f"DELETE FROM feed WHERE position <= (SELECT max(position) FROM ({oldest}) WHERE at < ?)",
        (ledger.now - FEED_KEPT,),
    )
    execute("DELETE FROM requests WHERE at < ?", (long_ago,))
    execute("DELETE FROM answers WHERE until <= ?", (ledger.now,))
    execute("DELETE FROM turns WHERE second < ?", (int(long_ago),))
    execute("DELETE FROM workers WHERE expires_at <= ?", (ledger.now,))
