"""Gates: who runs behind them, when the last of their jobs started, and whether one more may.

All claims of one transaction start at the same moment, so a claim of a hundred jobs is one row of `starts`. The
starts of a gate are numbered from 0, and each row says how many there were before it: how many started since a
moment is the difference between two numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import apsw
import msgspec

from faena import rates
from faena.job import Gate, Window
from faena.stores.sqlite.rows import encode, many, one

TRIM_EVERY: Final = 1024
"""Starts of a gate after which those that nobody will ask for any more are deleted."""

_decode: Final = msgspec.json.Decoder(
    tuple[tuple[str, int | None, tuple[tuple[int, float], ...]], ...]
).decode

_STATE: Final = "SELECT running, given, started, last_at FROM gates WHERE name = ?"
_WALK: Final = """
    SELECT at, before FROM starts WHERE gate = ?1 AND before >=
        coalesce((SELECT max(before) FROM starts WHERE gate = ?1 AND before <= ?2), 0)
    ORDER BY before LIMIT ?3"""
_START: Final = "SELECT at FROM starts WHERE gate = ? AND before <= ? ORDER BY before DESC LIMIT 1"
_SAVE: Final = """
    INSERT INTO gates VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (name) DO UPDATE SET
        running = running + ?2, given = given + ?3, started = started + ?4, last_at = ?5,
        longest = max(longest, ?6), most = max(most, ?7)"""
_TRIM: Final = """
    DELETE FROM starts WHERE gate = ?1 AND before < (
        SELECT max(s.before) FROM starts s JOIN gates g ON g.name = s.gate
        WHERE s.gate = ?1 AND s.before <= g.started - g.most)"""
_LEAVE: Final = "UPDATE gates SET running = max(0, running - ?), given = max(0, given - ?) WHERE name = ?"
_EASE: Final = """
    UPDATE closed SET gives_at = iif(opens_at = 9e999, 0, opens_at), opens_at = iif(opens_at = 9e999, 0, opens_at)
    WHERE name = ?1 AND ((opens_at = 9e999 AND ?2 > 0) OR gives_at > opens_at)"""


@lru_cache(maxsize=4096)
def gates_text(gates: tuple[Gate, ...]) -> str:
    """Return gates as they are stored. Equal gates have equal texts."""
    plain = [(gate.name, gate.at_once, [(w.count, float(w.period)) for w in gate.windows]) for gate in gates]
    return encode(plain).decode()


@lru_cache(maxsize=4096)
def gates_of(text: str) -> tuple[Gate, ...]:
    """Return the gates of a stored text (none of an empty one)."""
    if not text:
        return ()
    return tuple(
        Gate(
            name=name,
            at_once=at_once,
            windows=tuple(Window(count=count, period=period) for count, period in windows),
        )
        for name, at_once, windows in _decode(text)
    )


@lru_cache(maxsize=4096)
def rates_of(text: str) -> tuple[Gate, ...]:
    """Return the gates of a stored text that limit starts, without their slots."""
    return tuple(Gate(name=gate.name, windows=gate.windows) for gate in gates_of(text) if gate.windows)


@lru_cache(maxsize=4096)
def call_within(text: str) -> float | None:
    """Return `Claim.call_within` of a job with gates of this text."""
    return rates.call_within(gates_of(text))


class _State(msgspec.Struct):
    """A gate as a claim found it, and what that claim adds."""

    running: int
    given: int
    started: int
    last_at: float
    ran: int = 0
    gave: int = 0
    starts: int = 0
    longest: float = 0.0
    most: int = 0


class Gatekeeper:
    """The gates as one claim sees them. Nothing is written before `save`."""

    def __init__(self, connection: apsw.Connection, *, now: float, wanted: int) -> None:
        """``wanted``: no more jobs than that will ask to pass."""
        self._connection = connection
        self._now = now
        self._wanted = wanted
        self._states: dict[str, _State] = {}
        self._recent: dict[tuple[str, Window], int] = {}

    def closed(self, gates: Sequence[Gate], *, giving: bool = False) -> Gate | None:
        """Return the first gate that lets no job through (``giving``: none beside those given out already)."""
        for gate in gates:
            if self._room(gate, giving) <= 0:
                return gate
        return None

    def room(self, gates: Sequence[Gate], *, giving: bool = False) -> int:
        """Return how many jobs may pass all these gates now, `wanted` at most."""
        return min([self._wanted, *(self._room(gate, giving) for gate in gates)])

    def let_through(self, gates: Sequence[Gate], *, count: int = 1, giving: bool = False) -> None:
        """Note that jobs pass: they start, or are given out."""
        for gate in gates:
            state = self._state(gate.name)
            if giving:
                state.gave += count
                continue
            state.ran += 0 if gate.at_once is None else count
            if gate.windows:
                state.starts += count
                state.longest = max(state.longest, *(window.period for window in gate.windows))
                state.most = max(state.most, *(window.count for window in gate.windows))

    def save(self) -> None:
        """Write what passed."""
        for name, state in self._states.items():
            if not (state.ran or state.gave or state.starts):
                continue
            at = max(self._now, state.last_at) if state.starts else state.last_at
            values = (name, state.ran, state.gave, state.starts, at, state.longest, state.most)
            self._connection.execute(_SAVE, values)
            if state.starts:
                self._connection.execute("INSERT INTO starts VALUES (?, ?, ?)", (name, state.started, at))
            after = state.started + state.starts
            if state.started // TRIM_EVERY != after // TRIM_EVERY:
                self._connection.execute(_TRIM, (name,))

    def opens_at(self, gate: Gate, *, giving: bool = False) -> float:
        """Say when a gate may open (after `save`): the time when enough starts are long enough ago, infinite if it
        hangs on a job that runs or was given out, 0 if it is open."""
        state = self._state(gate.name)
        given = state.given + state.gave if giving else 0
        if gate.at_once is not None and state.running + state.ran + given >= gate.at_once:
            return math.inf
        return max(
            (self._window_opens(gate.name, window, state, given) for window in gate.windows), default=0.0
        )

    def _window_opens(self, name: str, window: Window, state: _State, given: int) -> float:
        if self._recent_starts(name, window) + state.starts + given < window.count:
            return 0.0
        if given >= window.count:
            return math.inf
        last_to_leave = state.started + state.starts + given - window.count
        row = one(self._connection, _START, (name, last_to_leave))
        return math.inf if row is None else row[0] + window.period

    def _room(self, gate: Gate, giving: bool) -> int:
        state = self._state(gate.name)
        given = state.given + state.gave if giving else 0
        room = self._wanted
        if gate.at_once is not None:
            room = gate.at_once - state.running - state.ran - given
        for window in gate.windows:
            room = min(room, window.count - self._recent_starts(gate.name, window) - state.starts - given)
        return room

    def _recent_starts(self, name: str, window: Window) -> int:
        """Return how many starts before this claim lie within a window: exactly, or so many that `wanted` fit in."""
        recent = self._recent.get((name, window))
        if recent is None:
            recent = self._recent[name, window] = self._count(name, window)
        return recent

    def _count(self, name: str, window: Window) -> int:
        state = self._state(name)
        since = state.started - window.count  # those before it make no difference
        if state.started + state.given + self._wanted <= window.count:
            return state.started
        rows = many(self._connection, _WALK, (name, since, self._wanted + state.given + 1))
        long_ago = 0
        for at, before in rows:
            if at + window.period > self._now:
                return int(state.started - before)
            long_ago = before + 1  # at least
        return state.started - long_ago if len(rows) > self._wanted + state.given else 0

    def _state(self, name: str) -> _State:
        state = self._states.get(name)
        if state is None:
            row = one(self._connection, _STATE, (name,))
            state = self._states[name] = _State(*(row or (0, 0, 0, 0.0)))
        return state


def leave(connection: apsw.Connection, ran: Counter[str], given: Counter[str]) -> bool:
    """Give back the slots of jobs that ended their run, and forget those given out that wait for that no more (by the
    text of their gates). True: a gate that was closed may be open now."""
    slots: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for text, count in ran.items():
        for gate in gates_of(text):
            slots[gate.name] += count if gate.at_once is not None else 0
    for text, count in given.items():
        for gate in gates_of(text):
            places[gate.name] += count
    eased = False
    for name in slots.keys() | places.keys():
        if slots[name] or places[name]:
            connection.execute(_LEAVE, (slots[name], places[name], name))
            connection.execute(_EASE, (name, slots[name]))
            eased |= connection.changes() > 0
    return eased


def move_starts(connection: apsw.Connection, *, by: float, now: float) -> None:
    """Let starts be as long ago as they were, when the store's clock is set right; none lies in the future."""
    connection.execute("UPDATE starts SET at = min(at + ?, ?)", (by, now))
    connection.execute("UPDATE gates SET last_at = min(last_at + ?, ?)", (by, now))
    connection.execute("UPDATE closed SET opens_at = 0, gives_at = 0")  # to be looked at again


def prune(connection: apsw.Connection, *, now: float, limit: int) -> None:
    """Forget starts that no window reaches back to, and gates that nobody passes any more."""
    old = """DELETE FROM starts WHERE (gate, before) IN (
        SELECT s.gate, s.before FROM starts s JOIN gates g ON g.name = s.gate WHERE s.at + g.longest <= ? LIMIT ?)"""
    idle = """DELETE FROM gates WHERE name IN (SELECT name FROM gates WHERE running = 0 AND given = 0
        AND last_at + longest <= ? AND NOT EXISTS (SELECT 1 FROM starts WHERE gate = name) LIMIT ?)"""
    unused = """DELETE FROM closed WHERE NOT EXISTS (SELECT 1 FROM lanes
        WHERE behind = closed.gate AND lanes.queue = closed.queue AND lanes.priority = closed.priority)"""
    connection.execute(old, (now, limit))
    connection.execute(idle, (now, limit))
    connection.execute(unused)
