"""A worker as a real process: signals, grace, stuck functions, and a loop that a job blocks."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from crew_kit import process
from faena.job import Job, Status
from faena.process import RECYCLED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


async def look(at_work: object, job_id: str) -> Job:
    (job,) = await at_work.crew.store.get([job_id])  # type: ignore[attr-defined]
    assert job is not None
    return job


async def test_sigterm_lets_a_job_finish_and_takes_no_other(tmp_path: Path) -> None:
    async with process(tmp_path, threads=1) as at_work:
        log, end = str(tmp_path / "log"), tmp_path / "end"
        first = await at_work.crew.enqueue("waits_for_file", log=log, end=str(end))
        await at_work.crew.started(first)
        second = await at_work.crew.enqueue("add", a=1)
        at_work.signal()
        end.touch()
        assert await at_work.ended() == 0
        assert (await look(at_work, first)).status is Status.COMPLETED
        assert (await look(at_work, second)).status is Status.PENDING


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_after_the_grace_time_a_job_is_handed_back_unspent(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with process(tmp_path, grace=0.1) as at_work:
        job_id = await at_work.crew.enqueue("waits_for_ever")
        await at_work.crew.started(job_id)
        at_work.signal(number)
        assert await at_work.ended() == 0
        job = await look(at_work, job_id)
        assert (job.status, job.attempt, job.crashes) == (Status.PENDING, 0, 0)


async def test_a_second_signal_hands_back_at_once(tmp_path: Path) -> None:
    async with process(tmp_path, grace=600) as at_work:
        job_id = await at_work.crew.enqueue("waits_for_ever")
        await at_work.crew.started(job_id)
        at_work.signal()
        await at_work.crew.until(await at_work.crew.enqueue("add", a=1), lambda story: True)
        while at_work.process.returncode is None:  # a second one that comes too early merges with the first
            at_work.signal()
            await asyncio.sleep(0.2)
        assert await at_work.ended() == 0
        job = await look(at_work, job_id)
        assert (job.status, job.attempt) == (Status.PENDING, 0)


async def test_a_process_ends_though_a_plain_function_is_stuck(tmp_path: Path) -> None:
    async with process(tmp_path, grace=0.1) as at_work:
        job_id = await at_work.crew.enqueue("plain_waits_for_file", end=str(tmp_path / "never"))
        await at_work.crew.started(job_id)
        at_work.signal()
        assert await at_work.ended() == 0
        assert (await look(at_work, job_id)).status is Status.PENDING


async def test_a_process_ends_though_an_async_function_ignores_it(tmp_path: Path) -> None:
    async with process(tmp_path, grace=0.1) as at_work:
        job_id = await at_work.crew.enqueue("ignores_its_timeout", timeout=600, path=str(tmp_path / "never"))
        await at_work.crew.processing(job_id)
        at_work.signal()
        assert await at_work.ended() == 0
        assert (await look(at_work, job_id)).status is Status.PENDING


async def test_a_job_that_blocks_the_loop_keeps_its_lease(tmp_path: Path) -> None:
    async with process(tmp_path, lease=0.6) as at_work:
        end, store = tmp_path / "end", at_work.crew.store
        job_id = await at_work.crew.enqueue("blocks_until_file", end=str(end))
        job = await at_work.crew.until(
            job_id, lambda story: any(event.event == "blocking" for event in story.events)
        )
        assert job.lease_until is not None
        for _ in range(3):  # three extensions, each by the heartbeat
            before = job.lease_until
            while job.lease_until == before:
                assert await store.rescue(limit=10) == []
                await asyncio.sleep(0.02)
                job = await look(at_work, job_id)
        end.touch()
        assert (await at_work.crew.final(job_id)).crashes == 0


async def test_a_worker_ends_after_its_number_of_jobs_with_a_code_of_its_own(tmp_path: Path) -> None:
    async with process(tmp_path, max_jobs=3) as at_work:
        for _ in range(5):
            await at_work.crew.enqueue("add", a=1)
        assert await at_work.ended() == RECYCLED
        counts = {count.status: count.count for count in await at_work.crew.store.counts()}
        assert counts == {Status.COMPLETED: 3, Status.PENDING: 2}
