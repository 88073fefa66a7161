"""The question why a job waits."""

from __future__ import annotations

import math
from typing import Final

import apsw

from faena.job import WAITING, Gate, Status
from faena.ports.records import Obstacles
from faena.stores.sqlite.gates import Gatekeeper, gates_of
from faena.stores.sqlite.pauses import read_pauses
from faena.stores.sqlite.rows import HEAD, STATUSES, Head, many, one

HOLDERS: Final = 10
"""Running jobs that are named, at most."""
FAR: Final = 1000
"""Jobs ahead that are counted, at most."""

_PLAIN_AHEAD: Final = """
    SELECT count(*) FROM (SELECT 1 FROM jobs WHERE status = 1 AND lane IS NULL AND queue = ? AND priority = ?
        AND (due_at, n) < (?, ?) LIMIT ?)"""
_LANE_AHEAD: Final = """
    SELECT count(*) FROM (SELECT 1 FROM jobs WHERE status = 1 AND lane = ? AND (due_at, n) < (?, ?) LIMIT ?)"""


def obstacles(connection: apsw.Connection, job_id: str, *, now: float) -> Obstacles | None:
    """Say what keeps a waiting job from running, as of one moment."""
    told = None
    with connection:
        row = one(connection, f"SELECT {HEAD} FROM jobs WHERE id = ?", (job_id,))
        if row is not None:
            told = _obstacles(connection, Head(*row), now)
    return told


def _obstacles(connection: apsw.Connection, head: Head, now: float) -> Obstacles | None:
    if STATUSES[head.status] not in WAITING:
        return None
    pauses = read_pauses(connection)
    pending = STATUSES[head.status] is Status.PENDING
    keeper = Gatekeeper(connection, now=now, wanted=1)
    gate = keeper.closed(gates_of(head.gates or ""))
    opens_at = math.inf if gate is None else keeper.opens_at(gate)
    holders = () if gate is None or opens_at < math.inf else _holders(connection, gate)
    given = pending and head.delivered_at is not None
    return Obstacles(
        due_in=None if pending else max(0.0, head.due_at - now),
        queue_paused=head.queue in pauses.queues,
        task_paused=head.task in pauses.tasks,
        gate=gate,
        opens_in=None if opens_at == math.inf else max(0.0, opens_at - now),
        holders=holders,
        ahead=_ahead(connection, head) if pending else 0,
        delivered_ago=max(0.0, now - (head.delivered_at or 0.0)) if given else None,
    )


def _ahead(connection: apsw.Connection, head: Head) -> int:
    place = (head.due_at, head.n, FAR)
    if head.lane is None:
        row = one(connection, _PLAIN_AHEAD, (head.queue, head.priority, *place))
    else:
        row = one(connection, _LANE_AHEAD, (head.lane, *place))
    return int(row[0])


def _holders(connection: apsw.Connection, gate: Gate) -> tuple[str, ...]:
    """Return who runs behind a gate: few jobs run at once, so they are looked through."""
    running = many(connection, "SELECT id, gates FROM jobs WHERE status = 2 AND gates IS NOT NULL ORDER BY n")
    behind = [
        job_id
        for job_id, text in running
        if any(other.name == gate.name and other.at_once is not None for other in gates_of(text))
    ]
    return tuple(behind[:HOLDERS])
