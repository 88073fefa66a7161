"""What is particular to the embedded store: the file, its clock, its bells, its lock. The rules are the suite's."""

from __future__ import annotations

import asyncio
import errno
import socket
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

from faena.errors import IllegalStep, StoreDown, StoreFault
from faena.events import EventType, NewEvent
from faena.job import NewJob, Outcome, Status, Step
from faena.ports.records import Lease, Query, Report
from faena.ports.store import StoreOptions
from faena.stores.sqlite import clock as machine
from faena.stores.sqlite import writer
from faena.stores.sqlite.bell import Bell
from faena.stores.sqlite.store import SQLiteStore
from faena.testing.disk import Disk

LONG = 30.0
"""Seconds within which a ring must come; a lost one shows as a failed test, not as a slow one."""


@pytest.fixture
async def make_store(tmp_path: Path) -> AsyncIterator[Callable[[], SQLiteStore]]:
    made: list[SQLiteStore] = []

    def make(*, clock: Callable[[], float] | None = None, options: StoreOptions | None = None) -> SQLiteStore:
        made.append(SQLiteStore(tmp_path / "data" / "faena.db", clock=clock, options=options))
        return made[-1]

    yield make
    for store in made:
        await store.close()


async def test_the_files_belong_to_their_owner_alone(
    tmp_path: Path, make_store: Callable[[], SQLiteStore]
) -> None:
    await make_store().open()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "faena.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data" / "faena.db-bells").stat().st_mode) == 0o700


async def test_every_commit_waits_for_the_disk(make_store: Callable[[], SQLiteStore]) -> None:
    store = make_store()
    await store.open()
    details = (await store.check()).details
    assert (details["journal_mode"], details["synchronous"]) == ("wal", "full")


async def test_the_writes_of_holders_that_lost_their_lease_are_counted(
    make_store: Callable[[], SQLiteStore],
) -> None:
    store = make_store()
    await store.open()
    await store.insert([NewJob(id="1", task="work")])
    (claim,) = await store.claim(["1"], worker="w", lease=9, request="r")
    stale = claim.job.token - 1
    await store.report([Report(job_id="1", token=stale, number=1, progress=50)])
    await store.extend([Lease(job_id="1", token=stale), Lease(job_id="1", token=claim.job.token)], lease=9)
    await store.finish([Outcome(job_id="1", token=stale, step=Step.COMPLETE)])
    other = make_store()
    await other.open()
    assert (await other.check()).details["stale_writes_refused"] == 3


async def test_a_file_made_by_a_newer_faena_is_refused(
    tmp_path: Path, make_store: Callable[[], SQLiteStore]
) -> None:
    await make_store().open()
    connection = apsw.Connection(str(tmp_path / "data" / "faena.db"))
    connection.execute("PRAGMA user_version = 99")
    refused = make_store()
    with pytest.raises(StoreDown, match="newer Faena"):
        await refused.open()
    connection.execute("BEGIN IMMEDIATE")  # it holds no lock
    connection.close()


async def test_a_damaged_file_is_named_as_such(tmp_path: Path, make_store: Callable[[], SQLiteStore]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "faena.db").write_bytes(b"this is no database" * 500)
    with pytest.raises(StoreDown, match="damaged"):
        await make_store().open()


async def test_a_fault_that_would_repeat_is_no_outage(
    tmp_path: Path, make_store: Callable[[], SQLiteStore]
) -> None:
    store = make_store()
    await store.open()
    connection = apsw.Connection(str(tmp_path / "data" / "faena.db"))
    connection.execute("CREATE TRIGGER no BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'not here'); END")
    connection.close()
    with pytest.raises(StoreFault, match="not here"):
        await store.insert([NewJob(id="1", task="add")])


async def test_a_closed_store_says_so(make_store: Callable[[], SQLiteStore]) -> None:
    store = make_store()
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(StoreDown, match="not open"):
        await store.get(["a"])
    with pytest.raises(StoreDown, match="not open"):
        await store.insert([NewJob(id="a", task="t")])


async def test_who_waits_for_work_is_woken_by_another_instance(make_store: Callable[[], SQLiteStore]) -> None:
    worker, client = make_store(), make_store()
    await worker.open()
    await client.open()
    assert await worker.claim_next(["default"], worker="w", lease=9, limit=1, request="1") == []
    waiting = asyncio.create_task(worker.work(["default"], wait=LONG))
    await asyncio.sleep(0)  # it listens now
    started = time.monotonic()
    await client.insert([NewJob(id="a", task="t")])
    await waiting
    assert time.monotonic() - started < LONG / 2
    assert await worker.claim_next(["default"], worker="w", lease=9, limit=1, request="2")


