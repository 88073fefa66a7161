"""Workers in processes of their own that are stopped, killed and frozen, started by each command line there is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from faena.job import Job
from faena.testing.engines.base import PATIENCE, Transport
from faena.testing.engines.bench import LEASE, REDELIVER_AFTER, Bench, opened_bench
from faena.testing.engines.working import WorkerSuite
from faena.testing.witness import APP, VARIABLE, Witness

FAENA = "faena worker"
COMMANDS: Mapping[str, Sequence[str]] = {FAENA: ("-m", "faena", "worker", "--threads", "4")}


class Crew:
    """Starts worker processes, and ends those that a test left."""

    def __init__(self, transport: Transport, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._commands = {**COMMANDS, **transport.own_commands}
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(directory),
            "FAENA_APP": APP,
            "FAENA_DATA_DIR": str(directory),
            "FAENA_STORE": "sqlite",
            "FAENA_LEASE": str(LEASE),
            "FAENA_REDELIVER_AFTER": str(REDELIVER_AFTER),
            "FAENA_GRACE": "2",
            VARIABLE: str(directory / "witness.jsonl"),
            **transport.settings(),
        }

    def start(self, command: str = FAENA, *more: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker by one of the command lines."""
        if command not in self._commands:
            pytest.skip(f"this engine has no command line called {command!r}")
        log = (self._directory / f"worker-{len(self._processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, *self._commands[command], *more],
            env=self._environment | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self._processes.append(process)
        return process

    async def end(self, process: subprocess.Popen[bytes]) -> int:
        """Return a process's exit status once it has ended."""
        try:
            return await asyncio.to_thread(process.wait, PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end:\n{self.logs()}") from None

    def logs(self) -> str:
        """Return what the workers wrote."""
        paths = sorted(self._directory.glob("worker-*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}" for path in paths)

    def close(self) -> None:
        """Kill what is left of the processes that were started here."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class ProcessSuite(WorkerSuite):
    """What cases with processes stand on."""

    pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

    @pytest.fixture
    def crew(self, transport: Transport, tmp_path: Path) -> Iterator[Crew]:
        crew = Crew(transport, tmp_path)
        yield crew
        crew.close()
        sys.stdout.write(crew.logs())  # shown if the test failed

    @pytest_asyncio.fixture
    async def bench(self, transport: Transport, tmp_path: Path, witness: Witness) -> AsyncIterator[Bench]:
        async with opened_bench(transport, tmp_path, witness) as bench:
            yield bench


class ProcessConformance(ProcessSuite):
    """Cases 5, 6, 12 and 20."""

    commands: Sequence[str] = (FAENA,)
    """The names of the command lines that every case is run with; see `Transport.own_commands`."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "command" in metafunc.fixturenames:
            metafunc.parametrize("command", self.commands)

    def _needs_faenas_own(self) -> None:
        if FAENA not in self.commands:
            pytest.skip(f"needs {FAENA!r}, which the suite's ``commands`` leave out")

    async def test_a_worker_process_in_another_time_zone_runs_what_this_one_enqueues(
        self, bench: Bench, crew: Crew, command: str
    ) -> None:
        worker = crew.start(command, TZ="Pacific/Kiritimati")
        jobs = [await bench.enqueue(name=f"job-{number}") for number in range(20)]
        for job in jobs:
            assert (await bench.completed(job)).result == b"1"
        later = await bench.enqueue(name="later", delay=60)
        soon = await bench.completed(await bench.enqueue(name="soon", delay=0.3))
        assert soon.started_at is not None
        assert 0 <= soon.started_at - soon.due_at < 2.0
        assert (await bench.client.get(later.id)).status == "scheduled"
        worker.send_signal(signal.SIGTERM)
        assert await crew.end(worker) == 0

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_a_stopped_worker_finishes_a_short_job(
        self, bench: Bench, crew: Crew, command: str, number: signal.Signals
    ) -> None:
        worker, job = await _in_mid_job(bench, crew, command, seconds=0.6)
        worker.send_signal(number)
        assert await crew.end(worker) == 0
        ended = await bench.client.get(job.id)
        assert (ended.status, ended.result) == ("completed", b"1")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_a_stopped_worker_hands_a_long_job_back_without_spending_its_attempt(
        self, bench: Bench, crew: Crew, command: str, number: signal.Signals
    ) -> None:
        worker, job = await _in_mid_job(bench, crew, command, seconds=5.0, FAENA_GRACE="0.3")
        worker.send_signal(number)
        assert await crew.end(worker) == 0
        waiting = await bench.client.get(job.id)
        assert (waiting.status, waiting.attempt, waiting.crashes) == ("pending", 0, 0)

    async def test_a_second_signal_stops_at_once_and_loses_nothing(
        self, bench: Bench, crew: Crew, command: str
    ) -> None:
        worker, job = await _in_mid_job(bench, crew, command, seconds=60.0, FAENA_GRACE="60")
        worker.send_signal(signal.SIGTERM)
        for _ in range(
            3
        ):  # two signals at the same moment are one, and on a busy machine half a second is a moment
            await asyncio.sleep(0.5)
            worker.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(worker.wait, 5)
                break
        assert worker.poll() is not None, "it does not stop"
        crew.start(command)
        await bench.completed(job)
        assert len(bench.witness.sights("job", "end")) == 1

    async def test_a_killed_workers_job_is_run_by_the_next(
        self, bench: Bench, crew: Crew, command: str
    ) -> None:
        worker, job = await _in_mid_job(bench, crew, command, seconds=60.0)
        _send_all(worker, signal.SIGKILL)
        await crew.end(worker)
        crew.start(command)
        ended = await bench.completed(job)
        assert (ended.crashes, len(bench.witness.sights("job"))) == (1, 2)
        assert len(bench.witness.sights("job", "end")) == 1

    async def test_a_killed_worker_leaves_no_child_behind(
        self, bench: Bench, crew: Crew, command: str
    ) -> None:
        worker, _ = await _in_mid_job(bench, crew, command, task="isolated", seconds=30.0)
        children = psutil.Process(worker.pid).children(recursive=True)
        assert children
        worker.kill()
        await crew.end(worker)
        await bench.until(lambda: not [child for child in children if _lives(child)], "the children to end")

    async def test_a_killed_child_of_a_crew_is_replaced_and_its_job_run(
        self, bench: Bench, crew: Crew
    ) -> None:
        self._needs_faenas_own()
        supervisor = crew.start(FAENA, "--processes", "2")
        job = await bench.enqueue(name="job", seconds=60.0)
        await bench.begun("job")
        (sight,) = bench.witness.sights("job")
        assert sight.pid != supervisor.pid
        os.kill(sight.pid, signal.SIGKILL)
        assert (await bench.completed(job)).crashes == 1
        supervisor.send_signal(signal.SIGTERM)
        assert await crew.end(supervisor) == 0

    async def test_a_killed_supervisors_children_end_too(self, bench: Bench, crew: Crew) -> None:
        self._needs_faenas_own()
        supervisor = crew.start(FAENA, "--processes", "2")
        await bench.completed(await bench.enqueue(name="job"))
        children = psutil.Process(supervisor.pid).children(recursive=True)
        assert len(children) >= 2
        supervisor.kill()
        await crew.end(supervisor)
        await bench.until(lambda: not [child for child in children if _lives(child)], "the children to end")

    async def test_a_worker_that_was_frozen_past_its_lease_writes_nothing_more(
        self, bench: Bench, crew: Crew, command: str
    ) -> None:
        frozen, job = await _in_mid_job(bench, crew, command, task="plain", seconds=1.5)
        await _freeze(bench, frozen)
        crew.start(command, FAENA_LEASE=str(5 * LEASE))  # it keeps its own job, however busy the machine is
        ended = await bench.completed(job)
        _send_all(frozen, signal.SIGCONT)
        await bench.completed(await bench.enqueue(name="next"))
        frozen.send_signal(signal.SIGTERM)
        await crew.end(frozen)
        assert len(bench.witness.sights("job")) == 2
        assert await bench.client.get(job.id) == ended

    async def test_messages_lost_while_no_worker_runs_are_delivered_again(
        self, bench: Bench, crew: Crew, transport: Transport, command: str
    ) -> None:
        if not bench.engine.capabilities.delivers:
            pytest.skip(f"{bench.engine.name} has no messages that could be lost")
        jobs = [await bench.enqueue(name=f"job-{number}") for number in range(10)]
        transport.wipe()
        crew.start(command)
        for job in jobs:
            await bench.completed(job)


async def _in_mid_job(
    bench: Bench, crew: Crew, command: str, *, seconds: float, task: str = "note", **environment: str
) -> tuple[subprocess.Popen[bytes], Job]:
    """Return a worker process that has just begun a job, and the job."""
    worker = crew.start(command, **environment)
    job = await bench.enqueue(task, name="job", seconds=seconds)
    try:
        await bench.begun("job")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{crew.logs()}") from None
    return worker, job


async def _freeze(bench: Bench, worker: subprocess.Popen[bytes]) -> None:
    """Freeze a worker with all of its processes, but not in the middle of a write: nobody could write any more where
    the store is a file with one lock."""
    while True:
        _send_all(worker, signal.SIGSTOP)
        try:
            async with asyncio.timeout(0.5):
                return await bench.client.store.leave("nobody")
        except TimeoutError:
            _send_all(worker, signal.SIGCONT)
            await asyncio.sleep(0.01)


def _send_all(worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a worker with all of its processes: some command lines have several."""
    os.killpg(worker.pid, number)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
