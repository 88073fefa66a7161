"""The verb admit: pending jobs that were held back are given out for delivery when they may go."""

from __future__ import annotations

import math

import apsw

from faena.ports.records import Promoted
from faena.stores.sqlite.ledger import Ledger
from faena.stores.sqlite.picking import Picking
from faena.stores.sqlite.rows import delivery_of, many, one, split


def admit(ledger: Ledger, *, limit: int) -> Promoted:
    """Give out jobs that were held back, as delivered now."""
    connection = ledger.connection
    picking = Picking(ledger, queues(connection), limit=limit, giving=True)
    heads = [split(row)[0] for row in picking.rows]
    connection.executemany(
        "UPDATE jobs SET delivered_at = ? WHERE n = ?", [(ledger.now, head.n) for head in heads]
    )
    picking.save()
    next_in = 0.0 if len(heads) >= limit else next_opening(connection, now=ledger.now, giving=True)
    return Promoted(deliveries=tuple(delivery_of(head) for head in heads), next_in=next_in)


def queues(connection: apsw.Connection) -> list[str]:
    """Return the queues that have pending jobs."""
    rows = many(connection, "SELECT DISTINCT queue FROM counts WHERE status = 1 AND count > 0 ORDER BY queue")
    return [queue for (queue,) in rows]


def next_opening(
    connection: apsw.Connection, *, now: float, giving: bool = False, queue: str | None = None
) -> float | None:
    """Return the seconds until a gate with lanes (of a queue) behind it opens by time."""
    column = "gives_at" if giving else "opens_at"
    where = f"{column} > ?" if queue is None else f"{column} > ? AND queue = ?"
    select = f"SELECT min({column}) FROM closed WHERE {where}"
    opens_at = one(connection, select, (now,) if queue is None else (now, queue))[0]
    return None if opens_at is None or opens_at == math.inf else max(0.0, opens_at - now)


def worth_admitting(connection: apsw.Connection) -> bool:
    """Tell whether something is held back: who asks often need not take the write lock."""
    if one(connection, "SELECT 1 FROM lanes LIMIT 1") is not None:
        return True
    plain = """SELECT 1 FROM jobs INDEXED BY jobs_delivered
        WHERE status = 1 AND queue = ? AND delivered_at IS NULL AND lane IS NULL LIMIT 1"""
    return any(one(connection, plain, (queue,)) for queue in queues(connection))
