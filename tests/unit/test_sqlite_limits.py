"""What is particular to limits, keys and schedules in the embedded store: the upgrade of its file, and what a claim
costs behind closed gates. The rules are the suite's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from faena.job import Gate, Idempotency, NewJob, OnConflict, Outcome, Status, Step, Window
from faena.ports.records import Claim, Query
from faena.schedule import Schedule
from faena.stores.sqlite.store import SQLiteStore
from faena.testing.clock import FakeClock
from faena.testing.factories import JobFactory

LONG = 30.0
"""Seconds within which a ring must come; a lost one shows as a failed test, not as a slow one."""

VERSION_1 = """
-- Faena's embedded store, version 1. Statuses are numbered as in rows.py:
-- 0 scheduled, 1 pending, 2 processing, 3 completed, 4 failed, 5 cancelled.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE jobs (
    n INTEGER PRIMARY KEY,            -- the order of arrival; cursors and payloads refer to it
    id TEXT NOT NULL,
    task TEXT NOT NULL,
    queue TEXT NOT NULL,
    topic TEXT,
    user TEXT,
    status INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,
    seq INTEGER NOT NULL,
    progress REAL NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    reported INTEGER NOT NULL DEFAULT 0,   -- the number of the attempt's last report
    last_step TEXT,                        -- the outcome that ended the last attempt, to recognise a repeated one
    kept_from INTEGER NOT NULL DEFAULT 1,  -- the seq of the first event in `events`; older ones lie in `history`
    priority INTEGER NOT NULL,
    due_at REAL NOT NULL,
    lease_until REAL,
    started_at REAL,
    finished_at REAL,
    expires_at REAL,
    delivered_at REAL,
    worker TEXT,
    message TEXT,
    error BLOB,
    checkpoint BLOB,
    result BLOB,
    created_at REAL NOT NULL,
    timeout REAL,
    key TEXT,
    origin TEXT,
    args BLOB,                             -- NULL: too large to be rewritten with the row, see `bodies`
    events TEXT NOT NULL                   -- the latest events, JSON objects joined by commas
);

CREATE UNIQUE INDEX jobs_id ON jobs (id);
CREATE UNIQUE INDEX jobs_live_key ON jobs (task, key) WHERE key IS NOT NULL AND status IN (0, 1, 2);
CREATE INDEX jobs_scheduled ON jobs (due_at) WHERE status = 0;
CREATE INDEX jobs_pending ON jobs (queue, priority DESC, due_at, n) WHERE status = 1;
CREATE INDEX jobs_delivered ON jobs (queue, delivered_at) WHERE status = 1;
CREATE INDEX jobs_processing ON jobs (lease_until) WHERE status = 2;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX jobs_of_status ON jobs (status, n);
CREATE INDEX jobs_of_task ON jobs (task, n);
CREATE INDEX jobs_of_queue ON jobs (queue, n);
CREATE INDEX jobs_of_user ON jobs (user, n) WHERE user IS NOT NULL;
CREATE INDEX jobs_of_origin ON jobs (origin, n) WHERE origin IS NOT NULL;

CREATE TABLE bodies (job INTEGER PRIMARY KEY, args BLOB NOT NULL);

-- Older events of jobs that tell much, in runs: `events` holds those up to `last`.
CREATE TABLE history (
    job INTEGER NOT NULL, last INTEGER NOT NULL, events TEXT NOT NULL, PRIMARY KEY (job, last)
) WITHOUT ROWID;

-- The event log of all jobs: one row a transaction, JSON objects joined by commas.
CREATE TABLE feed (position INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, told BLOB NOT NULL);

CREATE TABLE counts (
    queue TEXT NOT NULL, task TEXT NOT NULL, status INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (queue, task, status)
) WITHOUT ROWID;

