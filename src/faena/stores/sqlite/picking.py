"""Which pending jobs go next: queue by queue, the higher priority first, the plain line and the lanes in turn.

Where no lane exists and no task is paused, which is asked once a claim, it is one query of the plain line.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from faena.stores.sqlite.gates import Gatekeeper
from faena.stores.sqlite.lanes import Lanes, opened_gates
from faena.stores.sqlite.ledger import Ledger
from faena.stores.sqlite.rows import JOB, many, one

_ABOVE: Final = 2**62
"""More than any priority."""
ASIDE: Final = 5000
"""Jobs of paused tasks that one claim takes out of the plain line."""

_COLUMNS: Final = JOB.split(", ")
_DUE_AT: Final = _COLUMNS.index("due_at")
_TASK: Final = _COLUMNS.index("task")

_FIRST: Final = f"""
    SELECT {JOB} FROM jobs WHERE status = 1 AND lane IS NULL AND queue = ?
    ORDER BY priority DESC, due_at, n LIMIT ?"""
_PLAIN: Final = f"""
    SELECT {JOB} FROM jobs WHERE status = 1 AND lane IS NULL AND queue = ? AND priority = ?
        AND (due_at, n) > (?, ?)
    ORDER BY due_at, n LIMIT ?"""
_PLAIN_TO_GIVE: Final = f"""
    SELECT {JOB} FROM jobs INDEXED BY jobs_delivered WHERE status = 1 AND queue = ? AND delivered_at IS NULL
        AND lane IS NULL AND priority = ? AND (due_at, n) > (?, ?)
    ORDER BY due_at, n LIMIT ?"""
_PRIORITY: Final = """
    SELECT priority FROM jobs WHERE status = 1 AND lane IS NULL AND queue = ? AND priority < ?
    ORDER BY priority DESC LIMIT 1"""
_PRIORITY_TO_GIVE: Final = """
    SELECT priority FROM jobs INDEXED BY jobs_delivered WHERE status = 1 AND queue = ? AND delivered_at IS NULL
        AND lane IS NULL AND priority < ?
    ORDER BY priority DESC LIMIT 1"""
_READY_PRIORITY: Final = """
    SELECT priority FROM lanes WHERE queue = ? AND behind IS NULL AND paused = 0 AND priority < ?
    ORDER BY priority DESC LIMIT 1"""
_ROUND: Final = "INSERT OR REPLACE INTO rounds VALUES (?, ?, ?, ?)"


class Plain:
    """The jobs without a lane of one queue and priority. Those of paused tasks are set aside when they are met."""

    def __init__(self, ledger: Ledger, queue: str, priority: int, *, giving: bool) -> None:
        self._ledger = ledger
        self._place = (queue, priority)
        self._sql = _PLAIN_TO_GIVE if giving else _PLAIN
        self._rows: deque[Any] = deque()
        self._position = (-math.inf, 0)
        self._over = False
        self._aside = 0

    def ready(self, wanted: int) -> bool:
        """Tell whether a job can be taken; ``wanted``: how many will be, at most."""
        while not self._rows and not self._over:
            self._read(wanted)
        return bool(self._rows)

    def take(self, wanted: int) -> list[Any]:
        """Return up to ``wanted`` rows of the next jobs, at least one; `ready` said that there is one."""
        return [self._rows.popleft() for _ in range(min(wanted, len(self._rows)))]

    def _read(self, wanted: int) -> None:
        limit = max(wanted, 500) if self._aside else wanted
        rows = many(self._ledger.connection, self._sql, (*self._place, *self._position, limit))
        self._over = len(rows) < limit
        if rows:
            self._position = (rows[-1][_DUE_AT], rows[-1][0])
        paused = self._ledger.pauses.tasks
        if not paused:
            self._rows.extend(rows)
            return
        self._rows.extend(row for row in rows if row[_TASK] not in paused)
        aside = [(row[0], row[_TASK]) for row in rows if row[_TASK] in paused]
        self._set_aside(aside)
        if self._aside >= ASIDE and not self._over:
            self._over = True
            self._ledger.rings_work = True  # there may be more: look again

    def _set_aside(self, jobs: list[tuple[int, str]]) -> None:
        move = "UPDATE jobs SET lane = ?, delivered_at = NULL WHERE n = ?"
        lanes = [(self._ledger.lane(*self._place, task), number) for number, task in jobs]
        self._ledger.connection.executemany(move, lanes)
        self._aside += len(jobs)


class Picking:
    """Picks up to ``limit`` jobs that may go now (``giving``: that may be given out for delivery and are not yet).

    The rows are in `rows`, nothing is written of them; `save` comes when the caller has written what it makes of them.
    """

    def __init__(self, ledger: Ledger, queues: Sequence[str], *, limit: int, giving: bool = False) -> None:
        self.rows: list[Any] = []
        self._ledger = ledger
        self._limit = limit
        self._giving = giving
        self._keeper = Gatekeeper(ledger.connection, now=ledger.now, wanted=limit)
        self._picked: list[tuple[str, int, Lanes, int | None]] = []
        pauses = ledger.pauses
        limits = bool(pauses.tasks) or one(ledger.connection, "SELECT 1 FROM lanes LIMIT 1") is not None
        for queue in dict.fromkeys(queues):
            if self._left <= 0:
                break
            if queue in pauses.queues:
                continue
            if limits or giving:
                self._pick(queue)
            else:
                self.rows += many(ledger.connection, _FIRST, (queue, self._left))

    @property
    def _left(self) -> int:
        return self._limit - len(self.rows)

    def _pick(self, queue: str) -> None:
        """Pick from a queue, priority by priority."""
        connection = self._ledger.connection
        opened = opened_gates(connection, queue, now=self._ledger.now, giving=self._giving)
        plain_sql = _PRIORITY_TO_GIVE if self._giving else _PRIORITY
        priority = _ABOVE
        while self._left > 0:
            below = (queue, priority)
            rows = (one(connection, plain_sql, below), one(connection, _READY_PRIORITY, below))
            waiting = [row[0] for row in rows if row is not None]
            waiting += [other for other in opened if other < priority]
            if not waiting:
                return
            priority = max(waiting)
            self._pick_of(queue, priority, opened.get(priority, []))

    def _pick_of(self, queue: str, priority: int, opened: list[str]) -> None:
        """Pick from one priority of a queue: a plain job, one of a lane, a plain job…"""
        asked = "SELECT turn, plain FROM rounds WHERE queue = ? AND priority = ?"
        turn, plain_last = one(self._ledger.connection, asked, (queue, priority)) or (0, 0)
        plain = Plain(self._ledger, queue, priority, giving=self._giving)
        lanes = Lanes(
            self._ledger.connection,
            self._keeper,
            queue=queue,
            priority=priority,
            opened=opened,
            turn=turn,
            giving=self._giving,
        )
        last = int(plain_last)
        while self._left > 0:
            if last:
                line = lanes if lanes.ready(self._left) else plain
            else:
                line = plain if plain.ready(self._left) else lanes
            if not line.ready(self._left):
                break
            alone = line is lanes and not plain.ready(1)
            self.rows += line.take(self._left if alone else 1)
            last = int(line is plain)
        changed = (turn, plain_last) != (lanes.turn, last)
        self._picked.append((queue, priority, lanes, last if changed else None))

    def save(self) -> None:
        """Write who passed which gate and whose turn is next."""
        self._keeper.save()
        for queue, priority, lanes, last in self._picked:
            lanes.save()
            if last is not None:
                self._ledger.connection.execute(_ROUND, (queue, priority, lanes.turn, last))
