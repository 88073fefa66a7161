"""What becomes of an attempt, from its claim to its finish."""

from __future__ import annotations

import asyncio
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import crew_kit
from crew_kit import crew
from faena import Context, InvalidOptions, Retry, Snooze
from faena.errors import SoftTimeout, Stale, StoreDown, StoreFault, StoreFull
from faena.job import Failure, Outcome, Status
from faena.outcomes import MAX_RESULT, MAX_TRACEBACK
from faena.ports.records import Held, Report
from faena.stores.memory import MemoryStore


def failure(error: Failure | None) -> Failure:
    assert error is not None
    return error


async def test_an_async_function_completes_with_its_result() -> None:
    async with crew() as at_work:
        job = await at_work.run("add", a=1)
    assert (job.status, job.result, job.progress) == (Status.COMPLETED, b"3", 100.0)


async def test_a_plain_function_completes_with_its_result() -> None:
    async with crew() as at_work:
        job = await at_work.run("plain_add", a=1, b=5)
    assert (job.status, job.result) == (Status.COMPLETED, b"6")


async def test_a_job_whose_task_this_worker_does_not_know_waits_for_one_that_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with crew() as at_work:
        for _ in range(2):
            job_id = await at_work.enqueue("no_such_task", max_attempts=1)
            job = await at_work.until(job_id, lambda story: story.job.status is Status.SCHEDULED)
            assert job.message == "this worker knows no task named no_such_task; another one may"
            assert (job.attempt, job.error) == (0, None)
            assert 25 < job.due_at - job.created_at < 35
    assert len([line for line in caplog.messages if "no task named no_such_task" in line]) == 1


async def test_arguments_that_do_not_fit_any_more_fail_at_once() -> None:
    async with crew() as at_work:
        job_id = crew_kit.JobFactory(milliseconds=1).new(task="add", args=b'{"c": 1}', max_attempts=5)
        await at_work.store.insert([job_id])
        job = await at_work.final(job_id.id)
    assert (job.status, job.attempt, failure(job.error).type) == (Status.FAILED, 1, "InvalidArguments")
    assert "Was the task changed" in failure(job.error).message


async def test_a_failure_is_tried_again_until_it_works() -> None:
    async with crew() as at_work:
        job = await at_work.run("fails", times=2)
    assert (job.status, job.attempt, job.result) == (Status.COMPLETED, 3, b'"done at last"')


async def test_a_failure_that_stays_fails_with_a_traceback_of_the_functions_own_frames() -> None:
    async with crew() as at_work:
        job = await at_work.run("fails", times=9, max_attempts=2)
    told = failure(job.error)
    assert (job.status, job.attempt, told.type, told.message) == (Status.FAILED, 2, "ValueError", "not yet")
    assert told.traceback is not None
    assert "crew_kit.py" in told.traceback
    assert "faena/executor.py" not in told.traceback
    assert "faena/runners.py" not in told.traceback


async def test_a_plain_functions_traceback_is_its_own_too() -> None:
    crew_kit.new_gate().open.set()
    crew_kit.gate.after = lambda ctx: [][1]
    async with crew() as at_work:
        job = await at_work.run("passes_the_gate")
    traceback = failure(job.error).traceback
    assert traceback is not None
    assert "test_executor.py" in traceback
    assert "src/faena/" not in traceback


async def test_an_endless_message_is_kept_short() -> None:
    crew_kit.new_gate().open.set()

    def raise_much(_: object) -> None:
        raise ValueError("x" * 1_000_000)

    crew_kit.gate.after = raise_much
    async with crew() as at_work:
        job = await at_work.run("passes_the_gate")
    assert len(failure(job.error).message) == 2000
    assert len(failure(job.error).traceback or "") <= MAX_TRACEBACK


