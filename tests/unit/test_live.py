"""What a listener is promised, whatever its speed and whatever the log loses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from faena import live as live_module
from faena.errors import NotFound, StoreDown
from faena.events import Event, EventType, Told
from faena.job import Status
from faena.live import Live
from faena.streams import Buffer, JobStream, Lagged, Snapshot
from live_kit import JOB, OTHER, ScriptedLog, rest, seqs, settled, take


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


@pytest.fixture
async def live(log: ScriptedLog) -> AsyncIterator[Live]:
    live = Live(log, buffer=4)
    yield live
    await live.close()


async def test_a_stream_begins_with_a_snapshot_goes_on_and_ends_with_the_final_event(
    log: ScriptedLog, live: Live
) -> None:
    log.happen(progress=10)
    async with live.job(JOB) as stream:
        [snapshot] = await take(stream, 1)
        assert isinstance(snapshot, Snapshot)
        assert (snapshot.job.seq, snapshot.job.progress) == (1, 10)
        log.happen(progress=20)
        await log.publish()
        assert seqs(await take(stream, 1)) == [2]
        log.end()
        await log.publish()
        assert seqs(await rest(stream)) == [3]


async def test_who_comes_after_the_end_gets_the_snapshot_and_the_final_event(
    log: ScriptedLog, live: Live
) -> None:
    log.happen(progress=50)
    log.end()
    async with live.job(JOB) as stream:
        snapshot, final = await rest(stream)
    assert isinstance(snapshot, Snapshot) and snapshot.job.status is Status.COMPLETED
    assert isinstance(final, Told) and final.event.status is Status.COMPLETED


async def test_who_returns_gets_the_rest_without_a_snapshot(log: ScriptedLog, live: Live) -> None:
    for percent in (10, 20, 30):
        log.happen(progress=percent)
    async with live.job(JOB, after=1) as stream:
        assert seqs(await take(stream, 2)) == [2, 3]
        log.end()
        await log.publish()
        assert seqs(await rest(stream)) == [4]


async def test_who_returns_with_the_final_seq_is_told_the_end_again(log: ScriptedLog, live: Live) -> None:
    log.happen()
    log.end()
    async with live.job(JOB, after=2) as stream:
        assert seqs(await rest(stream)) == [2]


@pytest.mark.parametrize("after", [1, 99])
async def test_a_seq_that_is_no_longer_or_never_was_there_begins_with_a_snapshot(
    log: ScriptedLog, live: Live, after: int
) -> None:
    for _ in range(6):
        log.happen()
    log.kept_from[JOB] = 5
    async with live.job(JOB, after=after) as stream:
        [first] = await take(stream, 1)
    assert isinstance(first, Snapshot) and first.job.seq == 6


async def test_an_unknown_job_is_refused(live: Live) -> None:
    with pytest.raises(NotFound):
        async with live.job("nobody"):
            pass
    with pytest.raises(NotFound):
        async with live.job("nobody", after=3):
            pass


async def test_an_event_that_is_in_the_snapshot_already_is_not_told_twice(
    log: ScriptedLog, live: Live
) -> None:
    await live.start()
    log.happen(progress=1)
    log.happen(progress=2)  # in the log, and unread when the snapshot is taken
    async with live.job(JOB) as stream:
        await log.publish()
        log.end()
        await log.publish()
        snapshot, final = await rest(stream)
    assert isinstance(snapshot, Snapshot) and snapshot.job.seq == 2
    assert seqs([final]) == [3]


async def test_an_event_that_was_heard_before_the_snapshot_was_read_is_not_told_twice(
    log: ScriptedLog, live: Live
) -> None:
    async def meanwhile() -> None:
        log.happen(EventType.EVENT, event="heard and read")
        await log.publish()

    log.happen()
    log.before_get = meanwhile
    async with live.job(JOB) as stream:
        log.end()
        await log.publish()
        snapshot, final = await rest(stream)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.job.seq == 2
    assert seqs([final]) == [3]


async def test_a_hole_in_the_log_while_the_snapshot_was_read_is_healed(log: ScriptedLog, live: Live) -> None:
    async def meanwhile() -> None:
        log.happen(EventType.EVENT, event="lost", lost=True)
        log.happen(EventType.EVENT, event="heard")
        await log.publish()

    log.happen()
    log.after_get = meanwhile
    async with live.job(JOB) as stream:
        assert seqs(await take(stream, 3)) == [2, 3]  # after the snapshot


async def test_a_slow_listener_gets_the_latest_progress_only(log: ScriptedLog, live: Live) -> None:
    log.happen()
    async with live.job(JOB) as stream:
        for percent in range(1, 50):
            log.happen(progress=percent)
        log.end()
        await log.publish()
        _, latest, final = await rest(stream)
    assert isinstance(latest, Told) and latest.event.progress == 49
    assert isinstance(final, Told) and final.event.status.final


async def test_a_job_stream_that_fell_behind_reads_what_it_missed_from_the_store(
    log: ScriptedLog, live: Live
) -> None:
    log.happen()
    async with live.job(JOB) as stream:
        for number in range(20):  # five times its buffer, and none of it may be dropped
            log.happen(EventType.EVENT, event=f"step {number}")
        await log.publish()
        log.end()
        await log.publish()
        items = await rest(stream)
    assert seqs(items) == list(range(2, 23))


async def test_a_hole_in_the_log_is_healed_from_the_store(log: ScriptedLog, live: Live) -> None:
    log.happen()
    async with live.job(JOB) as stream:
        log.happen(EventType.EVENT, event="lost", lost=True)
        log.happen(EventType.EVENT, event="heard")
        await log.publish()
        assert seqs(await take(stream, 3)) == [2, 3]  # after the snapshot


async def test_a_final_event_that_the_log_lost_is_still_delivered(log: ScriptedLog, live: Live) -> None:
    log.happen()
    async with live.job(JOB) as stream:
        log.end(lost=True)
        log.lose()
        await log.publish()
        assert seqs(await rest(stream)) == [2]


async def test_a_hole_between_the_snapshot_and_the_first_event_is_healed(
    log: ScriptedLog, live: Live
) -> None:
    log.happen()
    async with live.job(JOB) as stream:
        await take(stream, 1)
        log.happen(EventType.EVENT, event="lost", lost=True)
        log.happen(EventType.EVENT, event="heard")
        await log.publish()
        assert seqs(await take(stream, 2)) == [2, 3]


async def test_when_the_store_does_not_keep_what_was_missed_a_fresh_snapshot_comes(
    log: ScriptedLog, live: Live
) -> None:
    log.happen()
    async with live.job(JOB) as stream:
        await take(stream, 1)
        for _ in range(20):
            log.happen(EventType.EVENT, event="step")
        log.kept_from[JOB] = 15
        await log.publish()
        [snapshot] = await take(stream, 1)
    assert isinstance(snapshot, Snapshot) and snapshot.job.seq == 21


async def test_a_store_that_is_down_while_catching_up_is_told_and_the_stream_can_go_on(
    log: ScriptedLog, live: Live
) -> None:
    log.happen()
    async with live.job(JOB) as stream:
        await take(stream, 1)
        log.end(lost=True)
        log.lose()
        log.story_failures = [StoreDown("no answer")]
        await log.publish()
        with pytest.raises(StoreDown):
            await anext(stream)
        assert seqs(await rest(stream)) == [2]


async def test_a_store_that_is_down_for_a_while_costs_no_event(
    log: ScriptedLog, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "BACKOFF", (0.0,))
    log.happen()
    log.failures = [StoreDown("no answer"), StoreDown("no answer")]
    async with live.job(JOB) as stream:
        log.end()
        await settled()
        await log.publish()
        assert seqs(await rest(stream)) == [2]


async def test_a_topic_tells_the_events_of_its_jobs_only(log: ScriptedLog, live: Live) -> None:
    log.topics = {JOB: "media", OTHER: "email"}
    async with live.topic("media") as stream:
        log.happen(EventType.EVENT, job=OTHER, event="sent")
        log.happen(EventType.EVENT, job=JOB, event="thumbnail_generated")
        await log.publish()
        [told] = await take(stream, 1)
    assert isinstance(told, Told) and told.event.event == "thumbnail_generated"


async def test_everything_of_one_user_leaves_others_out(log: ScriptedLog, live: Live) -> None:
    async with live.everything() as everybody, live.everything(user="ana") as hers:
        log.happen(EventType.EVENT, event="step")
        await log.publish()
        assert seqs(await take(everybody, 1)) == [1]
        await live.close()
        assert await rest(hers) == []


async def test_a_slow_stream_of_many_jobs_is_told_that_it_lagged(log: ScriptedLog, live: Live) -> None:
    async with live.everything() as stream:
        for number in range(6):  # its buffer holds four
            log.happen(EventType.EVENT, event=f"step {number}")
        await log.publish()
        lagged, *others = await take(stream, 3)
    assert lagged == Lagged(lost=4)
    assert seqs(others) == [5, 6]


async def test_a_gap_in_the_log_is_told_to_streams_of_many_jobs(log: ScriptedLog, live: Live) -> None:
    async with live.everything() as stream:
        log.lose()
        log.happen(EventType.EVENT, event="step")
        await log.publish()
        assert await take(stream, 1) == [Lagged()]
        assert seqs(await take(stream, 1)) == [1]


async def test_a_slow_stream_does_not_slow_another(log: ScriptedLog, live: Live) -> None:
    log.happen()
    async with live.job(JOB), live.everything(), live.job(JOB) as quick:
        await take(quick, 1)
        for _ in range(10):
            happened = log.happen(EventType.EVENT, event="step")
            await log.publish()
            assert seqs(await take(quick, 1)) == [happened.seq]


async def test_any_number_of_streams_share_one_reader(log: ScriptedLog, live: Live) -> None:
    log.happen()
    before = asyncio.all_tasks()
    async with live.job(JOB), live.job(JOB), live.everything(), live.topic("media"):
        assert len(asyncio.all_tasks() - before) == 1


async def test_closing_ends_the_streams(log: ScriptedLog, live: Live) -> None:
    log.happen()
    async with live.job(JOB) as stream, live.everything() as everything:
        await take(stream, 1)
        waiting = asyncio.create_task(rest(stream))
        await settled()
        await live.close()
        assert await waiting == []
        assert await rest(everything) == []
    async with live.everything() as late:
        assert await rest(late) == []


async def test_a_stream_that_was_left_is_forgotten(log: ScriptedLog, live: Live) -> None:
    log.happen()
    async with live.job(JOB) as first, live.job(JOB), live.everything():
        assert isinstance(first, JobStream)
    assert list(live._streams()) == []
    assert live._jobs == {}


def told(seq: int, type: EventType, *, job: str = JOB) -> Told:
    event = Event(seq=seq, type=type, status=Status.PROCESSING, at=0.0)
    return Told(task_id=job, task="t", queue="q", event=event)


def test_a_full_buffer_drops_progress_before_anything_else() -> None:
    buffer = Buffer(3)
    for seq, kind in enumerate([EventType.PROGRESS, EventType.LOG, EventType.PROGRESS, EventType.STATUS], 1):
        assert buffer.push(told(seq, kind)) == 0
    assert [left.event.seq for left in iter(buffer.pop, None)] == [2, 4]


def test_progress_of_another_job_is_not_outdated() -> None:
    buffer = Buffer(3)
    buffer.push(told(1, EventType.PROGRESS))
    buffer.push(told(1, EventType.PROGRESS, job=OTHER))
    buffer.push(told(2, EventType.PROGRESS, job=OTHER))
    assert [(left.task_id, left.event.seq) for left in iter(buffer.pop, None)] == [(JOB, 1), (OTHER, 2)]