async def test_work_that_came_between_a_look_and_the_wait_is_not_slept_over(
    make_store: Callable[[], SQLiteStore],
) -> None:
    store = make_store()
    await store.open()
    assert await store.claim_next(["default"], worker="w", lease=9, limit=1, request="1") == []
    await store.insert([NewJob(id="a", task="t")])
    await asyncio.wait_for(store.work(["default"], wait=LONG), LONG / 2)


async def test_work_that_another_instance_brings_after_the_very_first_look_is_not_slept_over(
    make_store: Callable[[], SQLiteStore],
) -> None:
    worker, client = make_store(), make_store()
    await worker.open()
    await client.open()
    assert await worker.claim_next(["default"], worker="w", lease=9, limit=1, request="1") == []
    await client.insert([NewJob(id="a", task="t")])
    started = time.monotonic()
    await worker.work(["default"], wait=LONG)
    assert time.monotonic() - started < LONG / 2


async def test_a_bell_that_can_open_no_file_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, ringer, deaf = (Bell(tmp_path, "work") for _ in range(3))
    listener.listen()

    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        ringer.ring()
        await deaf.changed(deaf.count, wait=0.01)
    listener.close()


async def test_who_reads_the_event_log_is_woken_by_another_instance(
    make_store: Callable[[], SQLiteStore],
) -> None:
    reader, client = make_store(), make_store()
    await reader.open()
    await client.open()
    position = (await reader.published(None, wait=0)).position
    reading = asyncio.create_task(reader.published(position, wait=LONG))
    await asyncio.sleep(0)
    await client.insert([NewJob(id="a", task="t")])
    news = await asyncio.wait_for(reading, LONG / 2)
    assert [told.task_id for told in news.told] == ["a"]


