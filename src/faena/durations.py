"""Durations are seconds or a `timedelta` wherever Faena takes one."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeAlias

Duration: TypeAlias = float | timedelta


def seconds(duration: Duration) -> float:
    """Return a duration in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def finite_seconds(duration: object) -> float:
    """Return the seconds, or NaN (which no comparison accepts) for what is no finite duration."""
    try:
        value = seconds(duration)  # type: ignore[arg-type]  # anything may come, and is refused below
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return value if math.isfinite(value) and not isinstance(duration, bool | str) else math.nan
