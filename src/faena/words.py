"""How moments, durations, counts and limits are said in a sentence. Moments are told in UTC."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from faena.job import Gate, Window
from faena.rates import slack_in

START_OF_CALENDAR: Final = -62135596800.0
"""The year 1, in seconds since the epoch."""
END_OF_CALENDAR: Final = 253402300800.0
"""The year 10000, in seconds since the epoch: a key that is kept for ever lasts beyond it."""
LISTED: Final = 10
"""How many names a sentence lists at most."""


def at(moment: float | None) -> str:
    """Say when: ``12:03:07 UTC``, with the date if it is another day."""
    if moment is None:
        return "an unknown time"
    if moment >= END_OF_CALENDAR:
        return "the end of time"
    if moment < START_OF_CALENDAR:
        return "the beginning of time"
    then, today = datetime.fromtimestamp(moment, UTC), datetime.now(UTC)
    return then.strftime("%H:%M:%S UTC" if then.date() == today.date() else "%Y-%m-%d %H:%M:%S UTC")


def when(moment: float | None) -> str:
    """Say when, and how far from now: ``12:03:07 UTC (in 42 s)``."""
    if moment is None or not START_OF_CALENDAR <= moment < END_OF_CALENDAR:
        return at(moment)
    ahead = moment - time.time()
    return f"{at(moment)} ({f'in {duration(ahead)}' if ahead > 0 else f'{duration(-ahead)} ago'})"


def after(seconds: float) -> float:
    """Return the moment that is so many seconds away."""
    return time.time() + seconds


def duration(seconds: float) -> str:
    """Say a length of time in its largest sensible unit."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def counted(count: int, word: str) -> str:
    """Say how many: ``1 job``, ``2 jobs``."""
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def listed(names: Sequence[str]) -> str:
    """Join names with commas; only the first ten of many."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more:,} more" if more > 0 else "")


def rule(gate: Gate) -> str:
    """Say a limit: ``10 per 60 s, 2 at once``."""
    parts = [f"{window.count} per {_period(window)}" for window in gate.windows]
    return ", ".join([*parts, *([] if gate.at_once is None else [f"{gate.at_once} at once"])])


def _period(window: Window) -> str:
    """Say the period that was asked for; the window is a little longer (`faena.rates.SLACK`)."""
    kept = window.period
    return f"{round(kept if kept.is_integer() else kept - slack_in(window), 3):g} s"
