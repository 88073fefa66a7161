"""When a schedule's ticks are: cron fields in a time zone, or an interval counted from a fixed moment.

Over a change to or from daylight saving time, Debian's cron is the model. A schedule at fixed times (neither its minute
nor its hour begins with ``*``) has each of them once: one that the clocks jump over comes right after the jump, and one
that they show twice comes the first time. A schedule with a wildcard there follows real time.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from faena.schedule import Schedule

SHORTEST: Final = 1.0
LONGEST: Final = 366 * 86400.0
SHORT_NAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
_RANGES: Final = (
    "0 to 59",
    "0 to 59",
    "0 to 23",
    "1 to 31 or L",
    "1 to 12 or JAN to DEC",
    "0 to 7 or SUN to SAT",
)


def ticks(schedule: Schedule, after: float) -> Iterator[float]:
    """Yield the ticks after a moment, each greater than the one before. Ends when there are none for 50 years."""
    if schedule.every is not None:
        found = _interval_ticks(schedule.every, schedule.start, after)
    else:
        found = _cron_ticks(schedule.cron or "", schedule.timezone, after)
    last = after
    for tick in found:
        if tick > last:
            last = tick
            yield tick


def next_tick(schedule: Schedule, after: float) -> float | None:
    """Return the first tick after a moment; None: there is none."""
    return next(ticks(schedule, after), None)


def tick_faults(schedule: Schedule) -> Iterator[str]:
    """Yield what is wrong with the times of a schedule."""
    if (schedule.cron is None) == (schedule.every is None):
        yield "give cron or every, one of them"
    if schedule.every is not None and not SHORTEST <= schedule.every <= LONGEST:
        yield f"every={schedule.every!r} must be from 1 second to 366 days (seconds or a timedelta)"
    zone_faults = [*_zone_faults(schedule.timezone)]
    cron_faults = [] if schedule.cron is None else [*_cron_faults(schedule.cron)]
    yield from zone_faults
    yield from cron_faults
    if schedule.cron is not None and not zone_faults and not cron_faults and next_tick(schedule, 0.0) is None:
        yield f"cron={schedule.cron!r} never comes: no such day is in fifty years"


def _interval_ticks(every: float, start: float, after: float) -> Iterator[float]:
    """Multiples, and never sums: nothing adds up to a drift."""
    number = max(math.floor((after - start) / every) - 1, 0)
    while True:
        yield start + number * every
        number += 1


def _cron_ticks(cron: str, timezone: str, after: float) -> Iterator[float]:
    from cronsim import CronSim

    zone = _zone(timezone)
    here = datetime.fromtimestamp(after, zone)
    expression = _expression(cron)
    if zone is UTC or not _at_fixed_times(expression):
        for moment in CronSim(expression, here):
            yield moment.timestamp()
    else:
        for shown in CronSim(expression, here.replace(tzinfo=None)):
            yield _moment(shown, zone)


def _expression(cron: str) -> str:
    return SHORT_NAMES.get(cron.strip().lower(), cron)


def _at_fixed_times(expression: str) -> bool:
    minute, hour = expression.split()[-5:-3]
    return not minute.startswith("*") and not hour.startswith("*")


def _moment(shown: datetime, zone: tzinfo) -> float:
    """Return when clocks show a time first; for one that they jump over, when they have jumped."""
    while True:
        moment = shown.replace(tzinfo=zone)
        if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == shown:
            return moment.timestamp()
        shown = shown.replace(second=0) + timedelta(minutes=1)


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _zone_faults(name: str) -> Iterator[str]:
    try:
        _zone(name)
    except (KeyError, ValueError, OSError, TypeError):  # unknown, malformed, a directory, no text
        yield f"timezone={name!r} is unknown here{_nearest_zone(str(name))}"


def _nearest_zone(name: str) -> str:
    known = {zone.lower(): zone for zone in sorted(available_timezones(), reverse=True)}
    cities = {zone.rpartition("/")[2]: zone for zone in known}
    wanted = name.strip().lower().replace(" ", "_")
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    city = difflib.get_close_matches(wanted.rpartition("/")[2], cities, n=1, cutoff=0.75)
    found = [*near, *(cities[one] for one in city)]
    return f"; did you mean {known[found[0]]}?" if found else "; use an IANA name such as Europe/Madrid"


def _cron_faults(cron: object) -> Iterator[str]:
    from cronsim import CronSim, CronSimError

    if not isinstance(cron, str):
        yield f'cron={cron!r} must be a text such as "0 3 * * *"'
        return
    fields = _expression(cron).split()
    if len(fields) not in (5, 6):
        names = ", ".join(_FIELDS[1:])
        yield f"cron={cron!r} has {len(fields)} fields; it takes five ({names}), or six with the second first"
        return
    in_any_month = [*fields[:-2], "*", fields[-1]]
    for written in (in_any_month, fields):
        try:
            CronSim(" ".join(written), datetime(2026, 1, 1, tzinfo=UTC))
        except (CronSimError, ValueError, TypeError, AssertionError) as error:
            told = str(error)
            if written is fields and told == "Bad day-of-month":  # each field makes sense, but not together
                yield f"cron={cron!r} never comes: {_no_such_day(fields)}"
            else:
                yield f"cron={cron!r}: {_field_fault(fields, told)}"
            return


def _no_such_day(fields: list[str]) -> str:
    day, month = fields[-3:-1]
    return f"the month {month!r} has no day {day!r}"


def _field_fault(fields: list[str], told: str) -> str:
    """The library names the field: show it, and what it takes."""
    field = told.removeprefix("Bad ")
    if field not in _FIELDS:
        return f"it can't be read ({told})" if told else "it can't be read"
    number = _FIELDS.index(field)
    written = fields[number - (6 - len(fields))]
    return (
        f"the field {field}, {written!r}, makes no sense: it takes {_RANGES[number]}, lists, ranges and steps"
    )
