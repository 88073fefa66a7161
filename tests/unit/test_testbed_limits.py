"""The testbed with limits, keys and schedules: its clock drives them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faena import Faena
from faena.testing import FakeClock, Testbed

DAY = 86400.0
app = Faena(name="office")
app.queue("press", at_once=1)


@app.task(rate="10/m")
def post(number: int) -> int:
    return number


@app.task(unique="args")
def index(page: int) -> None: ...


@app.task
def clean(days: int = 7) -> None: ...


app.schedule("nightly", clean, cron="0 3 * * *", timezone="Europe/Madrid", args={"days": 3})


@pytest.fixture
def bed() -> Iterator[Testbed]:
    with Testbed(app, clock=FakeClock(1_800_000_000.0)) as bed:
        yield bed


def test_a_limit_lets_through_what_it_may(bed: Testbed) -> None:
    post.enqueue_many([{"number": number} for number in range(25)])
    assert [job.result for job in bed.run_pending()] == [str(number).encode() for number in range(10)]
    bed.advance(59)
    assert bed.run_pending() == []
    bed.advance(2)
    assert len(bed.run_pending()) == 10


def test_everything_runs_to_its_end_as_limits_open(bed: Testbed) -> None:
    began = bed.clock.now
    post.enqueue_many([{"number": number} for number in range(25)])
    assert len(bed.run_all()) == 25
    assert 120 <= bed.clock.now - began <= 125


def test_the_limit_of_a_queue_holds(bed: Testbed) -> None:
    for number in range(3):
        post.using(queue="press").enqueue(number)
    assert len(bed.run_all()) == 3


def test_a_unique_job_is_there_once(bed: Testbed) -> None:
    first = index.enqueue(page=1)
    again = index.enqueue(page=1)
    assert (again.id, again.duplicate) == (first.id, True)
    bed.run_all()
    assert not index.enqueue(page=1).duplicate


def test_the_clock_drives_schedules(bed: Testbed) -> None:
    (job,) = bed.advance(DAY)
    assert (job.task, job.args) == ("clean", b'{"days":3}')
    bed.run_pending()
    assert len(bed.advance(DAY)) == 1
    (schedule,) = bed.app.ask(lambda client: client.schedules())
    assert (schedule.runs, schedule.skipped) == (2, 0)


def test_a_schedule_does_not_overlap_with_itself(bed: Testbed) -> None:
    assert len(bed.advance(7 * DAY)) == 1
    (schedule,) = bed.app.ask(lambda client: client.schedules())
    assert (schedule.runs, schedule.skipped) == (1, 6)


def test_schedules_are_steered_by_the_same_clock(bed: Testbed) -> None:
    bed.app.ask(lambda client: client.pause_schedule("nightly"))
    assert bed.advance(3 * DAY) == []
    resumed = bed.app.ask(lambda client: client.resume_schedule("nightly"))
    assert resumed.next_at is not None
    assert bed.clock.now < resumed.next_at <= bed.clock.now + DAY
    assert len(bed.advance(DAY)) == 1


def test_what_is_paused_stays(bed: Testbed) -> None:
    job = index.enqueue(page=1)
    bed.app.pause(task="index")
    assert bed.run_all() == []
    assert bed.app.why(job.id).reason == "task_paused"
    bed.app.resume(task="index")
    assert [ran.id for ran in bed.run_all()] == [job.id]