async def test_a_failure_that_names_a_file_with_a_broken_name_can_be_stored() -> None:
    crew_kit.new_gate().open.set()

    def miss_file(_: object) -> None:
        raise FileNotFoundError("no file \udcff.jpg")

    crew_kit.gate.after = miss_file
    async with crew() as at_work:
        job = await at_work.run("passes_the_gate")
    assert failure(job.error).message == "no file \\udcff.jpg"
    assert "no file \\udcff.jpg" in (failure(job.error).traceback or "")


async def test_a_failure_that_is_not_in_retry_on_is_final() -> None:
    async with crew() as at_work:
        job = await at_work.run("fails_otherwise")
    assert (job.status, job.attempt) == (Status.FAILED, 1)


async def test_a_function_may_ask_for_a_retry() -> None:
    async with crew() as at_work:
        job = await at_work.run("asks_for_retry")
    assert (job.status, job.attempt) == (Status.COMPLETED, 2)


async def test_a_snoozed_job_runs_again_without_having_spent_an_attempt() -> None:
    async with crew() as at_work:
        job = await at_work.run("snoozes")
    assert (job.status, job.attempt, job.result) == (Status.COMPLETED, 1, b'"awake"')


@pytest.mark.parametrize("kind", [Snooze, lambda after: Retry("busy", after=after)], ids=["Snooze", "Retry"])
@pytest.mark.parametrize(
    "after",
    ["Wed, 21 Oct 2026 07:28:00 GMT", "5", [], True, math.nan, math.inf, pytest.param(10**400, id="huge")],
)
async def test_a_wait_that_is_no_duration_fails_the_job_and_leaves_the_slot_free(
    kind: Callable[[object], Exception], after: object
) -> None:
    crew_kit.new_gate().open.set()

    def wait_for_it(_: object) -> None:
        raise kind(after)

    crew_kit.gate.after = wait_for_it
    async with crew(threads=1) as at_work:
        job = await at_work.run("passes_the_gate")
        assert (await at_work.run("add", a=1)).status is Status.COMPLETED
    assert (job.status, failure(job.error).type) == (Status.FAILED, "InvalidOptions")
    assert "takes after in seconds or as a timedelta, not" in failure(job.error).message


async def test_an_exception_that_can_not_be_read_fails_the_job_and_leaves_the_slot_free() -> None:
    crew_kit.new_gate().open.set()

    class Broken(Retry):
        @property
        def after(self) -> float:
            raise RuntimeError("nobody knows when")

        @after.setter
        def after(self, value: object) -> None: ...

    def raise_it(_: object) -> None:
        raise Broken("busy")

    crew_kit.gate.after = raise_it
    async with crew(threads=1) as at_work:
        job = await at_work.run("passes_the_gate", max_attempts=2)
        assert (await at_work.run("add", a=1)).status is Status.COMPLETED
    assert (job.status, failure(job.error).type) == (Status.FAILED, "OutcomeRefused")
    assert "RuntimeError: nobody knows when" in failure(job.error).message


def test_a_wait_crosses_processes_and_may_lie_in_the_past() -> None:
    again = pickle.loads(pickle.dumps(Snooze(-3, "the file is not there yet")))
    assert (again.after, str(again)) == (-3, "the file is not there yet")
    with pytest.raises(InvalidOptions):
        Snooze(None)


async def test_sys_exit_fails_the_job_and_not_the_worker() -> None:
    async with crew() as at_work:
        from_async = await at_work.run("exits", code=3)
        from_plain = await at_work.run("plain_exits", code=3)
        after = await at_work.run("add", a=1)
    assert [failure(job.error).type for job in (from_async, from_plain)] == ["SystemExit", "SystemExit"]
    assert after.status is Status.COMPLETED


async def test_a_result_that_is_no_json_fails_without_another_try() -> None:
    async with crew() as at_work:
        job = await at_work.run("returns_a_lock")
    assert (job.status, job.attempt, failure(job.error).type) == (Status.FAILED, 1, "InvalidResult")


