"""What a running job tells: `report` (rules 3, 5, 9)."""

from __future__ import annotations

from typing import Any

import pytest

from faena.events import EventType, NewEvent
from faena.job import Status, Step
from faena.ports.records import Held, Report
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.stores.base import StoreSuite

EVENT = NewEvent(
    type=EventType.EVENT, event="thumbnail_generated", data={"path": "t.jpg", "size": [300, 200]}
)
LOG = NewEvent(type=EventType.LOG, event="info", message="reading")


class Reporting(StoreSuite):
    async def test_progress_and_message_are_kept_on_the_job(self, desk: Desk) -> None:
        job = await desk.running()
        assert await desk.report(job, progress=30, message="reading") == Held(held=True)
        now = await desk.look(job)
        assert (now.progress, now.message, now.status) == (30, "reading", Status.PROCESSING)

    async def test_progress_and_its_message_are_one_event(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running()
        clock.advance(2)
        await desk.report(job, progress=30, message="reading")
        event = await desk.last_event(job)
        assert (event.seq, event.type, event.status) == (3, EventType.PROGRESS, Status.PROCESSING)
        assert (event.progress, event.message, event.attempt, event.at) == (30, "reading", 1, clock.now)

    async def test_a_message_alone_is_a_progress_event(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, progress=30)
        await desk.report(job, number=2, message="writing")
        event = await desk.last_event(job)
        assert (event.type, event.progress, event.message) == (EventType.PROGRESS, 30, "writing")

    async def test_progress_that_did_not_change_makes_no_event(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, progress=30, message="reading")
        await desk.report(job, number=2, progress=30, message="reading")
        assert (await desk.look(job)).seq == 3

    async def test_a_report_without_a_message_keeps_the_one_before(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, progress=30, message="reading")
        await desk.report(job, number=2, progress=40)
        now = await desk.look(job)
        assert (now.progress, now.message) == (40, "reading")

    async def test_progress_never_falls_within_an_attempt(self, desk: Desk) -> None:
        job = await desk.running()
        for number, progress in enumerate((10, 60, 20, 59.9, 60, 70), start=1):
            await desk.report(job, number=number, progress=progress)
        told = [event.progress for event in await desk.events(job) if event.type is EventType.PROGRESS]
        assert told == [10, 60, 70]

    async def test_a_lower_progress_is_raised_and_its_message_told(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, progress=60)
        await desk.report(job, number=2, progress=20, message="again")
        event = await desk.last_event(job)
        assert (event.progress, event.message) == (60, "again")

    @pytest.mark.parametrize("step", [Step.RETRY, Step.RELEASE])
    async def test_progress_starts_at_zero_in_a_new_attempt(self, desk: Desk, step: Step) -> None:
        job = await desk.running(max_attempts=2)
        await desk.report(job, progress=60)
        await desk.finish(job, step)
        await desk.store.promote(limit=10)
        again = await desk.take(job)
        assert again.progress == 0
        assert (await desk.last_event(job)).progress == 0
        await desk.report(again, progress=5)
        assert (await desk.look(job)).progress == 5

    async def test_events_are_recorded_in_order_after_the_progress(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, progress=30, message="half", events=(EVENT, LOG, EVENT))
        events = (await desk.events(job))[2:]
        assert [event.seq for event in events] == [3, 4, 5, 6]
        kinds = [EventType.PROGRESS, EventType.EVENT, EventType.LOG, EventType.EVENT]
        assert [event.type for event in events] == kinds
        assert [event.progress for event in events] == [30, 30, 30, 30]

    async def test_an_event_keeps_its_name_message_and_data(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, events=(EVENT, LOG))
        event, log = (await desk.events(job))[2:]
        assert (event.event, event.data, event.status) == (EVENT.event, EVENT.data, Status.PROCESSING)
        assert (log.event, log.message, log.data) == ("info", "reading", None)

    async def test_events_alone_make_no_progress_event(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, events=(LOG,))
        assert [event.type for event in (await desk.events(job))[2:]] == [EventType.LOG]

    async def test_a_checkpoint_is_kept_without_an_event(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, checkpoint=b'{"page":3}')
        now = await desk.look(job)
        assert (now.checkpoint, now.seq) == (b'{"page":3}', job.seq)

    @pytest.mark.parametrize("step", [Step.RETRY, Step.SNOOZE, Step.RELEASE, Step.RESCUE])
    async def test_a_checkpoint_comes_back_in_the_next_claim(self, desk: Desk, step: Step) -> None:
        job = await desk.running(max_attempts=2)
        await desk.report(job, checkpoint=b"1")
        await desk.report(job, number=2, checkpoint=b"2")
        await desk.report(job, number=3, progress=50)
        if step is Step.RESCUE:
            await desk.crash(job)
        else:
            await desk.finish(job, step)
        await desk.store.promote(limit=10)
        assert (await desk.take(job)).checkpoint == b"2"

    async def test_a_report_tells_of_a_cancellation(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.store.cancel([job.id])
        assert await desk.report(job, progress=5) == Held(held=True, cancel_requested=True)
        assert (await desk.look(job)).progress == 5

    # Repeated (rule 9)

    async def test_a_repeated_report_changes_nothing(self, desk: Desk) -> None:
        job = await desk.running()
        parts: dict[str, Any] = {
            "progress": 30,
            "message": "half",
            "events": (EVENT, LOG),
            "checkpoint": b"1",
        }
        first = await desk.report(job, **parts)
        after = await desk.look(job)
        assert await desk.report(job, **parts) == first
        assert await desk.look(job) == after
        assert len(await desk.events(job)) == after.seq

    async def test_an_older_report_that_comes_late_changes_nothing(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, number=1, checkpoint=b"1")
        await desk.report(job, number=2, checkpoint=b"2")
        assert await desk.report(job, number=1, checkpoint=b"1", events=(LOG,)) == Held(held=True)
        now = await desk.look(job)
        assert (now.checkpoint, now.seq) == (b"2", job.seq)

    async def test_reports_are_numbered_anew_in_each_attempt(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, number=5, progress=50)
        await desk.finish(job, Step.RELEASE)
        again = await desk.take(job)
        await desk.report(again, number=1, progress=10)
        assert (await desk.look(job)).progress == 10

    # Stale (rule 3)

    async def test_a_report_with_a_stale_token_changes_nothing(self, desk: Desk) -> None:
        stale = await desk.running()
        await desk.crash(stale)
        held = await desk.take(stale)
        position = await desk.position()
        for parts in ({"progress": 99}, {"message": "late"}, {"events": (EVENT,)}, {"checkpoint": b"late"}):
            assert await desk.report(stale, number=9, **parts) == Held(held=False)
        assert await desk.look(stale) == held
        assert await desk.told_since(position) == []

    async def test_a_stale_report_does_not_use_up_the_number_of_a_good_one(self, desk: Desk) -> None:
        stale = await desk.running()
        await desk.crash(stale)
        held = await desk.take(stale)
        await desk.report(stale, number=1, progress=99)
        await desk.report(held, number=1, progress=10)
        assert (await desk.look(held)).progress == 10

    async def test_a_report_after_a_rescue_is_stale_before_the_next_claim(self, desk: Desk) -> None:
        stale = await desk.running()
        waiting = await desk.crash(stale)
        assert await desk.report(stale, progress=99, events=(EVENT,)) == Held(held=False)
        assert await desk.look(stale) == waiting

    @pytest.mark.parametrize(
        "step", [Step.COMPLETE, Step.FAIL, Step.RETRY, Step.SNOOZE, Step.RELEASE, Step.CANCEL]
    )
    async def test_a_report_after_the_end_of_the_attempt_changes_nothing(
        self, desk: Desk, step: Step
    ) -> None:
        job = await desk.running(max_attempts=2)
        await desk.finish(job, step)
        ended = await desk.look(job)
        late = await desk.report(job, progress=99, message="late", events=(EVENT,), checkpoint=b"late")
        assert not late.held
        assert await desk.look(job) == ended

    async def test_a_token_that_was_never_given_changes_nothing(self, desk: Desk) -> None:
        job = await desk.running()
        for token in (job.token + 1, 0, -1):
            report = Report(job_id=job.id, token=token, number=1, progress=99)
            assert await desk.store.report([report]) == [Held(held=False)]
        assert await desk.look(job) == job

    async def test_reports_are_answered_in_order_good_and_stale_mixed(self, desk: Desk) -> None:
        good, ended, second = await desk.running(), await desk.running(), await desk.running()
        await desk.finish(ended)
        await desk.store.cancel([second.id])
        whose = [(ended.id, 1), (good.id, 1), ("no-such-job", 1), (good.id, 7), (second.id, 1)]
        held = await desk.store.report(
            [Report(job_id=job_id, token=token, number=1, progress=50) for job_id, token in whose]
        )
        assert [one.held for one in held] == [False, True, False, False, True]
        assert [one.cancel_requested for one in held] == [False, False, False, False, True]
        assert (await desk.look(good)).progress == 50
        assert await desk.store.report([]) == []

    async def test_reports_of_one_job_in_one_call_are_recorded_in_order(self, desk: Desk) -> None:
        job = await desk.running()
        reports = [
            Report(job_id=job.id, token=1, number=n, progress=n * 10, events=(LOG,)) for n in (1, 2, 2, 3)
        ]
        assert await desk.store.report(reports) == [Held(held=True)] * 4
        told = [(event.seq, event.type, event.progress) for event in (await desk.events(job))[2:]]
        progress, log = EventType.PROGRESS, EventType.LOG
        expected = [(progress, 10), (log, 10), (progress, 20), (log, 20), (progress, 30), (log, 30)]
        assert told == [(seq, kind, value) for seq, (kind, value) in enumerate(expected, start=3)]
