"""The supervisor: keeps worker processes alive, replaces them, and ends with them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import crew_kit
from crew_kit import Crew, SQLiteStore
from faena.job import Status
from faena.supervisor import REFUSED, Place, Supervisor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@contextlib.asynccontextmanager
async def supervised(
    path: Path, *, processes: int = 2, **options: float
) -> AsyncIterator[tuple[Crew, Supervisor]]:
    """Run a supervisor in a thread, around a test."""
    store = SQLiteStore(path / "faena.db")
    await store.open()
    supervisor = Supervisor(crew_kit.command(path, **options), processes=processes, grace=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", crew_kit.environment()["PYTHONPATH"])
        running = asyncio.create_task(asyncio.to_thread(supervisor.run))
        try:
            yield Crew(store, None, None), supervisor  # type: ignore[arg-type]
        finally:
            supervisor.stop()
            await running
            await store.close()


async def workers(crew: Crew, count: int) -> set[int]:
    """Wait until so many workers are heard of; return their process ids."""
    async with asyncio.timeout(30):
        while len(found := {worker.pid for worker in await crew.store.workers()}) != count:
            await asyncio.sleep(0.05)
    return found


def is_gone(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


async def test_a_dead_child_is_replaced_and_its_job_rescued(tmp_path: Path) -> None:
    async with supervised(tmp_path, lease=1.0) as (crew, supervisor):
        await workers(crew, 2)
        job_id = await crew.enqueue("waits_for_file", log=str(tmp_path / "log"), end=str(tmp_path / "end"))
        job = await crew.started(job_id)
        victim = next(one for one in await crew.store.workers() if one.id == job.worker)
        os.kill(victim.pid, signal.SIGKILL)
        (tmp_path / "end").touch()
        done = await crew.final(job_id)
        assert (done.status, done.crashes, done.attempt) == (Status.COMPLETED, 1, 1)
        async with asyncio.timeout(10):
            while len(supervisor.pids) < 2 or victim.pid in supervisor.pids:
                await asyncio.sleep(0.01)


async def test_a_job_that_kills_its_workers_fails_and_the_crew_lives(tmp_path: Path) -> None:
    async with supervised(tmp_path, lease=1.0, threads=1) as (crew, _):
        killer = await crew.enqueue("kills_its_worker", max_attempts=1)
        job = await crew.final(killer)
        assert job.error is not None
        assert (job.status, job.error.type, job.crashes) == (Status.FAILED, "Crashed", 3)
        assert (await crew.run("add", a=1)).status is Status.COMPLETED


async def test_children_that_have_run_their_jobs_are_replaced(tmp_path: Path) -> None:
    seen: set[int] = set()
    async with supervised(tmp_path, processes=1, max_jobs=2) as (crew, supervisor):
        for number in range(5):
            await crew.run("add", a=number)
            seen.update(supervisor.pids)
    assert len(seen) >= 3


async def test_children_end_with_a_supervisor_that_is_stopped(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (crew, supervisor):
        pids = await workers(crew, 2)
        supervisor.stop()
        async with asyncio.timeout(20):
            while not all(is_gone(pid) for pid in pids):
                await asyncio.sleep(0.02)


async def test_children_stop_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "faena.db")
    await store.open()
    script = (
        "import sys; from faena.supervisor import Supervisor; Supervisor(sys.argv[1:], processes=2).run()"
    )
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *crew_kit.command(tmp_path), env=crew_kit.environment()
    )
    pids = await workers(Crew(store, None, None), 2)  # type: ignore[arg-type]
    supervisor.kill()
    await supervisor.wait()
    async with asyncio.timeout(20):
        while not all(is_gone(pid) for pid in pids):
            await asyncio.sleep(0.02)
    await store.close()


def test_a_child_that_refuses_its_settings_ends_the_supervisor() -> None:
    supervisor = Supervisor([sys.executable, "-c", "raise SystemExit(2)"], processes=2, grace=1)
    assert supervisor.run() == REFUSED


INTERRUPTED = """
import signal, sys, threading
from faena.supervisor import Supervisor

class Woken(threading.Event):
    def clear(self) -> None:
        with self._cond:
            signal.raise_signal(signal.SIGTERM)
        super().clear()

supervisor = Supervisor([sys.executable, "-S", "-c", "import sys; sys.stdin.read()"], processes=1, grace=5)
supervisor._woken = Woken()
sys.exit(supervisor.run())
"""


def test_a_signal_may_come_while_the_supervisor_wakes() -> None:
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr


async def test_children_that_die_at_once_are_started_ever_more_slowly(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    command = [sys.executable, "-S", "-c", f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(1)"]
    supervisor = Supervisor(command, processes=1, grace=1)
    running = asyncio.create_task(asyncio.to_thread(supervisor.run))
    (place,) = supervisor._places
    async with asyncio.timeout(30):
        while place.failures < 3:
            await asyncio.sleep(0.05)
    supervisor.stop()
    await running
    assert place.start_at - place.started >= 2.0
    assert 3 <= len(starts.read_text()) <= 4


def test_a_child_that_was_stopped_is_not_said_to_be_replaced(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ends_with_its_input = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]
    for asked in (False, True):
        place = Place(1)
        place.start(ends_with_its_input)
        assert place.process is not None
        assert place.process.stdin is not None
        place.process.stdin.close()
        place.process.wait()
        caplog.clear()
        assert place.ended(asked=asked) == 0
        assert ("starting another one" in caplog.text, "has stopped" in caplog.text) == (not asked, asked)


def test_a_system_without_room_for_a_child_is_asked_again_later() -> None:
    place = Place(1)
    for _ in range(3):
        place.start([f"{sys.executable}-that-is-not-there"])
    assert place.process is None
    assert place.failures == 3
    assert place.start_at - place.started >= 2.0