async def test_a_result_that_is_too_large_fails_without_another_try() -> None:
    async with crew() as at_work:
        job = await at_work.run("returns_much", size=MAX_RESULT)
    assert (job.status, job.attempt, failure(job.error).type) == (Status.FAILED, 1, "ResultTooLarge")


async def test_what_a_function_tells_is_stored_in_order_before_its_end() -> None:
    async with crew() as at_work:
        for task in ("tells", "plain_tells"):
            job = await at_work.run(task, steps=300)
            events = [event for event in await at_work.events(job.id) if event.event == "step"]
            assert [event.data["number"] for event in events] == list(range(300))
        story = await at_work.store.story((await at_work.run("tells", steps=1)).id)
    assert story is not None
    assert (story.events[-2].event, story.events[-2].data) == ("warning", {"where": "here"})


async def test_the_time_of_an_async_function_is_kept() -> None:
    async with crew() as at_work:
        job = await at_work.run("takes_too_long")
    assert (job.status, failure(job.error).type) == (Status.FAILED, "Timeout")
    assert "0.05 s" in failure(job.error).message


async def test_a_function_that_returns_in_its_grace_time_completes() -> None:
    async with crew() as at_work:
        job = await at_work.run("takes_too_long", clean_up=True)
    assert (job.status, job.result) == (Status.COMPLETED, b'"cleaned up in time"')


async def test_an_async_function_that_swallows_its_timeout_is_left_behind(tmp_path: Path) -> None:
    async with crew(threads=1) as at_work:
        job = await at_work.run("ignores_its_timeout", path=str(tmp_path / "end"))
        assert failure(job.error).type == "Timeout"
        assert (await at_work.run("add", a=1)).status is Status.COMPLETED  # its slot is free
        assert at_work.worker.stuck == 1
        (tmp_path / "end").touch()


async def test_a_plain_function_that_takes_too_long_is_left_behind_and_fenced() -> None:
    gate = crew_kit.new_gate()
    gate.after = lambda ctx: ctx.progress(99)
    async with crew(threads=1) as at_work:
        job_id = await at_work.enqueue("passes_the_gate", timeout=0.05)
        job = await at_work.final(job_id)
        assert (job.status, failure(job.error).type) == (Status.FAILED, "Timeout")
        assert (await at_work.run("plain_add", a=1)).status is Status.COMPLETED  # its slot is free
        assert at_work.worker.stuck == 1
        gate.open.set()
        await asyncio.to_thread(gate.left.wait, 5)
        story = await at_work.store.story(job_id)
    assert isinstance(gate.raised, Stale)
    assert story is not None
    assert (story.job.status, story.job.progress) == (Status.FAILED, 0.0)


async def test_a_plain_function_that_ignores_a_cancellation_still_has_a_timeout() -> None:
    gate = crew_kit.new_gate()
    async with crew(cancel_grace=0.01) as at_work:
        job_id = await at_work.enqueue("passes_the_gate", timeout=2.0)
        await asyncio.to_thread(gate.entered.wait, 5)
        await at_work.store.cancel([job_id])
        job = await at_work.final(job_id)
        gate.open.set()
    assert job.status is Status.CANCELLED


async def test_a_plain_function_gets_the_end_of_its_time_at_its_next_report() -> None:
    gate = crew_kit.new_gate()
    gate.after = report_until_refused
    gate.open.set()
    async with crew() as at_work:
        job = await at_work.run("passes_the_gate", timeout=0.02)
    assert isinstance(gate.raised, SoftTimeout)
    assert (job.status, failure(job.error).type) == (Status.FAILED, "Timeout")


def report_until_refused(ctx: Context) -> None:
    while True:
        ctx.progress(1)


async def test_a_cancelled_job_raises_at_the_functions_next_report() -> None:
    async with crew() as at_work:
        job_id = await at_work.enqueue("heeds_cancellation")
        await at_work.processing(job_id)
        await at_work.store.cancel([job_id])
        job = await at_work.final(job_id)
    assert job.status is Status.CANCELLED


