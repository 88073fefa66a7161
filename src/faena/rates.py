"""Limits as users write them, and the gates that they come to: so many starts within a time, so many jobs at once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from faena.durations import Duration, seconds
from faena.errors import InvalidOptions
from faena.job import Gate, Record, Window

Per: TypeAlias = str | tuple[str, ...] | Callable[[Mapping[str, Any]], object]
"""What a limit is counted for: the value of an argument, of several, or what a function makes of all of them."""

SLACK: Final = 0.04
"""A window is longer than its period by this part of it: a start counts when the job is claimed, and its function is
called a moment later. A worker that calls it later than that counts it anew (`call_within`)."""
MOST_SLACK: Final = 0.25
"""Seconds; no window is longer by more."""
LONGEST: Final = 366 * 86400.0
MOST: Final = 100_000
LONGEST_NAME: Final = 200
"""Characters of a gate's name; the values in a longer one are told by their digest."""
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE: Final = re.compile(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*([A-Za-z]+)\s*")
_NAME: Final = re.compile(r"[\w.:@-]{1,100}")
_PLAIN: Final = re.compile(r"(?!(?:true|false|null)$)[A-Za-z_][\w.@:/-]*")


class _Scope(Record, frozen=True, kw_only=True):
    per: Per | None = None
    """Counted for each value of an argument (its name), of several (a tuple of names), or of what a function returns
    for the arguments (as JSON has them; None: no limit for this job). A job that lacks the argument is not limited."""
    name: str | None = None
    """Shared by all tasks and queues that name it; None: the task's, or the queue's, own."""


class Rate(_Scope, frozen=True, kw_only=False):
    """At most so many starts within any period: ``Rate("10/m")``, ``Rate("10/30s")``, ``Rate(10, 60)``."""

    limit: str | int
    period: Duration | None = None
    """Seconds or a timedelta, where ``limit`` is a number."""

    def __post_init__(self) -> None:
        _refuse(self, [*_rate_faults(self.limit, self.period), *_scope_faults(self)])

    @property
    def window(self) -> Window:
        """What is counted, a little longer than what was asked for."""
        count, period = _count_and_period(self.limit, self.period)
        return Window(count=count, period=period + min(SLACK * period, MOST_SLACK))


class AtOnce(_Scope, frozen=True, kw_only=False):
    """At most so many run at once: ``AtOnce(2, per="tenant")``."""

    limit: int

    def __post_init__(self) -> None:
        _refuse(self, [*_number_faults(self.limit), *_scope_faults(self)])


RateLike: TypeAlias = str | Rate | tuple[str | Rate, ...]
AtOnceLike: TypeAlias = int | AtOnce | tuple[int | AtOnce, ...]


class Rule(Record, frozen=True):
    """What one gate, or one for each value, is made of."""

    base: str
    per: Per | None
    windows: tuple[Window, ...] = ()
    at_once: int | None = None

    def gate(self, args: Mapping[str, Any]) -> Gate | None:
        """Return the gate of a job with these arguments; None: the job does not pass this one."""
        name = self.base if self.per is None else _keyed(self.base, self.per, args)
        return None if name is None else Gate(name=name, windows=self.windows, at_once=self.at_once)


class Plan:
    """The gates of a task's jobs on a queue; worked out once where no argument has a say."""

    __slots__ = ("_fixed", "_keyed", "slots")

    def __init__(self, rules: Iterable[Rule]) -> None:
        given = tuple(rules)
        self.slots = any(rule.at_once is not None for rule in given)
        """Some of them limit how many run at once."""
        self._keyed = given if any(rule.per is not None for rule in given) else ()
        self._fixed = () if self._keyed else _merged(rule.gate({}) for rule in given)

    def __bool__(self) -> bool:
        return bool(self._fixed or self._keyed)

    def gates(self, args: bytes) -> tuple[Gate, ...]:
        """Return the gates of a job by its arguments, ordered by their names."""
        if not self._keyed:
            return self._fixed
        values = msgspec.json.decode(args)
        return _merged(rule.gate(values) for rule in self._keyed)


def rules(base: str, rate: RateLike | None, at_once: AtOnceLike | None) -> tuple[Rule, ...]:
    """Return the rules of limits; those without a name of their own are counted under ``base``."""
    windows: dict[tuple[str, Per | None], tuple[Window, ...]] = {}
    slots: dict[tuple[str, Per | None], int] = {}
    for one in as_rates(rate):
        scope = (one.name or base, one.per)
        windows[scope] = (*windows.get(scope, ()), one.window)
    for two in as_at_onces(at_once):
        scope = (two.name or base, two.per)
        slots[scope] = min(two.limit, slots.get(scope, two.limit))
    return tuple(
        Rule(base=scope[0], per=scope[1], windows=windows.get(scope, ()), at_once=slots.get(scope))
        for scope in dict.fromkeys([*windows, *slots])
    )


def as_rates(rate: RateLike | None) -> tuple[Rate, ...]:
    """Return what was written as rates; raises `InvalidOptions`."""
    return tuple(one if isinstance(one, Rate) else Rate(one) for one in _several(rate))


def as_at_onces(at_once: AtOnceLike | None) -> tuple[AtOnce, ...]:
    """Return what was written as limits of jobs at once; raises `InvalidOptions`."""
    return tuple(one if isinstance(one, AtOnce) else AtOnce(one) for one in _several(at_once))


def slack_in(window: Window) -> float:
    """Return by how much a window is longer than the period that was asked for."""
    return min(window.period * SLACK / (1 + SLACK), MOST_SLACK)


def call_within(gates: Iterable[Gate]) -> float | None:
    """Return the seconds from its claim within which a job's function is to be called; None: it may take its time."""
    return min((slack_in(window) for gate in gates for window in gate.windows), default=None)


def limit_faults(rate: object, at_once: object) -> Iterator[str]:
    """Yield what is wrong with limits as they were written."""
    for one in _several(rate):
        if isinstance(one, str):
            yield from _rate_faults(one, None)
        elif not isinstance(one, Rate):
            yield f'rate={one!r} must be a text such as "10/m", a Rate, or a tuple of them'
    for one in _several(at_once):
        if not isinstance(one, AtOnce):
            yield from _number_faults(one, "at_once=")


def unknown_names(rate: RateLike | None, at_once: AtOnceLike | None, known: Iterable[str]) -> Iterator[str]:
    """Yield the parameters that limits are counted for and that a task does not have."""
    for one in (*as_rates(rate), *as_at_onces(at_once)):
        yield from (name for name in names_of(one.per) if name not in known)


def names_of(fields: object) -> tuple[str, ...]:
    """Return the names of arguments that ``per``, or ``by``, is made of."""
    if isinstance(fields, str):
        return (fields,)
    return fields if isinstance(fields, tuple) else ()


def _several(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def _merged(gates: Iterable[Gate | None]) -> tuple[Gate, ...]:
    """One gate for each name, ordered by them; all that was said of a name holds."""
    found: dict[str, Gate] = {}
    for gate in gates:
        if gate is None:
            continue
        other = found.get(gate.name)
        found[gate.name] = gate if other is None else _both(other, gate)
    return tuple(found[name] for name in sorted(found))


def _both(one: Gate, other: Gate) -> Gate:
    slots = [gate.at_once for gate in (one, other) if gate.at_once is not None]
    windows = tuple(dict.fromkeys((*one.windows, *other.windows)))
    return Gate(name=one.name, at_once=min(slots, default=None), windows=windows)


def _keyed(base: str, per: Per, args: Mapping[str, Any]) -> str | None:
    if callable(per):
        value = per(args)
        told = None if value is None else _text(value)
    else:
        names = names_of(per)
        missing = any(name not in args for name in names)
        told = None if missing else ",".join(f"{name}={_text(args[name])}" for name in names)
    if told is None:
        return None
    name = f"{base}[{told}]"
    if len(name) <= LONGEST_NAME:
        return name
    return f"{base}[{hashlib.sha256(told.encode()).hexdigest()[:32]}]"


def _text(value: object) -> str:
    """Plain words as they are, all else as JSON, so that no two values look alike."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    try:
        return msgspec.json.encode(value, order="sorted").decode()
    except (TypeError, ValueError) as error:
        raise InvalidOptions(f"a limit is counted for {value!r}, which is no JSON: {error}") from None


def _refuse(what: Rate | AtOnce, faults: list[str]) -> None:
    if faults:
        raise InvalidOptions(
            f"the limit {type(what).__name__}({what.limit!r}) makes no sense: " + "; ".join(faults)
        )


def _rate_faults(limit: object, period: object) -> Iterator[str]:
    if isinstance(limit, str):
        yield from _text_faults(limit, period)
    elif period is None:
        yield f'rate={limit!r} needs a period: write it as "10/m", or Rate(10, 60)'
    else:
        yield from _number_faults(limit)
        yield from _period_faults(period)


def _text_faults(limit: str, period: object) -> Iterator[str]:
    found = _RATE.fullmatch(limit)
    if found is None:
        yield f'rate={limit!r} must be written as "10/m" or "10/30s": a number, and a time in s, m, h or d'
        return
    count, length, unit = found.groups()
    yield from _number_faults(int(count), "the number of a rate, ")
    if unit not in _UNITS:
        yield f"rate={limit!r} has the unit {unit!r}; there are s, m, h and d"
    else:
        yield from _period_faults(float(length or 1) * _UNITS[unit])
    if period is not None:
        yield f"rate={limit!r} says its period itself: leave out period={period!r}"


def _number_faults(limit: object, what: str = "the limit ") -> Iterator[str]:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST:
        yield f"{what}{limit!r} must be a whole number from 1 to {MOST:,}"


def _period_faults(period: object) -> Iterator[str]:
    try:
        length = seconds(period)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        length = -1.0
    if isinstance(period, bool | str) or not 0 < length <= LONGEST:
        yield f"the period {period!r} must be above zero and at most 366 days (seconds or a timedelta)"


def _scope_faults(scope: _Scope) -> Iterator[str]:
    yield from field_faults("per", scope.per)
    if scope.name is not None and not (isinstance(scope.name, str) and _NAME.fullmatch(scope.name)):
        yield f"name={scope.name!r} must be 1 to 100 letters, digits or . : @ _ -"


def field_faults(what: str, fields: object) -> Iterator[str]:
    """Yield what is wrong with the choice of arguments that a limit, or a key, is made of."""
    if fields is None or callable(fields):
        return
    names = names_of(fields)
    if not names or not all(isinstance(name, str) and name for name in names):
        yield f"{what}={fields!r} must be the name of an argument, a tuple of names, or a function of the arguments"
    elif len(set(names)) < len(names):
        yield f"{what}={fields!r} names an argument twice"


def _count_and_period(limit: str | int, period: Duration | None) -> tuple[int, float]:
    if isinstance(limit, int):
        assert period is not None, "checked when it was made"
        return limit, seconds(period)
    found = _RATE.fullmatch(limit)
    assert found is not None, "checked when it was made"
    count, length, unit = found.groups()
    return int(count), float(length or 1) * _UNITS[unit]
