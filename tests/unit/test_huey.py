"""What is huey's own, beyond the conformance suite: the file, the bells, and what huey itself gets to see."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from faena.engines.huey import HueyEngine
from faena.engines.huey.bell import Bell, ring_all
from faena.engines.huey.engine import RejectedMessage
from faena.engines.huey.file import QueueFile, Row
from faena.errors import EngineDown
from faena.testing.engines import Recorder, deliveries, serving, until


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "queue"


def test_everything_is_for_its_owner_alone(directory: Path) -> None:
    engine = HueyEngine(directory)
    with serving(engine, Recorder()):
        engine.deliver(deliveries("job-1"))
        until(lambda: bool(list(directory.glob("huey.bells/*.bell"))), "the worker to rest")
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [directory, *directory.rglob("*")]}
    engine.close()
    assert all(mode & 0o077 == 0 for mode in modes.values()), modes
    assert modes[directory] == modes[directory / "huey"] == 0o700


def test_making_an_engine_touches_nothing(directory: Path) -> None:
    HueyEngine(directory)
    assert not directory.exists()


def test_a_locked_file_is_told_in_time_to_every_sender(directory: Path) -> None:
    engine = HueyEngine(directory)
    engine.ping()
    other = apsw.Connection(str(engine.path))
    other.execute("begin immediate")
    waits: list[float] = []

    def send() -> None:
        began = time.monotonic()
        with pytest.raises(EngineDown, match=r"locked|held"):
            engine.deliver(deliveries("job-1"))
        waits.append(time.monotonic() - began)

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    other.execute("rollback")
    other.close()
    assert len(waits) == 4
    assert max(waits) < 2.0
    engine.deliver(deliveries("job-1"))
    engine.close()


def test_a_queue_directory_that_went_away_is_told_and_not_made_again(directory: Path) -> None:
    engine = HueyEngine(directory)
    engine.deliver(deliveries("job-1"))
    directory.rename(directory.with_name("unmounted"))
    with pytest.raises(EngineDown, match="check the directory"):
        engine.deliver(deliveries("job-2"))
    assert not directory.exists()
    directory.with_name("unmounted").rename(directory)
    engine.deliver(deliveries("job-3"))
    assert engine.depth("default") == 2
    engine.close()


FILL = """
import resource, signal, sys
from pathlib import Path
from faena.engines.huey import HueyEngine
from faena.errors import EngineDown
from faena.ports.engine import Delivery

def deliveries(size):
    return [Delivery(job_id=f"job-{n}", task="t" * 1000, queue="default") for n in range(size)]

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
engine = HueyEngine(Path(sys.argv[1]))
engine.deliver(deliveries(10))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
try:
    engine.deliver(deliveries(5_000))