async def test_a_function_that_returns_after_a_cancellation_completes() -> None:
    async with crew() as at_work:
        job_id = await at_work.enqueue("finishes_all_the_same")
        await at_work.processing(job_id)
        await at_work.store.cancel([job_id])
        job = await at_work.final(job_id)
    assert (job.status, job.result) == (Status.COMPLETED, b'"its work was done"')


async def test_an_async_function_that_only_waits_is_cancelled_after_the_grace_time() -> None:
    async with crew(cancel_grace=0.05) as at_work:
        job_id = await at_work.enqueue("waits_for_ever")
        await at_work.started(job_id)
        await at_work.store.cancel([job_id])
        job = await at_work.final(job_id)
    assert job.status is Status.CANCELLED


async def test_a_function_may_call_its_job_off_itself() -> None:
    async with crew() as at_work:
        job = await at_work.run("says_itself_cancelled")
    assert (job.status, job.message) == (Status.CANCELLED, "of my own accord")


class Picky(MemoryStore):
    """Takes no result."""

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bool]:
        if any(outcome.result is not None for outcome in outcomes):
            raise ValueError("not to my taste")
        return await super().finish(outcomes)


async def test_a_job_whose_outcome_the_store_refuses_fails_and_says_so() -> None:
    async with crew(store=Picky()) as at_work:
        job = await at_work.run("add", a=1)
    assert (job.status, failure(job.error).type) == (Status.FAILED, "OutcomeRefused")
    assert "not to my taste" in failure(job.error).message


class Away(MemoryStore):
    """Refuses the next calls that write of a running job."""

    away = 0

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bool]:
        self._refuse()
        return await super().finish(outcomes)

    async def report(self, reports: Sequence[Report]) -> list[Held]:
        self._refuse()
        return await super().report(reports)

    def _refuse(self) -> None:
        if self.away > 0:
            self.away -= 1
            raise StoreDown("gone for a moment")


async def test_reports_and_outcomes_wait_for_a_store_that_is_away() -> None:
    store = Away()
    store.away = 4
    async with crew(store=store) as at_work:
        job = await at_work.run("tells", steps=5)
        assert len(await at_work.events(job.id)) == 6
    assert (job.status, store.away) == (Status.COMPLETED, 0)


class Full(MemoryStore):
    """Has no room for what jobs tell, nor for the first outcomes."""

    outcomes = 0

    async def report(self, reports: Sequence[Report]) -> list[Held]:
        if self.outcomes >= 0:
            raise StoreFull("there is no room")
        return await super().report(reports)

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bool]:
        if self.outcomes > 0:
            self.outcomes -= 1
            if self.outcomes == 0:
                self.outcomes = -1
            raise StoreFull("there is no room")
        return await super().finish(outcomes)


async def test_a_job_ends_though_a_full_store_does_not_take_what_it_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with crew(store=Full()) as at_work:
        job = await at_work.run("tells", steps=5)
        assert [event.type for event in await at_work.events(job.id)] == []
    assert job.status is Status.COMPLETED
    assert "the last that the function told is lost" in caplog.text


async def test_what_was_told_is_kept_while_a_full_store_does_not_take_the_outcome_either(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Full()
    store.outcomes = 2
    async with crew(store=store) as at_work:
        job = await at_work.run("tells", steps=5)
        assert len(await at_work.events(job.id)) == 6
    assert job.status is Status.COMPLETED
    assert "is lost" not in caplog.text


class Faulty(MemoryStore):
    """Can't store results, now or later."""

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bool]:
        if any(outcome.result is not None for outcome in outcomes):
            raise StoreFault("NOT NULL constraint failed")
        return await super().finish(outcomes)


async def test_a_fault_of_the_store_that_would_repeat_is_not_waited_for() -> None:
    async with crew(store=Faulty()) as at_work:
        job = await at_work.run("add", a=1)
    assert (job.status, failure(job.error).type) == (Status.FAILED, "OutcomeRefused")
    assert "NOT NULL" in failure(job.error).message