-- Which ids a claim took, so that a repeated call is given the same (rule 9).
CREATE TABLE requests (id TEXT PRIMARY KEY, at REAL NOT NULL, jobs TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX requests_at ON requests (at);

-- How far each queue's claims had come in each second: who is behind was overtaken.
CREATE TABLE turns (
    queue TEXT NOT NULL, priority INTEGER NOT NULL, second INTEGER NOT NULL, due_at REAL NOT NULL,
    PRIMARY KEY (queue, priority, second)
) WITHOUT ROWID;

CREATE TABLE workers (id TEXT PRIMARY KEY, expires_at REAL NOT NULL, info BLOB NOT NULL) WITHOUT ROWID;
"""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def open_store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Callable[..., Any]]:
    opened: list[SQLiteStore] = []

    async def open_one(**options: Any) -> SQLiteStore:
        opened.append(SQLiteStore(tmp_path / "faena.db", **({"clock": clock} | options)))
        await opened[-1].open()
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
def old_file(tmp_path: Path, clock: FakeClock) -> Path:
    """A file as version 1 left it: a pending job with a key, a finished one that had the same, one that runs."""
    path = tmp_path / "faena.db"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute(VERSION_1).fetchall()
    insert = """
        INSERT INTO jobs (id, task, queue, status, attempt, max_attempts, token, seq, priority, due_at, lease_until,
            finished_at, expires_at, delivered_at, worker, created_at, key, args, events)
        VALUES (?, 't', 'default', ?, ?, 1, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, '{}', '')"""
    now = clock()
    rows = [
        ("done", 3, 1, 1, 0, now, None, now, now + 900, now, None, now, "k"),
        ("waits", 1, 0, 0, 0, now, None, None, None, now, None, now, "k"),
        ("first", 1, 0, 0, 5, now, None, None, None, now, None, now, None),
        ("runs", 2, 1, 1, 0, now, now + 60, None, None, now, "w", now, "other"),
    ]
    connection.executemany(insert, rows)
    for status, count in ((1, 2), (2, 1), (3, 1)):
        connection.execute("INSERT INTO counts VALUES ('default', 't', ?, ?)", (status, count))
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    return path


async def take(store: SQLiteStore, limit: int, *queues: str) -> list[Claim]:
    take.number = number = getattr(take, "number", 0) + 1
    return await store.claim_next(
        queues or ("default",), worker="w", lease=60, limit=limit, request=str(number)
    )


async def test_a_file_of_version_1_is_upgraded_with_its_jobs(
    old_file: Path, open_store: Callable[..., Any]
) -> None:
    store = await open_store()
    new = NewJob(id="new", task="t", key="k")
    (answer,) = await store.insert([new])
    assert (answer.job.id, answer.duplicate) == ("waits", True)
    assert await store.finish([Outcome(job_id="runs", token=1, step=Step.COMPLETE)]) == [True]
    assert (await store.insert([NewJob(id="free", task="t", key="other")]))[0].job.id == "free"
    assert [claim.job.id for claim in await take(store, 10)] == ["first", "waits", "free"]
    assert (await store.get(["done"]))[0].status is Status.COMPLETED


async def test_a_file_of_version_2_is_upgraded_with_its_answers(tmp_path: Path) -> None:
    path = tmp_path / "two" / "faena.db"
    asked = NewJob(id="1", task="t", idempotency=Idempotency(key="r", digest="d", kept=1000))
    store = SQLiteStore(path)
    await store.open()
    await store.insert([asked])
    await store.close()
    connection = apsw.Connection(str(path))
    connection.execute("ALTER TABLE answers DROP COLUMN duplicate; PRAGMA user_version = 2")
    connection.close()
    store = SQLiteStore(path)
    await store.open()
    (again,) = await store.insert([msgspec.structs.replace(asked, id="2")])
    assert (again.replayed, again.duplicate, again.job.id) == (True, False, "1")
    assert _schema(path)[2] == [(3,)]
    await store.close()


async def test_an_upgraded_file_is_like_a_new_one(
    old_file: Path, open_store: Callable[..., Any], tmp_path: Path
) -> None:
    await open_store()
    new = SQLiteStore(tmp_path / "new" / "faena.db")
    await new.open()
    assert _schema(old_file) == _schema(tmp_path / "new" / "faena.db")
    await new.close()


def _schema(path: Path) -> tuple[Any, ...]:
    connection = apsw.Connection(str(path))
    things = connection.execute(
        "SELECT type, name, iif(name = 'jobs', '', sql) FROM sqlite_schema ORDER BY type, name"
    ).fetchall()
    columns = connection.execute("SELECT name, type, \"notnull\" FROM pragma_table_info('jobs')").fetchall()
    version = connection.execute("PRAGMA user_version").fetchall()
    connection.close()
    return things, sorted(columns), version


async def test_an_upgrade_that_fails_leaves_the_old_file_as_it_was(
    old_file: Path, open_store: Callable[..., Any]
) -> None:
    connection = apsw.Connection(str(old_file))
    connection.execute("CREATE TABLE schedules (something)")  # in the way of the last step
    with pytest.raises(Exception, match="schedules"):
        await open_store()
    assert connection.execute("PRAGMA user_version").fetchall() == [(1,)]
    columns = [
        name for (name,) in connection.execute("SELECT name FROM pragma_table_info('jobs')").fetchall()
    ]
    assert "gates" not in columns
    connection.close()


def limited(jobs: JobFactory, *gates: Gate, **options: Any) -> NewJob:
    return jobs.new(gates=tuple(sorted(gates, key=lambda gate: gate.name)), **options)


async def test_a_claim_does_not_look_at_lanes_behind_a_closed_gate(open_store: Callable[..., Any]) -> None:
    store, jobs = await open_store(), JobFactory()
    one = Gate(name="all", at_once=1)
    tenants = [Gate(name=f"tenant={number}", at_once=1) for number in range(1000)]
    await store.insert([limited(jobs, one, tenant) for tenant in tenants])
    assert len(await take(store, 1)) == 1
    assert await take(store, 5) == []  # every lane is met once, and put behind the gate
    await store.insert([jobs.new(queue="other")])
    steps, claims = await _statements(store, take(store, 5, "default", "other"))
    assert len(claims) == 1
    assert steps < 100


async def test_a_slot_given_back_brings_a_handful_of_lanes_into_view(open_store: Callable[..., Any]) -> None:
    store, jobs = await open_store(), JobFactory()
    one = Gate(name="all", at_once=1)
    tenants = [Gate(name=f"tenant={number}", at_once=1) for number in range(500)]
    await store.insert([limited(jobs, one, tenant) for tenant in tenants])
    seen = set()
    claims = await take(store, 5)
    await take(store, 5)
    for _ in range(20):
        (claim,) = claims
        seen.add(claim.job.id)
        await store.finish([Outcome(job_id=claim.job.id, token=claim.job.token, step=Step.COMPLETE)])
        steps, claims = await _statements(store, take(store, 5))
        assert steps < 100
    assert len(seen) == 20


async def test_giving_out_does_not_look_at_lanes_whose_jobs_are_all_out(
    open_store: Callable[..., Any],
) -> None:
    store, jobs = await open_store(), JobFactory()
    tenants = [Gate(name=f"tenant={number}", at_once=3) for number in range(1000)]
    new = [limited(jobs, tenant) for tenant in tenants]
    await store.insert(new)
    assert len((await store.admit(limit=1000)).deliveries) == 1000
    steps, promoted = await _statements(store, store.admit(limit=100))
    assert promoted.deliveries == ()
    assert steps < 100
    late = limited(jobs, tenants[500])
    await store.insert([late])
    steps, promoted = await _statements(store, store.admit(limit=100))
    assert [delivery.job_id for delivery in promoted.deliveries] == [late.id]
    assert steps < 100
    ids = [one.id for one in (*new[1:], late)]
    assert len(await store.claim(ids, worker="w", lease=60, request="all")) == 1000
    await store.admit(limit=100)
    connection = store._writer._connection
    assert len(connection.execute("SELECT n FROM lanes").fetchall()) == 1  # those without jobs are not kept


async def _statements(store: SQLiteStore, asked: Awaitable[Any]) -> tuple[int, Any]:
    """Count the statements that a call writes with, rows of the same one included."""
    connection = store._writer._connection
    count = 0

    def note(*_: object) -> bool:
        nonlocal count
        count += 1
        return True

    connection.exec_trace = note
    try:
        answer = await asked
    finally:
        connection.exec_trace = None
    return count, answer


async def test_who_waits_for_work_is_woken_when_a_gate_opens_by_time(open_store: Callable[..., Any]) -> None:
    store, jobs = await open_store(clock=None), JobFactory()
    gate = Gate(name="g", windows=(Window(count=1, period=0.2),))
    await store.insert([limited(jobs, gate), limited(jobs, gate)])
    assert len(await take(store, 2)) == 1
    assert await take(store, 2) == []
    started = time.monotonic()
    await store.work(["default"], wait=LONG)
    assert time.monotonic() - started < LONG / 2
    assert len(await take(store, 2)) == 1


async def test_a_gate_of_another_queue_wakes_nobody(open_store: Callable[..., Any]) -> None:
    store, jobs = await open_store(clock=None), JobFactory()
    gate = Gate(name="g", windows=(Window(count=1, period=0.05),))
    await store.insert([limited(jobs, gate, queue="other") for _ in range(2)])
    await take(store, 2, "other")
    await take(store, 2)
    started = time.monotonic()
    await store.work(["default"], wait=0.3)
    assert time.monotonic() - started > 0.25


async def test_who_waits_for_work_is_woken_when_a_slot_is_given_back(open_store: Callable[..., Any]) -> None:
    store, jobs = await open_store(clock=None), JobFactory()
    gate = Gate(name="g", at_once=1)
    await store.insert([limited(jobs, gate), limited(jobs, gate)])
    (claim,) = await take(store, 2)
    assert await take(store, 2) == []
    waiting = asyncio.create_task(store.work(["default"], wait=LONG))
    await asyncio.sleep(0)
    other = await open_store(clock=None)
    await other.finish([Outcome(job_id=claim.job.id, token=claim.job.token, step=Step.COMPLETE)])
    await asyncio.wait_for(waiting, LONG / 2)
    assert len(await take(store, 2)) == 1


async def test_who_waits_for_work_is_woken_at_resume(open_store: Callable[..., Any]) -> None:
    store, jobs = await open_store(clock=None), JobFactory()
    await store.pause(queue="default")
    await store.insert([jobs.new()])
    assert await take(store, 2) == []
    waiting = asyncio.create_task(store.work(["default"], wait=LONG))
    await asyncio.sleep(0)
    assert await (await open_store(clock=None)).resume(queue="default")
    await asyncio.wait_for(waiting, LONG / 2)
    assert len(await take(store, 2)) == 1


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_a_wall_clock_that_is_set_moves_no_start_into_or_out_of_a_window(
    step: float, open_store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, jobs = await open_store(clock=None), JobFactory()
    gate = Gate(name="g", windows=(Window(count=1, period=60),))
    await store.insert([limited(jobs, gate), limited(jobs, gate)])
    (claim,) = await take(store, 2)
    await store.finish([Outcome(job_id=claim.job.id, token=claim.job.token, step=Step.COMPLETE)])
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step)
    later = await open_store(clock=None)  # it takes the new time over: nobody holds a lease
    assert await take(later, 2) == []
    waiting = (await later.find(Query(statuses=(Status.PENDING,)))).jobs[0]
    told = await later.obstacles(waiting.id)
    assert told.gate == gate
    assert 50 < told.opens_in <= 60


async def test_starts_that_no_window_reaches_are_forgotten(
    open_store: Callable[..., Any], clock: FakeClock, tmp_path: Path
) -> None:
    store, jobs = await open_store(), JobFactory()
    gate = Gate(name="g", windows=(Window(count=5, period=10),))
    await store.insert([limited(jobs, gate) for _ in range(50)])
    for _ in range(10):
        assert len(await take(store, 3)) == 3
        assert len(await take(store, 3)) == 2
        clock.advance(10)
    await store.prune(limit=100)
    connection = apsw.Connection(str(tmp_path / "faena.db"))
    assert connection.execute("SELECT count(*) FROM starts").fetchall() == [(0,)]
    connection.close()


async def test_many_gates_that_open_at_once_all_let_their_jobs_through(
    open_store: Callable[..., Any], clock: FakeClock
) -> None:
    store, jobs = await open_store(), JobFactory()
    windows = (Window(count=1, period=10),)
    gates = [Gate(name=f"tenant={number}", windows=windows) for number in range(50)]
    await store.insert([limited(jobs, gate) for gate in gates for _ in range(3)])
    for _ in range(3):
        assert len(await take(store, 200)) == 50
        assert await take(store, 200) == []
        clock.advance(10)
    assert await take(store, 200) == []
    connection = apsw.Connection(str(store._path))
    assert connection.execute("SELECT count(*) FROM lanes").fetchall() == [(0,)]
    connection.close()


async def test_a_rate_holds_over_thousands_of_starts(
    open_store: Callable[..., Any], clock: FakeClock
) -> None:
    store, jobs = await open_store(), JobFactory()
    gate = Gate(name="g", windows=(Window(count=700, period=10),))
    await store.insert([limited(jobs, gate) for _ in range(3500)])
    for _ in range(5):
        started = [len(await take(store, 90)) for _ in range(9)]
        assert started == [90] * 7 + [70, 0]
        clock.advance(10)


async def test_two_rules_of_one_gate_are_each_judged_for_themselves(open_store: Callable[..., Any]) -> None:
    store, jobs = await open_store(), JobFactory()
    await store.insert([limited(jobs, Gate(name="g", at_once=1), task="old") for _ in range(3)])
    await store.insert([limited(jobs, Gate(name="g", at_once=3), task="new") for _ in range(3)])
    tasks = [claim.job.task for claim in await take(store, 10)]
    assert tasks == ["old", "new", "new"]


async def test_many_jobs_of_a_paused_task_are_set_aside_and_come_back(open_store: Callable[..., Any]) -> None:
    store, jobs = await open_store(), JobFactory()
    await store.insert([jobs.new(task="slow") for _ in range(1200)])
    await store.insert([jobs.new(task="quick")])
    await store.pause(task="slow")
    assert [claim.job.task for claim in await take(store, 10)] == ["quick"]
    assert await take(store, 10) == []
    assert await store.resume(task="slow")
    assert len(await take(store, 2000)) == 1200


async def test_jobs_of_one_call_replace_and_debounce_one_another(open_store: Callable[..., Any]) -> None:
    store, jobs = await open_store(), JobFactory()
    large = b'"' + b"x" * 5000 + b'"'
    first, second, third = await store.insert(
        [
            jobs.new(key="k"),
            jobs.new(key="k", on_conflict=OnConflict.REPLACE),
            jobs.new(key="k", args=large, on_conflict=OnConflict.DEBOUNCE),
        ]
    )
    assert (third.job.id, third.duplicate, third.job.args) == (second.job.id, True, large)
    one, two = await store.get([first.job.id, second.job.id])
    assert (one.status, two.status, two.args) == (Status.CANCELLED, Status.PENDING, large)


async def test_a_schedule_outlives_its_store(open_store: Callable[..., Any]) -> None:
    await (await open_store()).put_schedules([Schedule(name="n", task="t", every=60.0, next_at=0.1 + 0.2)])
    (schedule,) = await (await open_store()).schedules()
    assert schedule.next_at == 0.1 + 0.2