except EngineDown as error:
    print("told:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
engine.deliver(deliveries(5))
print("depth:", engine.depth("default"))
"""


def test_a_full_disk_is_told_and_what_was_sent_before_is_still_there(directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(directory)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "told: " in done.stdout
    assert "depth: 15" in done.stdout


def test_a_file_without_room_is_told_and_goes_on_when_there_is_some(directory: Path) -> None:
    engine = HueyEngine(directory)
    engine.deliver(deliveries("job-1"))
    connection = engine._file._connection
    assert connection is not None
    room = connection.pragma("max_page_count")
    connection.pragma("max_page_count", 10)
    with pytest.raises(EngineDown, match="no room"):
        engine.deliver(deliveries(*(f"job-{n}" for n in range(5000))))
    connection.pragma("max_page_count", room)
    engine.deliver(deliveries("job-2", "job-3"))
    assert engine.depth("default") == 3
    assert not list(directory.glob("huey.damaged-*"))
    engine.close()


def test_a_batch_is_taken_in_order_of_queue_priority_and_age(directory: Path) -> None:
    file = QueueFile(directory, timeout=5)
    file.push([Row("low", b"5", 9), Row("high", b"3", 0), Row("high", b"4", 0), Row("high", b"2", 5)])
    file.push([Row("top", b"1", -3), Row("other", b"no", 0)])
    assert [row.data for row in file.pop(["top", "high", "low"], 3)] == [b"1", b"2", b"3"]
    assert [row.data for row in file.pop(["top", "high", "low"], 9)] == [b"4", b"5"]
    file.close()


def test_a_forked_child_sends_without_disturbing_its_parent(directory: Path) -> None:
    engine = HueyEngine(directory)
    engine.deliver(deliveries("parent-1"))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            engine.deliver(deliveries("child"))
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    engine.deliver(deliveries("parent-2"))
    assert engine.depth("default") == 3
    engine.close()


def test_two_processes_that_find_the_damage_together_put_aside_one_file(directory: Path) -> None:
    one, two = QueueFile(directory, timeout=5), QueueFile(directory, timeout=5)
    one.push([Row("default", b"lost", 0)])
    two.changed()
    one.path.write_bytes(b"This is no SQLite file. " * 1000)
    for name in ("queue.db-wal", "queue.db-shm"):
        one.path.with_name(name).unlink()
    fresh = QueueFile(directory, timeout=5)
    fresh.push([Row("default", b"after", 0)])
    one.push([Row("default", b"one", 0)])
    two.push([Row("default", b"two", 0)])
    assert fresh.peek("default", 10) == [b"after", b"one", b"two"]
    assert len(list(directory.glob("huey.damaged-*"))) == 1
    for file in (one, two, fresh):
        file.close()


def test_eight_that_find_the_damage_at_the_same_moment_all_go_on(directory: Path) -> None:
    for _ in range(10):
        first = QueueFile(directory, timeout=5)
        first.push([Row("default", b"lost", 0)])
        first.close()
        first.path.write_bytes(b"This is no SQLite file. " * 1000)
        files = [QueueFile(directory, timeout=5) for _ in range(8)]
        start = threading.Barrier(8)

        def push(file: QueueFile, start: threading.Barrier = start) -> None:
            start.wait()
            file.push([Row("default", b"after", 0)])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(push, files))
        assert b"after" in files[0].peek("default", 10)
        files[0].purge(["default"])
        for file in files:
            file.close()


def test_closing_the_old_file_leaves_the_new_one_alone(directory: Path) -> None:
    old, new = QueueFile(directory, timeout=5), QueueFile(directory, timeout=5)
    old.push([Row("default", b"old", 0)])
    (directory / "huey").rename(directory / "aside")
    new.push([Row("default", b"new", 0)])
    old.close()
    new.push([Row("default", b"newer", 0)])
    third = QueueFile(directory, timeout=5)
    assert third.peek("default", 10) == [b"new", b"newer"]
    new.close()
    third.close()


def test_a_file_that_is_another_database_is_put_aside(directory: Path) -> None:
    (directory / "huey").mkdir(parents=True)
    foreign = apsw.Connection(str(directory / "huey" / "queue.db"))
    foreign.execute("create table task (something_else)")
    foreign.close()
    engine = HueyEngine(directory)
    engine.deliver(deliveries("job-1"))
    assert engine.depth("default") == 1
    assert len(list(directory.glob("huey.damaged-*"))) == 1
    engine.close()


def test_taking_costs_the_same_at_any_depth(directory: Path) -> None:
    file = QueueFile(directory, timeout=5)
    file.push([Row(f"queue-{n % 3}", b"{}", n % 5) for n in range(3000)])
    connection = apsw.Connection(str(file.path))
    from faena.engines.huey.file import _take_sql

    plan = [row[3] for row in connection.execute(f"explain query plan {_take_sql(3)}", ("a", "b", "c", 8))]
    connection.close()
    file.close()
    assert not [step for step in plan if "SCAN task" in step or "TEMP B-TREE FOR ORDER BY" in step], plan


def test_huey_shows_a_job_by_its_tasks_name_and_its_own_id(directory: Path) -> None:
    engine = HueyEngine(directory)
    engine.deliver(deliveries("job-1"))
    app = engine.app(Recorder(), ["default"])
    seen: list[tuple[str, str, str]] = []
    app.signal()(lambda signal, task: seen.append((signal, task.name, task.id)))
    task = app.dequeue()
    app.execute(task)
    app.storage.close()
    engine.close()
    assert str(task) == "faena.thumbnail: job-1"
    assert seen == [("executing", "thumbnail", "job-1"), ("complete", "thumbnail", "job-1")]


def test_hueys_own_ways_of_sending_take_faenas_jobs_and_nothing_else(directory: Path) -> None:
    engine = HueyEngine(directory)
    recorder = Recorder()
    app = engine.app(recorder, ["default"])
    engine.deliver(deliveries("job-1"))
    app.enqueue(app.dequeue())
    assert engine.depth("default") == 1
    assert app.pending()[0].id == "job-1"

    @app.task()
    def other() -> None: ...

    with pytest.raises(RejectedMessage, match="only Faena's jobs"):
        other()
    app.storage.close()
    engine.close()


def test_a_job_costs_huey_one_visit_to_the_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = HueyEngine(directory)
    engine.deliver(deliveries("job-1"))
    app = engine.app(Recorder(), ["default"])
    visits: list[object] = []
    visit = QueueFile._do
    monkeypatch.setattr(QueueFile, "_do", lambda self, work: visits.append(work) or visit(self, work))
    app.execute(app.dequeue())
    app.storage.close()
    engine.close()
    assert len(visits) == 2  # the message; and nothing to give back at the close


def test_a_bell_rings_in_another_thread_within_a_moment(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "bells")
    bell.wait()
    ring_soon = threading.Timer(0.05, ring_all, (tmp_path / "bells",))
    began = time.monotonic()
    ring_soon.start()
    bell.wait()
    waited = time.monotonic() - began
    bell.take_down()
    assert 0.04 < waited < 0.2
    assert list((tmp_path / "bells").iterdir()) == []


def test_a_ring_before_the_wait_is_not_lost(tmp_path: Path) -> None:
    bell = Bell(tmp_path)
    bell.wait()
    bell.ring()
    began = time.monotonic()
    bell.wait()
    assert time.monotonic() - began < 0.1
    bell.take_down()


def test_bells_alone_wake_an_idle_worker_and_stop_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faena.engines.huey.bell.LOOK", 300.0)
    recorder = Recorder()
    engine, sender = HueyEngine(directory), HueyEngine(directory)
    with serving(engine, recorder) as stop:
        for number in range(1, 4):
            sender.deliver(deliveries(f"job-{number}"))
            recorder.wait_ended(number)
        time.sleep(0.3)  # until it rests again
        began = time.monotonic()
        stop()
        assert time.monotonic() - began < 5.0
    assert list(directory.glob("huey.bells/*")) == []
    sender.close()
    engine.close()


def test_a_worker_tells_once_that_the_file_is_out_of_reach_and_stops_without_complaint(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine, recorder = HueyEngine(directory), Recorder()
    with caplog.at_level(logging.WARNING), serving(engine, recorder, threads=8):
        engine.deliver(deliveries("job-1"))
        recorder.wait_ended(1)
        directory.rename(directory.with_name("unmounted"))
        until(lambda: "cannot be read" in caplog.text, "the worker to notice")
        time.sleep(0.5)  # some more tries
        directory.with_name("unmounted").rename(directory)
        until(lambda: "can be read again" in caplog.text, "the worker to come back")
    engine.close()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"], caplog.text


def test_a_push_that_breaks_in_the_middle_leaves_nothing(directory: Path) -> None:
    file = QueueFile(directory, timeout=5)
    with pytest.raises(TypeError):
        file.push([Row("default", b"1", 0), Row("default", object(), 0)])  # type: ignore[arg-type]
    file.push([Row("default", b"2", 0), Row("default", b"3", 0)])
    assert file.peek("default", 9) == [b"2", b"3"]
    assert not list(directory.glob("huey.damaged-*"))
    file.close()


def test_bells_of_the_dead_are_removed_by_who_rings_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1-dead.bell")
    ring_all(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_finds_messages_where_there_are_no_named_pipes(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "mkfifo")
    recorder = Recorder()
    engine, sender = HueyEngine(directory), HueyEngine(directory)
    with serving(engine, recorder):
        for number in range(1, 4):
            began = time.monotonic()
            sender.deliver(deliveries(f"job-{number}"))
            recorder.wait_begun(number)
            assert time.monotonic() - began < 0.2
    sender.close()
    engine.close()


def test_an_idle_worker_uses_next_to_no_processor_time(directory: Path) -> None:
    engine = HueyEngine(directory)
    recorder = Recorder()
    with serving(engine, recorder, threads=8):
        engine.deliver(deliveries("job-1"))
        recorder.wait_ended(1)
        before = time.process_time()
        time.sleep(1.0)
        used = time.process_time() - before
    engine.close()
    assert used < 0.02
