"""How attempts end: `finish` (rules 3, 4, 5, 9)."""

from __future__ import annotations

import asyncio

import pytest

from faena.errors import IllegalStep
from faena.events import EventType
from faena.job import OUTCOMES, Failure, Job, Outcome, Status, Step
from faena.ports.store import StoreOptions
from faena.testing.clock import FakeClock
from faena.testing.desk import BOOM, Desk
from faena.testing.stores.base import OpenDesk, StoreSuite

STEPS = sorted(OUTCOMES)
OPTIONS = StoreOptions()


def _outcome(job: Job, step: Step = Step.COMPLETE, token: int | None = None) -> Outcome:
    return Outcome(job_id=job.id, token=job.token if token is None else token, step=step, error=BOOM)


class Finishing(StoreSuite):
    async def test_a_completed_job_keeps_its_result(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running()
        clock.advance(3)
        assert await desk.finish(job, result=b'{"sum":2}')
        ended = await desk.look(job)
        assert (ended.status, ended.result, ended.attempt) == (Status.COMPLETED, b'{"sum":2}', 1)
        assert (ended.finished_at, ended.lease_until) == (clock.now, None)

    async def test_a_completed_job_shows_progress_100(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, progress=40)
        await desk.finish(job)
        assert (await desk.look(job)).progress == 100
        assert (await desk.last_event(job)).progress == 100

    async def test_a_failed_job_keeps_its_progress_and_its_error(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running()
        await desk.report(job, progress=40)
        assert await desk.finish(job, Step.FAIL, error=BOOM)
        ended = await desk.look(job)
        assert (ended.status, ended.progress, ended.error) == (Status.FAILED, 40, BOOM)
        assert ended.finished_at == clock.now

    async def test_a_holder_may_end_its_job_cancelled(self, desk: Desk) -> None:
        job = await desk.running()
        assert await desk.finish(job, Step.CANCEL)
        assert (await desk.look(job)).status is Status.CANCELLED

    async def test_a_retry_waits_for_its_delay(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running(max_attempts=2)
        assert await desk.finish(job, Step.RETRY, error=BOOM, delay=30)
        waiting = await desk.look(job)
        assert (waiting.status, waiting.due_at, waiting.attempt) == (Status.SCHEDULED, clock.now + 30, 1)
        assert (waiting.error, waiting.finished_at, waiting.lease_until) == (BOOM, None, None)

    async def test_a_retry_with_no_attempt_left_fails(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue(max_attempts=2)
        await desk.finish(await desk.take(job), Step.RETRY, error=BOOM)
        await desk.store.promote(limit=10)
        assert await desk.finish(await desk.take(job), Step.RETRY, error=BOOM, delay=30)
        ended = await desk.look(job)
        assert (ended.status, ended.attempt, ended.error) == (Status.FAILED, 2, BOOM)
        assert ended.finished_at == clock.now
        assert await desk.claim_next() == []

    async def test_a_snooze_waits_and_gives_the_attempt_back(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running(max_attempts=1)
        assert await desk.finish(job, Step.SNOOZE, delay=45)
        waiting = await desk.look(job)
        assert (waiting.status, waiting.due_at, waiting.attempt) == (Status.SCHEDULED, clock.now + 45, 0)

    async def test_a_release_is_pending_at_once_and_gives_the_attempt_back(self, desk: Desk) -> None:
        job = await desk.running(max_attempts=1)
        assert await desk.finish(job, Step.RELEASE)
        waiting = await desk.look(job)
        assert (waiting.status, waiting.attempt, waiting.crashes) == (Status.PENDING, 0, 0)
        assert (await desk.take(job)).attempt == 1

    @pytest.mark.parametrize("step", STEPS)
    async def test_an_outcome_makes_one_status_event(self, desk: Desk, clock: FakeClock, step: Step) -> None:
        job = await desk.running(max_attempts=2)
        clock.advance(1)
        await desk.finish(job, step, error=BOOM if step in (Step.FAIL, Step.RETRY) else None)
        ended = await desk.look(job)
        event = await desk.last_event(job)
        assert (event.seq, event.type, event.status) == (3, EventType.STATUS, ended.status)
        assert (event.at, ended.seq) == (clock.now, 3)

    @pytest.mark.parametrize("step", STEPS)
    async def test_the_event_bears_the_number_of_the_run(self, desk: Desk, step: Step) -> None:
        job = await desk.running(max_attempts=2)
        await desk.finish(job, step)
        assert (await desk.last_event(job)).attempt == 1

    @pytest.mark.parametrize("step", [Step.FAIL, Step.RETRY])
    async def test_the_event_of_a_failure_tells_its_type_and_message(self, desk: Desk, step: Step) -> None:
        job = await desk.running(max_attempts=2)
        await desk.finish(job, step, error=BOOM)
        assert (await desk.last_event(job)).message == "ValueError: boom"

    @pytest.mark.parametrize("step", STEPS)
    async def test_nobody_holds_a_job_whose_attempt_ended(self, desk: Desk, step: Step) -> None:
        job = await desk.running(max_attempts=2)
        await desk.finish(job, step)
        ended = await desk.look(job)
        assert (ended.lease_until, ended.token) == (None, job.token)

    @pytest.mark.parametrize("step", STEPS)
    async def test_a_final_job_tells_who_ran_it_and_a_waiting_one_nobody(
        self, desk: Desk, step: Step
    ) -> None:
        job = await desk.running(max_attempts=2)
        await desk.finish(job, step)
        ended = await desk.look(job)
        assert ended.worker == ("w" if ended.status.final else None)

    async def test_a_job_that_succeeds_in_the_end_has_no_error(self, desk: Desk) -> None:
        job = await desk.running(max_attempts=2)
        await desk.finish(job, Step.RETRY, error=BOOM)
        await desk.store.promote(limit=10)
        await desk.finish(await desk.take(job), result=b"1")
        assert (await desk.look(job)).error is None

    @pytest.mark.parametrize("step", [Step.COMPLETE, Step.SNOOZE, Step.RELEASE])
    async def test_the_message_of_an_outcome_is_told(self, desk: Desk, step: Step) -> None:
        job = await desk.running()
        await desk.finish(job, step, message="so it is")
        assert (await desk.last_event(job)).message == "so it is"

    @pytest.mark.parametrize("step", [Step.FAIL, Step.RETRY])
    async def test_the_failure_is_told_even_beside_a_message(self, desk: Desk, step: Step) -> None:
        job = await desk.running(max_attempts=2)
        outcome = Outcome(job_id=job.id, token=job.token, step=step, error=BOOM, message="a note")
        assert await desk.store.finish([outcome]) == [True]
        assert (await desk.last_event(job)).message == f"{BOOM.type}: {BOOM.message}"
        assert (await desk.look(job)).message == "a note"

    async def test_a_failure_without_words_is_told_by_its_type(self, desk: Desk) -> None:
        job = await desk.running(max_attempts=2)
        await desk.finish(job, Step.RETRY, error=Failure(type="Retry", message=""))
        assert (await desk.last_event(job)).message == "Retry"

    async def test_a_step_that_ends_no_attempt_is_refused(self, desk: Desk) -> None:
        job = await desk.running()
        with pytest.raises(IllegalStep):
            await desk.finish(job, Step.PROMOTE)
        assert (await desk.look(job)).status is Status.PROCESSING

    async def test_a_failure_may_have_no_traceback(self, desk: Desk) -> None:
        job = await desk.running()
        failure = Failure(type="Timeout", message="")
        await desk.finish(job, Step.FAIL, error=failure)
        assert (await desk.look(job)).error == failure

    async def test_the_error_of_the_last_attempt_is_the_one_kept(self, desk: Desk) -> None:
        job = await desk.enqueue(max_attempts=3)
        for message in ("first", "second"):
            error = Failure(type="ValueError", message=message)
            await desk.finish(await desk.take(job), Step.RETRY, error=error)
            await desk.store.promote(limit=10)
            assert (await desk.look(job)).error == error

    # How long it is kept

    async def test_how_long_a_job_is_kept_goes_by_its_status(
        self, open_desk: OpenDesk, clock: FakeClock
    ) -> None:
        desk = await open_desk(result_ttl=100, failure_ttl=200)
        kept = [(Status.COMPLETED, 100), (Status.CANCELLED, 100), (Status.FAILED, 200)]
        for status, ttl in kept:
            assert (await desk.in_status(status)).expires_at == clock.now + ttl

    async def test_an_outcome_may_say_how_long_it_is_kept(self, desk: Desk, clock: FakeClock) -> None:
        done, failed = await desk.running(), await desk.running()
        await desk.finish(done, ttl=7)
        await desk.finish(failed, Step.FAIL, error=BOOM, ttl=8)
        assert (await desk.look(done)).expires_at == clock.now + 7
        assert (await desk.look(failed)).expires_at == clock.now + 8

    async def test_a_live_job_does_not_expire(self, desk: Desk) -> None:
        for status in (Status.SCHEDULED, Status.PENDING, Status.PROCESSING):
            assert (await desk.in_status(status)).expires_at is None

    # Final is final (rule 4)

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    async def test_nothing_happens_to_a_final_job(self, desk: Desk, clock: FakeClock, status: Status) -> None:
        job = await desk.in_status(status)
        clock.advance(60)
        await desk.store.finish([_outcome(job, step, token) for step in STEPS for token in (0, 1, 2)])
        await desk.store.cancel([job.id])
        await desk.store.purge("default", limit=10)
        await desk.store.promote(limit=10)
        await desk.store.rescue(limit=10)
        await desk.claim(job)
        await desk.report(job, progress=99)
        assert await desk.look(job) == job
        assert len(await desk.events(job)) == job.seq

    # Repeated (rule 9)

    @pytest.mark.parametrize("step", STEPS)
    async def test_a_repeated_outcome_is_accepted_and_changes_nothing(
        self, desk: Desk, clock: FakeClock, step: Step
    ) -> None:
        job = await desk.running(max_attempts=3)
        assert await desk.finish(job, step, error=BOOM, delay=10)
        after = await desk.look(job)
        clock.advance(5)
        assert await desk.finish(job, step, error=BOOM, delay=10)
        assert await desk.look(job) == after

    @pytest.mark.parametrize("step", [Step.RETRY, Step.SNOOZE, Step.RELEASE])
    async def test_a_repeated_outcome_that_ended_otherwise_is_accepted_too(
        self, desk: Desk, step: Step
    ) -> None:
        job = await desk.running()
        await desk.store.cancel([job.id])
        assert await desk.finish(job, step, error=BOOM)
        after = await desk.look(job)
        assert after.status is Status.CANCELLED
        assert await desk.finish(job, step, error=BOOM)
        assert await desk.look(job) == after

    @pytest.mark.parametrize("second", STEPS)
    async def test_the_first_outcome_of_an_attempt_stands(self, desk: Desk, second: Step) -> None:
        job = await desk.running(max_attempts=3)
        await desk.finish(job, Step.COMPLETE, result=b"1")
        after = await desk.look(job)
        await desk.finish(job, second, result=b"2", error=BOOM)
        assert await desk.look(job) == after

    async def test_a_repeated_outcome_does_not_touch_the_next_attempt(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.finish(job, Step.RELEASE)
        again = await desk.take(job)
        await desk.finish(job, Step.RELEASE)
        assert await desk.look(job) == again

    async def test_an_outcome_sent_ten_times_at_once_is_recorded_once(self, desk: Desk) -> None:
        job = await desk.running()
        answers = await asyncio.gather(*(desk.finish(job, result=b"1") for _ in range(10)))
        assert answers == [True] * 10
        assert (await desk.look(job)).seq == 3

    # Stale (rule 3)

    @pytest.mark.parametrize("step", STEPS)
    async def test_a_late_finish_is_refused(self, desk: Desk, step: Step) -> None:
        stale = await desk.running(max_attempts=3)
        waiting = await desk.crash(stale)
        assert not await desk.finish(stale, step, error=BOOM)
        assert await desk.look(stale) == waiting
        held = await desk.take(stale)
        assert not await desk.finish(stale, step, error=BOOM)
        assert await desk.look(stale) == held
        assert await desk.finish(held, result=b"1")
        assert not await desk.finish(stale, step, error=BOOM)
        assert (await desk.look(held)).result == b"1"

    async def test_an_outcome_of_an_earlier_attempt_does_not_vouch_for_a_stale_one(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.finish(job, Step.RELEASE)
        stale = await desk.take(job)
        waiting = await desk.crash(stale)
        assert not await desk.finish(stale, Step.RELEASE)
        assert await desk.look(job) == waiting

    async def test_a_job_that_nobody_holds_cannot_be_finished(self, desk: Desk) -> None:
        for status in (Status.SCHEDULED, Status.PENDING):
            job = await desk.in_status(status)
            assert await desk.store.finish([_outcome(job, token=token) for token in (0, 1)]) == [False, False]
            assert await desk.look(job) == job

    async def test_a_cancelled_job_refuses_its_former_holder(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.finish(job, Step.RELEASE)
        await desk.store.cancel([job.id])
        ended = await desk.look(job)
        assert not await desk.finish(job, Step.COMPLETE, result=b"1")
        assert await desk.look(job) == ended

    async def test_outcomes_are_answered_in_order_good_and_stale_mixed(self, desk: Desk) -> None:
        good, stale, second = await desk.running(), await desk.running(), await desk.running()
        await desk.finish(stale, Step.RELEASE)
        outcomes = [
            _outcome(stale),
            _outcome(good),
            Outcome(job_id="no-such-job", token=1, step=Step.COMPLETE),
            _outcome(second, token=5),
            _outcome(second, Step.FAIL),
        ]
        assert await desk.store.finish(outcomes) == [False, True, False, False, True]
        statuses = [(await desk.look(job)).status for job in (good, stale, second)]
        assert statuses == [Status.COMPLETED, Status.PENDING, Status.FAILED]
        assert await desk.store.finish([]) == []
        await desk.check_counts()

    async def test_two_outcomes_of_one_attempt_in_one_call_are_recorded_once(self, desk: Desk) -> None:
        job = await desk.running()
        assert await desk.store.finish([_outcome(job), _outcome(job)]) == [True, True]
        assert (await desk.look(job)).seq == 3
        await desk.check_counts()
