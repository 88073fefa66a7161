"""Functions in child processes: what they may use, how they are stopped, and what becomes of the worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from crew_kit import crew
from faena.isolation.pool import Child, NotStarted, Pool
from faena.job import Failure, Job, Status

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits and signals are POSIX's")


def failure(job: Job) -> Failure:
    assert job.error is not None
    return job.error


def result(job: Job) -> dict[str, int]:
    assert job.result is not None
    return dict(json.loads(job.result))


def is_gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


async def test_a_function_runs_in_another_process_that_is_used_again() -> None:
    async with crew() as at_work:
        first = result(await at_work.run("child_add", a=1))
        second = result(await at_work.run("child_add", a=2, b=3))
    assert (first["sum"], second["sum"]) == (3, 5)
    assert first["pid"] == second["pid"] != os.getpid()


async def test_an_async_function_runs_in_a_child_too() -> None:
    async with crew() as at_work:
        assert (await at_work.run("child_async_add", a=1)).result == b"3"
        assert (await at_work.run("child_async_add", a=2)).result == b"4"


async def test_children_end_with_their_worker() -> None:
    async with crew() as at_work:
        pid = result(await at_work.run("child_add", a=1))["pid"]
        assert not is_gone(pid)
    assert is_gone(pid)


async def test_what_a_child_tells_arrives_in_order_and_prints_do_no_harm() -> None:
    async with crew() as at_work:
        job = await at_work.run("child_tells", steps=500)
        events = await at_work.events(job.id)
    assert job.result == json.dumps(f"{job.id} 1").encode()
    assert [event.data for event in events] == [{"number": step, "big": 2**80} for step in range(500)]
    assert job.checkpoint == b'{"steps":500}'


async def test_a_memory_bomb_fails_its_own_job_only(caplog: pytest.LogCaptureFixture) -> None:
    async with crew(threads=1) as at_work:
        bomb = await at_work.run("child_eats_memory", megabytes=500)
        assert (bomb.status, failure(bomb).type) == (Status.FAILED, "OutOfMemory")
        assert "child_eats_memory failed: OutOfMemory: there was no memory left" in caplog.text
        within = await at_work.run("child_eats_memory", megabytes=16)
        assert within.status is Status.COMPLETED


async def test_a_limit_is_above_what_the_child_needs_at_rest_each_time() -> None:
    async with crew(threads=1) as at_work:
        for _ in range(5):
            assert (await at_work.run("child_eats_memory", megabytes=40)).status is Status.COMPLETED


async def test_a_function_that_spins_is_stopped_by_its_processor_time() -> None:
    async with crew() as at_work:
        job = await at_work.run("child_spins")
    assert (failure(job).type, job.status) == ("CpuLimit", Status.FAILED)
    assert "1 s" in failure(job).message


async def test_open_files_are_limited() -> None:
    async with crew() as at_work:
        few = await at_work.run("child_opens_files", count=5)
        many = await at_work.run("child_opens_files", count=50)
    assert few.status is Status.COMPLETED
    assert (many.status, failure(many).type) == (Status.FAILED, "OSError")


async def test_a_child_that_exits_fails_its_own_job_only() -> None:
    async with crew(threads=1) as at_work:
        job = await at_work.run("child_exits", code=3)
        assert (job.status, failure(job).type) == (Status.FAILED, "Crashed")
        assert "code 3" in failure(job).message
        assert (await at_work.run("child_add", a=1)).status is Status.COMPLETED


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
async def test_a_child_that_is_killed_fails_its_own_job_only(number: signal.Signals) -> None:
    async with crew(threads=1) as at_work:
        job = await at_work.run("child_is_killed", number=int(number))
        assert (job.status, failure(job).type) == (Status.FAILED, "Crashed")
        assert number.name in failure(job).message
        assert (await at_work.run("child_add", a=1)).status is Status.COMPLETED


async def test_an_error_in_a_child_comes_with_its_own_traceback() -> None:
    async with crew() as at_work:
        job = await at_work.run("child_raises", text="nothing there")
    told = failure(job)
    assert (told.type, told.message) == ("LookupError", "nothing there")
    assert told.traceback is not None
    assert "crew_kit.py" in told.traceback
    assert "isolation" not in told.traceback


async def test_a_function_stuck_in_c_is_killed_at_its_hard_timeout(tmp_path: Path) -> None:
    async with crew() as at_work:
        job = await at_work.run("child_sleeps_in_c", path=str(tmp_path / "pid"))
        assert (job.status, failure(job).type) == (Status.FAILED, "Timeout")
        assert is_gone(int((tmp_path / "pid").read_text()))


async def test_a_function_may_clean_up_when_its_time_is_up() -> None:
    async with crew() as at_work:
        job = await at_work.run("child_cleans_up")
        assert [event.message for event in await at_work.events(job.id)] == ["cleaned up"]
    assert (job.status, failure(job).type) == (Status.FAILED, "Timeout")


async def test_a_huge_result_comes_through() -> None:
    async with crew() as at_work:
        job = await at_work.run("child_returns_much", size=10_000_000)
    assert len(job.result or b"") == 10_000_002


async def test_a_result_beyond_measure_is_refused() -> None:
    async with crew() as at_work:
        job = await at_work.run("child_returns_much", size=100_000_000)
    assert failure(job).type == "ResultTooLarge"


async def test_a_child_learns_of_a_cancellation() -> None:
    async with crew() as at_work:
        job_id = await at_work.enqueue("child_heeds_cancellation")
        await at_work.started(job_id)
        await at_work.store.cancel([job_id])
        assert (await at_work.final(job_id)).status is Status.CANCELLED


async def test_a_child_learns_of_a_cancellation_that_came_while_it_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, ready = asyncio.Event(), asyncio.Event()
    take = Pool.take

    async def take_late(pool: Pool) -> Child:
        child = await take(pool)
        asked.set()
        await ready.wait()
        return child

    monkeypatch.setattr(Pool, "take", take_late)
    async with crew(cancel_grace=60) as at_work:
        job_id = await at_work.enqueue("child_heeds_cancellation")
        await asked.wait()
        await at_work.store.cancel([job_id])
        (attempt,) = at_work.worker._executor.running
        async with asyncio.timeout(10):
            while not attempt.noticed:
                await asyncio.sleep(0.01)
        ready.set()
        assert (await at_work.final(job_id)).status is Status.CANCELLED


async def test_a_child_that_ignores_a_cancellation_is_killed_after_the_grace_time() -> None:
    async with crew(cancel_grace=0.05) as at_work:
        job_id = await at_work.enqueue("child_ignores_everything")
        await at_work.until(job_id, lambda story: any(event.event == "pid" for event in story.events))
        pid = (await at_work.events(job_id))[0].data
        await at_work.store.cancel([job_id])
        assert (await at_work.final(job_id)).status is Status.CANCELLED
        assert is_gone(pid)


async def test_a_stopping_worker_kills_children_and_hands_their_jobs_back() -> None:
    async with crew() as at_work:
        job_id = await at_work.enqueue("child_ignores_everything")
        await at_work.until(job_id, lambda story: any(event.event == "pid" for event in story.events))
        pid = (await at_work.events(job_id))[0].data
        at_work.worker.stop(now=True)
        await at_work.running
        (job,) = await at_work.store.get([job_id])
    assert job is not None
    assert (job.status, job.attempt) == (Status.PENDING, 0)
    assert is_gone(pid)


async def test_a_stop_does_not_wait_for_a_child_that_starts() -> None:
    async with crew() as at_work:
        job_id = await at_work.enqueue("child_add", a=1)
        await at_work.processing(job_id)
        at_work.worker.stop(now=True)
        await at_work.running
        (job,) = await at_work.store.get([job_id])
    assert job is not None
    assert (job.status, job.attempt) == (Status.PENDING, 0)


async def test_an_app_that_can_not_be_loaded_is_told_clearly() -> None:
    pool = Pool("no_such_module:app")
    with pytest.raises(NotStarted, match="no_such_module"):
        await pool.take()
    await pool.close()


async def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from faena.isolation.pool import Pool

async def main():
    child = await Pool("crew_kit:app").take()
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            await asyncio.sleep(0.01)
