"""What the embedded store keeps when the disk does not: power cuts and a full disk."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from faena.errors import StoreFull
from faena.ids import Ids
from faena.job import Job, NewJob, Outcome, Step
from faena.stores.sqlite.store import SQLiteStore
from faena.testing.disk import Disk

CUTS = 50
new_id = Ids()
IMAGE = dict[str, bytes]


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    disk = Disk()
    yield disk
    disk.unregister()


async def a_busy_day(store: SQLiteStore, acknowledged: dict[str, bool], *, rounds: int) -> None:
    """Insert, claim and finish jobs; note in ``acknowledged`` each job's id and whether its end was acknowledged."""
    for number in range(rounds):
        inserted = await store.insert(
            [
                NewJob(id=new_id(), task="work", args=b'{"text":"%s"}' % (b"x" * 300))
                for _ in range(number % 7 + 1)
            ]
        )
        acknowledged |= {each.job.id: False for each in inserted}
        claims = await store.claim_next(["default"], worker="w", lease=60, limit=5, request=f"r{number}")
        outcomes = [
            Outcome(job_id=claim.job.id, token=claim.job.token, step=Step.COMPLETE, result=b"1")
            for claim in claims
        ]
        await store.finish(outcomes)
        acknowledged |= {outcome.job_id: True for outcome in outcomes}


async def what_is_left(image: IMAGE, folder: Path) -> dict[str, Job]:
    """Lay out the files that a power cut left, open them as after a restart, and return the jobs."""
    folder.mkdir()
    for path, body in image.items():
        (folder / Path(path).name).write_bytes(body)
    plain = apsw.Connection(str(folder / "faena.db"))
    assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    ids = [row[0] for row in plain.execute("SELECT id FROM jobs")]
    plain.close()
    store = SQLiteStore(folder / "faena.db")
    await store.open()
    jobs = {job.id: job for job in await store.get(ids) if job is not None}
    await store.close()
    return jobs


async def test_a_power_cut_at_any_moment_loses_no_acknowledged_job(tmp_path: Path, disk: Disk) -> None:
    chance = random.Random(20261121)
    acknowledged: dict[str, bool] = {}
    cuts: list[tuple[IMAGE, dict[str, bool]]] = []
    store = SQLiteStore(tmp_path / "faena.db", vfs=disk.name)
    await store.open()

    def pull_the_plug_now_and_then() -> None:
        if len(cuts) < CUTS and chance.random() < 0.03:
            cuts.append((disk.after_power_cut(chance), dict(acknowledged)))

    disk.on_write = pull_the_plug_now_and_then
    await a_busy_day(store, acknowledged, rounds=400)
    await store.close()

    assert len(cuts) == CUTS
    for number, (image, promised) in enumerate(cuts):
        jobs = await what_is_left(image, tmp_path / f"cut{number}")
        assert promised.keys() <= jobs.keys()
        assert all(jobs[job_id].status.final for job_id, ended in promised.items() if ended)


async def test_an_unsynced_store_would_fail_that_test(tmp_path: Path, disk: Disk) -> None:
    """The simulated disk does lose what was not synced: otherwise the test above proves nothing."""
    connection = apsw.Connection(str(tmp_path / "faena.db"), vfs=disk.name)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = NORMAL").fetchall()
    connection.execute("CREATE TABLE t (x)")
    for number in range(20):
        connection.execute("INSERT INTO t VALUES (?)", (number,))
    image = disk.after_power_cut(random.Random(1))
    connection.close()
    survivor = tmp_path / "after"
    survivor.mkdir()
    for path, body in image.items():
        (survivor / Path(path).name).write_bytes(body)
    after = apsw.Connection(str(survivor / "faena.db"))
    tables = after.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    rows = after.execute("SELECT count(*) FROM t").fetchall() if tables == [(1,)] else [(0,)]
    after.close()
    assert rows[0][0] < 20


async def test_a_full_disk_refuses_an_enqueue_and_keeps_the_rest(tmp_path: Path, disk: Disk) -> None:
    store = SQLiteStore(tmp_path / "faena.db", vfs=disk.name)
    await store.open()
    await store.insert([NewJob(id="before", task="work")])
    disk.full = True
    too_large = NewJob(id="refused", task="work", args=b'"%s"' % (b"x" * 5_000_000))
    with pytest.raises(StoreFull, match="free some space"):
        await store.insert([NewJob(id="refused-too", task="work"), too_large])
    disk.full = False
    await store.insert([NewJob(id="after", task="work")])
    before, refused, refused_too, after = await store.get(["before", "refused", "refused-too", "after"])
    assert before is not None
    assert refused is None
    assert refused_too is None
    assert after is not None
    await store.close()
