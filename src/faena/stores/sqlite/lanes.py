"""Lanes: the lines of jobs that bear gates, one for each queue, priority, task and set of gates.

A lane that a closed gate stopped stands `behind` it and is not looked at until the gate may be open: a thousand lanes
behind one gate cost a claim nothing. `closed` says when that is; whether the gate is open is decided by what is counted
of it, each time anew, so a gate that is looked at for nothing is merely closed again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from heapq import merge
from itertools import chain
from typing import Any, Final

import apsw
import msgspec

from faena.job import Gate
from faena.stores.sqlite.gates import Gatekeeper, gates_of, gates_text
from faena.stores.sqlite.rows import JOB, many, one

PAGE: Final = 16
"""Lanes that are read at once, at least."""
FEW: Final = 8
"""Gates that opened: behind more than that, single lanes are made ready, so that no claim meets them all again."""
OPENED: Final = 256
"""Gates that opened which one claim looks at."""

_FIND: Final = """
    SELECT n, EXISTS (SELECT 1 FROM jobs WHERE status = 1 AND lane = lanes.n) FROM lanes
    WHERE queue = ? AND priority = ? AND task = ? AND gates = ?"""
_TURN: Final = "coalesce((SELECT turn FROM rounds WHERE queue = ?1 AND priority = ?2), 0)"
_MAKE: Final = f"""
    INSERT INTO lanes (queue, priority, task, gates, turn, paused)
    VALUES (?1, ?2, ?3, ?4, {_TURN}, EXISTS (SELECT 1 FROM pauses WHERE kind = 'task' AND name = ?3))"""
_RENEW: Final = f"UPDATE lanes SET turn = {_TURN} WHERE n = ?3"
_READY: Final = """
    SELECT n, gates, turn FROM lanes
    WHERE queue = ? AND priority = ? AND behind IS NULL AND paused = 0 AND (turn, n) > (?, ?)"""
_BEHIND: Final = """
    SELECT n, gates, turn FROM lanes
    WHERE behind = ? AND queue = ? AND priority = ? AND paused = 0 AND (turn, n) > (?, ?)"""
_NOT_ALL_OUT: Final = """
        AND (EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_delivered WHERE status = 1 AND queue = lanes.queue
                AND delivered_at IS NULL AND lane = lanes.n AND priority = lanes.priority)
            OR NOT EXISTS (SELECT 1 FROM jobs WHERE status = 1 AND lane = lanes.n))"""
"""What giving out passes over: lanes whose jobs were all given out. Those without jobs it meets, and ends them."""
_IN_TURN: Final = " ORDER BY turn, n LIMIT ?"
_ANY_BEHIND: Final = (
    "SELECT 1 FROM lanes WHERE behind = ? AND queue = ? AND priority = ? AND paused = 0 LIMIT 1"
)
_FREE: Final = "UPDATE lanes SET behind = NULL WHERE behind = ? AND queue = ? AND priority = ?"
_FORGET: Final = "DELETE FROM closed WHERE gate = ? AND queue = ? AND priority = ?"
_CLOSE: Final = """
    INSERT INTO closed VALUES (?1, ?2, ?3, ?4, ?5, ?5)
    ON CONFLICT (gate, queue, priority) DO UPDATE SET opens_at = ?5, gives_at = ?5"""
_CLOSE_GIVING: Final = """
    INSERT INTO closed VALUES (?1, ?2, ?3, ?4, 0, ?5)
    ON CONFLICT (gate, queue, priority) DO UPDATE SET opens_at = 0, gives_at = ?5"""
_JOBS: Final = f"""
    SELECT {JOB} FROM jobs WHERE status = 1 AND lane = ? AND (due_at, n) > (?, ?) ORDER BY due_at, n LIMIT ?"""
_JOBS_TO_GIVE: Final = f"""
    SELECT {JOB} FROM jobs INDEXED BY jobs_delivered WHERE status = 1 AND queue = ? AND delivered_at IS NULL
        AND lane = ? AND priority = ? AND (due_at, n) > (?, ?)
    ORDER BY due_at, n LIMIT ?"""
_EMPTY: Final = """
    DELETE FROM lanes WHERE n = ?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE status = 1 AND lane = ?1)"""


def lane_for(connection: apsw.Connection, queue: str, priority: int, task: str, gates: str) -> int:
    """Return the number of a lane that is about to get a job. One that comes into being is served after those that
    were not served since."""
    row = one(connection, _FIND, (queue, priority, task, gates))
    if row is None:
        connection.execute(_MAKE, (queue, priority, task, gates))
        return connection.last_insert_rowid()
    number, lives = row
    if not lives:
        connection.execute(_RENEW, (queue, priority, number))
    return int(number)


class Lane(msgspec.Struct):
    """A lane as one claim serves it."""

    n: int
    gates: tuple[Gate, ...]
    turn: int
    behind: str | None
    share: int
    """How many of its jobs to read at first."""
    served: bool = False
    jobs: deque[Any] = msgspec.field(default_factory=deque)
    """Rows that were read and not taken yet."""
    position: tuple[float, int] = (-math.inf, 0)
    """Due time and number of the last row that was read."""


class Lanes:
    """The lanes of one queue and priority that may go: each `take` serves the next in turn. `save` comes last."""

    def __init__(
        self,
        connection: apsw.Connection,
        keeper: Gatekeeper,
        *,
        queue: str,
        priority: int,
        opened: list[str],
        turn: int,
        giving: bool,
    ) -> None:
        """``opened``: the gates that closed earlier and may be open now; ``turn``: the last one taken."""
        self.turn = turn
        self._connection = connection
        self._keeper = keeper
        self._queue = queue
        self._priority = priority
        self._opened = opened
        self._giving = giving
        self._shut: dict[str, Gate] = {}
        self._stopped: dict[int, str] = {}
        self._emptied: set[int] = set()
        self._turns: dict[int, int] = {}
        self._served: deque[Lane] = deque()
        sources = [self._read(_READY, (queue, priority), None)]
        sources += [self._read(_BEHIND, (gate, queue, priority), gate) for gate in opened]
        self._fresh: Iterator[Lane] = merge(*sources, key=lambda lane: (lane.turn, lane.n))
        self._next: tuple[Lane, Any] | None = None

    def _read(self, sql: str, place: tuple[Any, ...], behind: str | None) -> Iterator[Lane]:
        sql += (_NOT_ALL_OUT if self._giving else "") + _IN_TURN
        position = (-1, 0)
        while behind not in self._shut:
            page = many(self._connection, sql, (*place, *position, PAGE))
            for number, gates, turn in page:
                share = PAGE // len(page)
                yield Lane(n=number, gates=gates_of(gates), turn=turn, behind=behind, share=share)
                if behind in self._shut:
                    return
            if len(page) < PAGE:
                return
            position = (page[-1][2], page[-1][0])

    def ready(self, wanted: int) -> bool:
        """Tell whether a job can be taken; ``wanted``: how many will be, at most."""
        while self._next is None:
            lane = next(self._fresh, None) or (self._served.popleft() if self._served else None)
            if lane is None:
                return False
            gate = self._keeper.closed(lane.gates, giving=self._giving)
            if gate is not None:
                self._stop(lane, gate)
            elif row := self._first(lane, wanted):
                self._next = lane, row
            else:
                self._emptied.add(lane.n)
        return True

    def take(self, wanted: int) -> list[Any]:
        """Return the row of the next job, `ready` said that there is one; up to ``wanted`` rows of the lane if no
        other lane is left to take a turn."""
        assert self._next is not None
        (lane, row), self._next = self._next, None
        rows = [row]
        if wanted > 1 and self._is_last():
            room = min(wanted, self._keeper.room(lane.gates, giving=self._giving))
            while len(rows) < room and (lane.jobs or self._fill(lane, room - len(rows))):
                rows.append(lane.jobs.popleft())
        self._keeper.let_through(lane.gates, count=len(rows), giving=self._giving)
        self.turn += len(rows)
        self._turns[lane.n] = self.turn
        lane.served = True
        self._served.append(lane)
        return rows

    def _is_last(self) -> bool:
        """Tell whether the lane that is being served is the only one that is left."""
        if self._served:
            return False
        after = next(self._fresh, None)
        if after is not None:
            self._fresh = chain((after,), self._fresh)
        return after is None

    def _first(self, lane: Lane, wanted: int) -> Any:
        """Return the first row of a lane, None if it has none."""
        return lane.jobs.popleft() if lane.jobs or self._fill(lane, wanted) else None

    def _fill(self, lane: Lane, wanted: int) -> bool:
        """Read more rows of a lane; False: it has none."""
        room = min(wanted, self._keeper.room(lane.gates, giving=self._giving))
        share = max(1, room // (len(self._served) + 1)) if lane.served else min(room, lane.share)
        lane.share = PAGE * lane.share
        if self._giving:
            values = (self._queue, lane.n, self._priority, *lane.position, share)
            rows = many(self._connection, _JOBS_TO_GIVE, values)
        else:
            rows = many(self._connection, _JOBS, (lane.n, *lane.position, share))
        if rows:
            lane.jobs.extend(rows)
            lane.position = (rows[-1][_DUE_AT], rows[-1][0])
        return bool(rows)

    def _stop(self, lane: Lane, gate: Gate) -> None:
        behind = gates_text((gate,))
        self._shut[behind] = gate
        if lane.behind != behind:
            self._stopped[lane.n] = behind

    def save(self) -> None:
        """Write who was served, stopped and emptied, and when the closed gates may open. To be called when what was
        taken is written, by `Gatekeeper.save` too."""
        write = self._connection.executemany
        write(
            "UPDATE lanes SET turn = ? WHERE n = ?", [(turn, number) for number, turn in self._turns.items()]
        )
        write(
            "UPDATE lanes SET behind = ? WHERE n = ?",
            [(gate, number) for number, gate in self._stopped.items()],
        )
        touched = self._emptied | self._turns.keys() | self._stopped.keys()
        write(_EMPTY, [(number,) for number in touched])
        for text, gate in self._shut.items():
            self._close(text, gate)
        for text in self._opened:
            place = (text, self._queue, self._priority)
            if one(self._connection, _ANY_BEHIND, place) is None:
                self._connection.execute(_FREE, place)
                self._connection.execute(_FORGET, place)

    def _close(self, text: str, gate: Gate) -> None:
        if one(self._connection, _ANY_BEHIND, (text, self._queue, self._priority)) is None:
            return  # those that it stopped have no jobs left
        place = (text, self._queue, self._priority, gate.name)
        opens_at = self._keeper.opens_at(gate)
        if opens_at or not self._giving:
            self._connection.execute(_CLOSE, (*place, opens_at))
        else:
            gives_at = self._keeper.opens_at(gate, giving=True)
            self._connection.execute(_CLOSE_GIVING, (*place, gives_at))


def opened_gates(
    connection: apsw.Connection, queue: str, *, now: float, giving: bool
) -> dict[int, list[str]]:
    """Return the gates with lanes of a queue behind them that closed earlier and may be open now, by priority."""
    column = "gives_at" if giving else "opens_at"
    opened = f"SELECT gate, priority FROM closed WHERE queue = ? AND {column} <= ? ORDER BY {column} LIMIT ?"
    rows = many(connection, opened, (queue, now, OPENED))
    by_priority: dict[int, list[str]] = {}
    for number, (gate, priority) in enumerate(rows):
        if number >= FEW and _made_ready(connection, gate, queue, priority):
            continue
        by_priority.setdefault(priority, []).append(gate)
    return by_priority


def _made_ready(connection: apsw.Connection, gate: str, queue: str, priority: int) -> bool:
    """Make the lanes behind a gate ready if they are one or two."""
    place = (gate, queue, priority)
    few = "SELECT n FROM lanes WHERE behind = ? AND queue = ? AND priority = ? LIMIT 3"
    if len(many(connection, few, place)) > 2:
        return False
    connection.execute(_FREE, place)
    connection.execute(_FORGET, place)
    return True


_DUE_AT: Final = JOB.split(", ").index("due_at")
