"""Words: how moments are said."""

from __future__ import annotations

import math

import pytest

from faena import words
from faena.api.schemas import iso


@pytest.mark.parametrize("moment", [math.inf, 1e300, words.END_OF_CALENDAR])
def test_a_moment_beyond_the_calendar_is_said_and_told_as_none(moment: float) -> None:
    assert words.at(moment) == words.when(moment) == "the end of time"
    assert iso(moment) is None


@pytest.mark.parametrize("moment", [-math.inf, -1e300, -62135647200.0, words.START_OF_CALENDAR - 1])
def test_a_moment_before_the_calendar_is_said_and_told_as_none(moment: float) -> None:
    assert words.at(moment) == words.when(moment) == "the beginning of time"
    assert iso(moment) is None


def test_the_first_moment_of_the_calendar_has_a_date() -> None:
    assert str(iso(words.START_OF_CALENDAR)) == "0001-01-01 00:00:00+00:00"


def test_the_last_moment_of_the_calendar_has_a_date() -> None:
    last = words.END_OF_CALENDAR - 1
    assert words.at(last) == "9999-12-31 23:59:59 UTC"
    assert str(iso(last)) == "9999-12-31 23:59:59+00:00"
