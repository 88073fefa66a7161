"""When schedules go: cron fields in time zones, both daylight-saving changes, and intervals that do not drift."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faena.schedule import Schedule
from faena.ticks import next_tick, tick_faults, ticks

MADRID, NEW_YORK = "Europe/Madrid", "America/New_York"


def a_schedule(**fields: Any) -> Schedule:
    return Schedule(**{"name": "s", "task": "t", **fields})


def local(zone: str, text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def shown(zone: str, moments: list[float]) -> list[str]:
    return [datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%d %H:%M %z") for moment in moments]


def first(count: int, cron: str, zone: str, after: str) -> list[str]:
    schedule = a_schedule(cron=cron, timezone=zone)
    return shown(zone, [*islice(ticks(schedule, local(zone, after)), count)])


def test_ticks_come_in_the_zone_of_the_schedule() -> None:
    assert first(2, "0 3 * * *", MADRID, "2026-06-01 12:00") == ["02 03:00 +0200", "03 03:00 +0200"]
    assert first(1, "30 9 * * MON", NEW_YORK, "2026-06-01 09:30") == ["08 09:30 -0400"]
    assert first(1, "@daily", "UTC", "2026-06-01 00:00") == ["02 00:00 +0000"]
    assert first(2, "*/20 * * * * *", "UTC", "2026-06-01 00:00") == ["01 00:00 +0000", "01 00:00 +0000"]


@pytest.mark.parametrize(
    ("zone", "after", "gap", "later"),
    [
        (MADRID, "2026-03-28 12:00", "29 03:00 +0200", "30 02:30 +0200"),
        (NEW_YORK, "2026-03-07 12:00", "08 03:00 -0400", "09 02:30 -0400"),
    ],
)
@pytest.mark.parametrize("cron", ["30 2 * * *", "0 30 2 * * *"])
def test_a_fixed_time_that_the_clocks_jump_over_comes_right_after_the_jump(
    zone: str, after: str, gap: str, later: str, cron: str
) -> None:
    assert first(2, cron, zone, after) == [gap, later]


@pytest.mark.parametrize(
    ("zone", "after", "once", "later"),
    [
        (MADRID, "2026-10-24 12:00", "25 02:30 +0200", "26 02:30 +0100"),
        (NEW_YORK, "2026-10-31 12:00", "01 01:30 -0400", "02 01:30 -0500"),
    ],
)
@pytest.mark.parametrize("seconds", ["", "0 "])
def test_a_fixed_time_that_the_clocks_show_twice_comes_once(
    zone: str, after: str, once: str, later: str, seconds: str
) -> None:
    hour = once[3:5].lstrip("0")
    assert first(2, f"{seconds}30 {hour} * * *", zone, after) == [once, later]


def test_a_scheduler_that_starts_in_the_second_of_two_equal_hours_does_not_go_back() -> None:
    second_time = datetime(2026, 10, 25, 2, 15, tzinfo=ZoneInfo(MADRID), fold=1).timestamp()
    schedule = a_schedule(cron="30 2 * * *", timezone=MADRID)
    assert shown(MADRID, [next_tick(schedule, second_time) or 0.0]) == ["26 02:30 +0100"]


def test_a_wildcard_hour_follows_real_time() -> None:
    spring = first(4, "0 * * * *", MADRID, "2026-03-29 00:30")
    assert spring == ["29 01:00 +0100", "29 03:00 +0200", "29 04:00 +0200", "29 05:00 +0200"]
    autumn = first(4, "30 * * * *", MADRID, "2026-10-25 01:00")
    assert autumn == ["25 01:30 +0200", "25 02:30 +0200", "25 02:30 +0100", "25 03:30 +0100"]


@pytest.mark.parametrize(
    "zone", [MADRID, NEW_YORK, "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu"]
)
def test_a_daily_schedule_has_one_tick_on_each_day_of_a_year(zone: str) -> None:
    for cron in ("0 0 * * *", "30 1 * * *", "15 2 * * *", "0 3 * * *"):
        year = [*islice(ticks(a_schedule(cron=cron, timezone=zone), local(zone, "2026-01-01 12:00")), 365)]
        days = [datetime.fromtimestamp(tick, ZoneInfo(zone)).date() for tick in year]
        assert [later - day for day, later in pairwise(days)] == [timedelta(days=1)] * 364


def test_every_fifteen_minutes_is_every_fifteen_minutes_on_any_day() -> None:
    schedule = a_schedule(cron="*/15 * * * *", timezone=NEW_YORK)
    for day in ("2026-03-08 00:00", "2026-11-01 00:00"):
        found = [*islice(ticks(schedule, local(NEW_YORK, day)), 40)]
        assert {later - tick for tick, later in pairwise(found)} == {900.0}


def test_an_interval_is_counted_from_its_start_and_does_not_drift() -> None:
    schedule = a_schedule(every=0.1 * 36, start=1000.0)
    later = [*islice(ticks(schedule, 1000.0 + 3.6 * 1_000_000), 3)]
    assert later == [1000.0 + 3.6 * number for number in (1_000_001, 1_000_002, 1_000_003)]
    assert next_tick(schedule, 0.0) == 1000.0
    assert next_tick(a_schedule(every=300.0), datetime(2026, 1, 1, 0, 7, tzinfo=UTC).timestamp()) == (
        datetime(2026, 1, 1, 0, 10, tzinfo=UTC).timestamp()
    )


fields = st.tuples(
    st.sampled_from(["*", "0", "30", "*/7", "5,35", "10-20/5"]),
    st.sampled_from(["*", "0", "1", "2", "1-3", "*/5", "23"]),
    st.sampled_from(["*", "1", "25", "29", "L"]),
    st.sampled_from(["*", "3", "10,11"]),
    st.sampled_from(["*", "SUN", "1-5"]),
)


@given(
    cron=fields,
    second=st.sampled_from(["", "0 ", "*/13 ", "59 "]),
    zone=st.sampled_from([MADRID, NEW_YORK, "UTC", "Australia/Lord_Howe", "America/Havana"]),
    after=st.floats(1_770_000_000, 1_800_000_000),
)
@example(("*", "*", "*", "*", "*"), "", MADRID, 1_792_887_000.0)
def test_cron_ticks_strictly_grow_and_each_is_the_next_of_the_one_before(
    cron: tuple[str, ...], second: str, zone: str, after: float
) -> None:
    schedule = a_schedule(cron=second + " ".join(cron), timezone=zone)
    found = [*islice(ticks(schedule, after), 12)]
    assert found
    assert all(one < two for one, two in pairwise([after, *found]))
    assert [next_tick(schedule, tick) for tick in found[:-1]] == found[1:]


@given(
    every=st.floats(1.0, 1e7),
    start=st.floats(-1e9, 2e9),
    after=st.floats(1e9, 2e9),
)
def test_interval_ticks_strictly_grow_and_each_is_the_next_of_the_one_before(
    every: float, start: float, after: float
) -> None:
    schedule = a_schedule(every=every, start=start)
    found = [*islice(ticks(schedule, after), 5)]
    assert all(one < two for one, two in pairwise([after, *found]))
    assert found[0] - after <= every + 1e-6 or found[0] == start
    assert [next_tick(schedule, tick) for tick in found[:-1]] == found[1:]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "give cron or every"),
        ({"cron": "0 3 * * *", "every": 5.0}, "give cron or every"),
        ({"every": 0.5}, "from 1 second to 366 days"),
        ({"cron": "61 3 * * *"}, "the field minute, '61', makes no sense: it takes 0 to 59"),
        ({"cron": "0 3 * * FUNDAY"}, "the field day-of-week, 'FUNDAY'"),
        ({"cron": "0 0 3 * 13 *"}, "the field month, '13'"),
        ({"cron": "0 3 * *"}, "has 4 fields; it takes five"),
        ({"cron": "0 0 30 2 *"}, "cron='0 0 30 2 *' never comes: the month '2' has no day '30'"),
        ({"cron": "5 0 0 31 APR,JUN *"}, "never comes: the month 'APR,JUN' has no day '31'"),
        ({"cron": "0 0 30 2 *", "timezone": MADRID}, "never comes: the month '2' has no day '30'"),
        ({"cron": "0 0 32 2 *"}, "the field day-of-month, '32', makes no sense: it takes 1 to 31 or L"),
        ({"cron": "0 0 30 13 *"}, "the field month, '13', makes no sense"),
        ({"cron": "0 0 30 * FUNDAY"}, "the field day-of-week, 'FUNDAY', makes no sense"),
        ({"cron": "0 3 * * *", "timezone": "Europe/Madird"}, "did you mean Europe/Madrid?"),
        ({"cron": "0 3 * * *", "timezone": "madrid"}, "did you mean Europe/Madrid?"),
        ({"cron": "0 3 * * *", "timezone": "Europe"}, "is unknown here"),
        ({"cron": "0 3 * * *", "timezone": "../etc/passwd"}, "is unknown here"),
    ],
)
def test_what_is_wrong_is_told(given: dict[str, Any], told: str) -> None:
    assert told in "; ".join(tick_faults(a_schedule(**given)))


def test_what_is_right_has_no_faults() -> None:
    rhythms: tuple[dict[str, Any], ...] = (
        {"cron": "0 3 * * *", "timezone": MADRID},
        {"every": 1.0},
        {"cron": "@hourly"},
        {"cron": "0 0 29 2 *"},
        {"cron": "0 0 30 2 MON"},
    )
    for fields in rhythms:
        assert [*tick_faults(a_schedule(**fields))] == []
