"""Schedules as they are declared, and what is to be done when their ticks have come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from faena import Faena, InvalidArguments, InvalidOptions, UnknownTask
from faena.making import Maker
from faena.schedule import CatchUp, Overlap, Schedule
from faena.timetable import Declared, Due, due, next_ticks, request

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
app = Faena("scheduled")


@app.task
def clean(days: int = 7) -> None: ...


def stored(**fields: Any) -> Schedule:
    declared = Declared(**{"name": "s", "task": "clean", "every": 60.0, **fields})
    return declared.schedule(Maker(app.tasks, {}), now=NOON, source="api")


def test_a_declaration_becomes_what_is_stored() -> None:
    schedule = stored(every=None, cron="0 3 * * *", timezone="Europe/Madrid", args={"days": "3"}, queue="low")
    assert schedule.args == b'{"days":3}'
    assert schedule.next_at == datetime(2026, 6, 2, 1, tzinfo=UTC).timestamp()
    assert (schedule.catch_up, schedule.overlap, schedule.queue) == (CatchUp.ONE, Overlap.SKIP, "low")


def test_a_schedule_that_can_make_no_job_is_refused() -> None:
    with pytest.raises(UnknownTask):
        stored(task="sweep")
    with pytest.raises(InvalidArguments):
        stored(args={"weeks": 1})


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidOptions) as told:
        Declared(
            name="a b",
            task="clean",
            cron="0 25 * * *",
            timezone="Mars/Olympus",
            start=datetime(2026, 1, 1),  # noqa: DTZ001
            catch_up="some",
            overlap="maybe",
            queue="?",
            priority=5000,
        )
    for part in (
        "name='a b'",
        "hour, '25'",
        "Mars/Olympus",
        "start",
        "catch_up",
        "overlap",
        "queue",
        "priority",
    ):
        assert part in str(told.value)


@pytest.mark.parametrize(
    "start",
    [
        datetime.fromisoformat("0001-01-01T00:00:00+14:00"),
        datetime.fromisoformat("1969-12-31T23:59:59+00:00"),
        datetime.fromisoformat("9999-12-31T23:59:59-14:00"),
        "2026-01-01",
    ],
)
def test_a_start_outside_the_calendar_is_refused(start: Any) -> None:
    with pytest.raises(InvalidOptions, match="start="):
        stored(start=start)


def test_making_up_for_all_ticks_needs_jobs_that_may_overlap() -> None:
    with pytest.raises(InvalidOptions, match="needs overlap='allow'"):
        stored(catch_up="all")


def test_nothing_is_due_before_its_time_or_while_paused() -> None:
    schedule = stored()
    assert due(schedule, NOON + 59.9) is None
    assert due(msgspec.structs.replace(schedule, paused=True), NOON + 60) is None
    assert due(schedule, NOON + 60) == Due(at=NOON + 60, next_at=NOON + 120, jobs=1, missed=0)


@pytest.mark.parametrize(
    ("catch_up", "late", "jobs", "missed"),
    [
        ("one", 0.0, 1, 4),
        ("one", 59.0, 1, 4),
        ("none", 59.0, 0, 5),
        ("none", 10.0, 1, 4),
        ("all", 59.0, 5, 0),
    ],
)
def test_what_becomes_of_ticks_that_nobody_took(catch_up: str, late: float, jobs: int, missed: int) -> None:
    schedule = stored(catch_up=catch_up, overlap="allow")
    assert due(schedule, NOON + 300 + late) == Due(at=NOON + 60, next_at=NOON + 360, jobs=jobs, missed=missed)


def test_at_most_a_hundred_are_made_up_for_at_once() -> None:
    found = due(stored(catch_up="all", overlap="allow"), NOON + 60 * 150)
    assert found == Due(at=NOON + 60, next_at=NOON + 60 * 101, jobs=100, missed=0)


def test_years_of_missed_ticks_are_not_counted_one_by_one() -> None:
    schedule = stored(every=1)
    found = due(schedule, NOON + 100 * 365 * 86400)
    assert found is not None
    assert found.next_at == NOON + 100 * 365 * 86400 + 1
    assert (found.jobs, found.missed) == (1, 999)


def test_the_job_of_a_tick_holds_a_key_unless_it_may_overlap() -> None:
    assert request(stored(name="nightly")).key == "schedule:nightly"
    assert request(stored(overlap="allow")).key is None


def test_the_next_ticks_are_told() -> None:
    assert next_ticks(stored(), NOON + 1, 3) == [NOON + 60, NOON + 120, NOON + 180]
    assert next_ticks(stored(), NOON + 61, 2) == [NOON + 120, NOON + 180]
    assert next_ticks(stored(start=datetime(2026, 6, 2, tzinfo=UTC)), NOON, 1) == [NOON + 43200]
