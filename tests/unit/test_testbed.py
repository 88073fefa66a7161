"""The testbed that users get for their own tests."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from faena import Context, Faena, InvalidArguments, Limits, NotFound, QueueDisabled, Snooze
from faena.settings import Settings
from faena.stores.sqlite.store import SQLiteStore
from faena.testing import FakeClock, Testbed

app = Faena(name="shop")
sent: list[str] = []


@app.task(max_retries=2, min_backoff=10, max_backoff=60)
def send_mail(to: str, fail: int = 0, ctx: Context = None) -> str:  # type: ignore[assignment]
    if ctx.attempt <= fail:
        raise ConnectionError("the mail server is away")
    sent.append(to)
    ctx.emit("sent", {"to": to})
    return f"sent to {to}"


@app.task(queue="high")
async def order(ctx: Context, item: str) -> None:
    ctx.progress(50, "packing")
    await send_mail.aenqueue(to=f"buyer of {item}")
    send_mail.using(delay=3600).enqueue(to=f"reviewer of {item}")


@app.task(isolation="process", limits=Limits(memory=1 << 30))
def isolated() -> int:
    return os.getpid()


@app.task
async def for_ever() -> None:
    raise Snooze(1)


@pytest.fixture
def bed() -> Iterator[Testbed]:
    sent.clear()
    with Testbed(app) as bed:
        yield bed


def test_what_is_enqueued_waits_until_the_test_runs_it(bed: Testbed) -> None:
    handle = send_mail.enqueue(to="ada")
    assert (handle.status, sent) == ("pending", [])
    (job,) = bed.run_pending()
    assert (job.id, job.status, job.result) == (handle.id, "completed", b'"sent to ada"')
    assert handle.refresh().result == handle.wait(timeout=5) == "sent to ada"
    assert [event.event for event in bed.events(handle) if event.type == "event"] == ["sent"]


def test_what_a_job_enqueues_is_run_too_but_not_what_is_for_later(bed: Testbed) -> None:
    order.enqueue(item="lamp")
    assert [job.task for job in bed.run_pending()] == ["order", "send_mail"]
    assert sent == ["buyer of lamp"]
    assert bed.enqueued(send_mail, to="reviewer of lamp").status == "scheduled"


def test_one_attempt_at_a_time_can_be_run(bed: Testbed) -> None:
    send_mail.enqueue(to="ada")
    order.enqueue(item="lamp")
    first = bed.run_next()
    assert first is not None
    assert (first.task, first.status, first.progress) == ("order", "completed", 100.0)
    assert [job.task for job in bed.jobs(status=first.status)] == ["order"]
    assert sent == []


def test_the_clock_moves_only_when_the_test_says_so(bed: Testbed) -> None:
    later = send_mail.using(delay=3600).enqueue(to="ada")
    assert bed.run_pending() == []
    assert bed.advance(3599) == []
    assert [job.id for job in bed.advance(2)] == [later.id]
    assert bed.job(later).status == "pending"
    assert bed.run_next() is not None
    assert sent == ["ada"]


def test_a_failed_attempt_waits_for_its_retry(bed: Testbed) -> None:
    handle = send_mail.enqueue(to="ada", fail=1)
    (job,) = bed.run_pending()
    assert (job.status, job.attempt, job.error and job.error.type) == ("scheduled", 1, "ConnectionError")
    bed.advance(60)
    (job,) = bed.run_pending()
    assert (job.id, job.status, job.attempt) == (handle.id, "completed", 2)


def test_everything_can_be_run_to_its_end(bed: Testbed) -> None:
    order.enqueue(item="lamp")
    handle = send_mail.enqueue(to="ada", fail=9)
    before = bed.clock.now
    ran = bed.run_all()
    assert [job.attempt for job in ran if job.id == handle.id] == [1, 2, 3]
    assert bed.job(handle).status == "failed"
    assert sent == ["buyer of lamp", "reviewer of lamp"]
    assert bed.clock.now - before == pytest.approx(3600, abs=1)


def test_jobs_without_an_end_are_noticed(bed: Testbed) -> None:
    for_ever.enqueue()
    with pytest.raises(AssertionError, match="1000 attempts were run, and there is no end"):
        bed.run_all()


def test_assertions_tell_what_was_enqueued(bed: Testbed) -> None:
    send_mail.using(queue="slow", key="k").enqueue(to="ada")
    job = bed.enqueued(send_mail, to="ada")
    assert (job.queue, job.key) == ("slow", "k")
    assert bed.enqueued("send_mail").id == job.id
    bed.not_enqueued(send_mail, to="bob")
    bed.not_enqueued(order)
    with pytest.raises(AssertionError, match=r"send_mail\(to='bob'\) was not enqueued. What was: send_mail"):
        bed.enqueued(send_mail, to="bob")
    with pytest.raises(AssertionError, match="What was: none of it"):
        bed.enqueued(order)
    with pytest.raises(AssertionError, match=r'enqueued: send_mail\(\{"to":"ada"'):
        bed.not_enqueued(send_mail)


def test_rules_hold_as_in_production(bed: Testbed) -> None:
    with pytest.raises(InvalidArguments):
        send_mail.enqueue(nobody=1)  # type: ignore[call-arg]
    first = order.using(key="k").enqueue(item="lamp")
    assert order.using(key="k").enqueue(item="lamp").duplicate
    first.cancel()
    assert bed.run_pending() == []
    assert bed.job(first).status == "cancelled"
    with pytest.raises(NotFound):
        bed.job("nowhere")


def test_a_task_for_a_child_process_runs_in_this_one(bed: Testbed) -> None:
    handle = isolated.enqueue()
    bed.run_pending()
    assert handle.refresh().result == os.getpid()


async def test_it_serves_async_tests_too(bed: Testbed) -> None:
    handle = await send_mail.aenqueue(to="ada")
    await asyncio.to_thread(bed.run_pending)
    assert await handle == "sent to ada"
    await order.aenqueue(item="lamp")
    assert len(bed.run_pending()) == 2


def test_each_testbed_starts_empty_and_leaves_nothing_behind() -> None:
    before = threading.active_count()
    for _ in range(3):
        with Testbed(app) as bed:
            assert bed.jobs() == []
            send_mail.enqueue(to="ada")
    assert threading.active_count() <= before
    with pytest.raises(AssertionError, match="outside its `with`"):
        bed.jobs()


def test_a_test_may_choose_the_settings_and_the_store(tmp_path: Path) -> None:
    clock = FakeClock(0.0)

    def on_sqlite(clock: FakeClock) -> SQLiteStore:
        return SQLiteStore(tmp_path / "faena.db", clock=clock)

    with Testbed(app, clock=clock, make_store=on_sqlite) as bed:
        send_mail.using(delay=10).enqueue(to="ada")
        bed.run_all()
        assert clock.now == pytest.approx(10, abs=0.1)
    off: dict[str, Any] = {"queue_enabled": False}
    with Testbed(app, settings=Settings.model_validate(off)), pytest.raises(QueueDisabled):
        send_mail.enqueue(to="ada")


def test_the_clock_is_moved_by_durations_and_never_back(bed: Testbed) -> None:
    handle = send_mail.using(delay=3600).enqueue(to="ada")
    assert [job.id for job in bed.advance(timedelta(hours=1))] == [handle.id]
    with pytest.raises(ValueError, match="the testbed's clock moves forward: -1 is less"):
        bed.advance(-1)


def test_jobs_of_what_is_no_status_are_not_simply_none(bed: Testbed) -> None:
    send_mail.enqueue(to="ada")
    assert len(bed.jobs(status="pending")) == 1
    with pytest.raises(ValueError, match="'done' is not a valid Status"):
        bed.jobs(status="done")