async def test_a_bell_hears_through_a_folder_with_a_very_long_name(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    listener, ringer = Bell(folder, "work"), Bell(folder, "work")
    listener.listen()
    waiting = asyncio.create_task(listener.changed(listener.count, LONG))
    await asyncio.sleep(0)
    ringer.ring()
    await asyncio.wait_for(waiting, LONG / 2)
    listener.close()
    ringer.close()
    assert list(folder.iterdir()) == []


async def test_the_bell_of_a_killed_process_is_taken_down(tmp_path: Path) -> None:
    listener, ringer = Bell(tmp_path, "work"), Bell(tmp_path, "work")
    listener.listen()
    assert listener._socket is not None
    asyncio.get_running_loop().remove_reader(listener._socket.fileno())
    listener._socket.close()  # as a kill would: the file stays
    listener._socket = None
    assert len(list(tmp_path.iterdir())) == 1
    ringer.ring()
    ringer.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_step_of_the_wall_clock_does_not_end_leases(
    make_store: Callable[[], SQLiteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    await store.open()
    await store.insert([NewJob(id="a", task="t")])
    assert await store.claim(["a"], worker="w", lease=60, request="1")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert await store.rescue(limit=10) == []
    later = make_store()
    await later.open()  # a process that starts after the step measures like the others
    assert await later.rescue(limit=10) == []


async def test_an_idle_store_takes_over_a_corrected_wall_clock(
    make_store: Callable[[], SQLiteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = make_store()
    await running.open()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    await make_store().open()
    inserted = await running.insert([NewJob(id="a", task="t")])
    assert inserted[0].job.created_at == pytest.approx(real() + 3600, abs=5)


async def test_after_a_boot_every_lease_is_over(
    make_store: Callable[[], SQLiteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    await store.open()
    await store.insert([NewJob(id="a", task="t")])
    assert await store.claim(["a"], worker="w", lease=3600, request="1")
    await store.close()
    monkeypatch.setattr(machine, "boot_id", lambda: "another boot")
    rebooted = make_store()
    await rebooted.open()
    assert [delivery.job_id for delivery in await rebooted.rescue(limit=10)] == ["a"]


async def test_a_writer_waits_its_turn_while_another_process_holds_the_lock(
    tmp_path: Path, make_store: Callable[[], SQLiteStore]
) -> None:
    store = make_store()
    await store.open()
    other = apsw.Connection(str(tmp_path / "data" / "faena.db"))
    other.execute("BEGIN IMMEDIATE")
    inserting = asyncio.create_task(store.insert([NewJob(id="a", task="t")]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not inserting.done()
    other.execute("COMMIT")
    other.close()
    assert (await inserting)[0].job.id == "a"


async def test_opening_waits_for_another_process_without_holding_up_the_loop(
    tmp_path: Path, make_store: Callable[[], SQLiteStore]
) -> None:
    await make_store().open()
    other = apsw.Connection(str(tmp_path / "data" / "faena.db"))
    other.execute("BEGIN IMMEDIATE")
    store = make_store()
    opening = asyncio.create_task(store.open())
    await asyncio.sleep(0.05)
    other.execute("COMMIT")  # only a loop that goes on comes here
    other.close()
    async with asyncio.timeout(LONG):
        await opening
    assert await store.get(["none"]) == [None]


async def test_an_opening_that_is_cancelled_leaves_no_connection(
    tmp_path: Path, make_store: Callable[[], SQLiteStore]
) -> None:
    await make_store().open()
    other = apsw.Connection(str(tmp_path / "data" / "faena.db"))
    other.execute("BEGIN IMMEDIATE")
    opening = asyncio.create_task(make_store().open())
    await asyncio.sleep(0.05)
    opening.cancel()
    asyncio.get_running_loop().call_later(0.05, other.execute, "COMMIT")
    connections = len(apsw.connections())
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert len(apsw.connections()) < connections
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()


async def test_closing_waits_for_the_disk_without_holding_up_the_loop(tmp_path: Path) -> None:
    disk, syncing, go_on = Disk(), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    store = SQLiteStore(tmp_path / "faena.db", vfs=disk.name)
    await store.open()
    await store.insert([NewJob(id="a", task="t")])

    def wait() -> None:
        loop.call_soon_threadsafe(syncing.set)
        assert go_on.wait(LONG)

    disk.on_write = wait  # the checkpoint's
    closing = asyncio.create_task(store.close())
    async with asyncio.timeout(LONG):
        await syncing.wait()
        go_on.set()
        await closing


async def test_a_lock_that_is_never_given_back_is_reported(
    tmp_path: Path, make_store: Callable[[], SQLiteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    await store.open()
    monkeypatch.setattr(writer, "PATIENCE", 0.0)
    other = apsw.Connection(str(tmp_path / "data" / "faena.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreDown, match="locked by another process"):
        await store.insert([NewJob(id="a", task="t")])
    other.execute("COMMIT")
    other.close()
    assert (await store.insert([NewJob(id="a", task="t")]))[0].job.status is Status.PENDING


async def test_a_slow_disk_is_waited_for_in_a_thread(
    make_store: Callable[[], SQLiteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "QUICK", 0.0)
    store = make_store()
    await store.open()
    for number in range(5):
        await store.insert([NewJob(id=f"job-{number}", task="t")])
    assert [job is not None for job in await store.get([f"job-{number}" for number in range(5)])] == [
        True
    ] * 5


async def test_a_call_that_fails_takes_no_other_of_its_transaction_with_it(
    make_store: Callable[[], SQLiteStore],
) -> None:
    store = make_store()
    await store.open()
    good = store.insert([NewJob(id="good", task="t")])
    bad = store.finish([Outcome(job_id="good", token=0, step=Step.PROMOTE)])
    answers = await asyncio.gather(good, bad, return_exceptions=True)
    assert isinstance(answers[1], IllegalStep)
    assert (await store.get(["good"]))[0] is not None
    assert sum(count.count for count in await store.counts()) == 1


async def test_a_job_that_tells_very_much_keeps_its_latest_events_only(
    make_store: Callable[..., SQLiteStore],
) -> None:
    store = make_store(options=StoreOptions(max_events=100))
    await store.open()
    await store.insert([NewJob(id="a", task="t")])
    (claim,) = await store.claim(["a"], worker="w", lease=60, request="1")
    for number in range(1, 501):
        line = NewEvent(type=EventType.LOG, message=f"line {number}")
        await store.report([Report(job_id="a", token=claim.job.token, number=number, events=(line,))])
    story = await store.story("a")
    assert story is not None
    assert story.gap
    numbers = [event.seq for event in story.events]
    assert numbers == list(range(numbers[0], story.job.seq + 1))
    assert 100 <= len(numbers) < 300


async def test_a_search_with_wildcards_means_them_literally(make_store: Callable[[], SQLiteStore]) -> None:
    store = make_store()
    await store.open()
    await store.insert(
        [NewJob(id="1", task="all_of_it"), NewJob(id="2", task="allXofXit"), NewJob(id="3", task="100%")]
    )
    assert [job.id for job in (await store.find(Query(search="all_of"))).jobs] == ["1"]
    assert [job.id for job in (await store.find(Query(search="0%"))).jobs] == ["3"]
