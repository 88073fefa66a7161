"""The commands that run until they are stopped, as processes: what they say, what they run, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from faena.settings import Settings, env_name

APP = """
import asyncio
import os
from faena import Context, Faena

app = Faena()


@app.task
async def who() -> int:
    return os.getpid()


@app.task
async def sleep(ctx: Context, seconds: float) -> None:
    ctx.progress(1, "asleep")
    await asyncio.sleep(seconds)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "commands_app.py").write_text(APP)
    ours = {env_name(field) for field in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {
        "FAENA_APP": "commands_app:app",
        "FAENA_DATA_DIR": str(tmp_path / "data"),
        "FAENA_ENGINE": "direct",
    }


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a command; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "faena", *arguments],
            cwd=tmp_path,
            env=environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def ask(tmp_path: Path, environment: dict[str, str]) -> Callable[..., Any]:
    """Run a short command and return its JSON."""

    def run(*arguments: str) -> Any:
        command = [sys.executable, "-m", "faena", *arguments, "--json"]
        answer = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    return run


def first_words(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    told: dict[str, Any] = json.loads(line)
    return told


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal; returns the exit code and what was said on the way."""
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_serves_and_works_in_one_process_until_a_signal(start: Start, number: signal.Signals) -> None:
    process = start("up", "--port", "0", "--json")
    address = first_words(process)["address"]
    with httpx.Client(base_url=address, trust_env=False) as http:
        assert http.get("/health").status_code == 200
        job_id = http.post("/jobs", json={"task": "who"}).json()["task_id"]
        with http.stream("GET", f"/jobs/{job_id}/events", headers={"accept": "text/event-stream"}) as events:
            assert any("completed" in line for line in events.iter_lines())
        assert http.get(f"/jobs/{job_id}").json()["result"] == process.pid
    code, said = end(process, number)
    assert code == 0, said
    assert "Traceback" not in said


def test_a_stop_hands_back_what_does_not_end_in_time(start: Start, ask: Callable[..., Any]) -> None:
    process = start("up", "--port", "0", "--json", "--grace", "0.2")
    with httpx.Client(base_url=first_words(process)["address"], trust_env=False) as http:
        job_id = http.post("/jobs", json={"task": "sleep", "args": {"seconds": 600}}).json()["task_id"]
        with http.stream("GET", f"/jobs/{job_id}/events", headers={"accept": "text/event-stream"}) as events:
            assert any("asleep" in line for line in events.iter_lines())
    code, said = end(process, signal.SIGTERM)
    assert code == 0, said
    job = ask("show", job_id)
    assert (job["status"], job["attempt"]) == ("pending", 0)


def test_the_banner_says_where_and_why(start: Start) -> None:
    process = start("up", "--port", "0", REDIS_URL="redis://127.0.0.1:1/0")
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "WARNING" in line:
            break
    told = "".join(said)
    assert "http://127.0.0.1:" in told
    assert "sqlite" in told
    assert "direct" in told
    assert "WARNING: Failed to connect to Redis for Dramatiq: [Errno 111] Connection refused" in told
    assert end(process, signal.SIGTERM)[0] == 0


def test_a_port_that_is_taken_is_told_in_one_line(start: Start) -> None:
    first = start("api", "--port", "0", "--json")
    port = first_words(first)["address"].rpartition(":")[2]
    second = start("api", "--port", port)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"API_PORT={port} can't be listened on" in said
    assert "Traceback" not in said
    assert end(first, signal.SIGTERM)[0] == 0


def test_api_and_worker_may_be_two_processes(start: Start) -> None:
    api, worker = start("api", "--port", "0", "--json"), start("worker", "--json")
    with httpx.Client(base_url=first_words(api)["address"], trust_env=False) as http:
        first_words(worker)
        job_id = http.post("/jobs", json={"task": "who"}).json()["task_id"]
        with http.stream("GET", f"/jobs/{job_id}/events", headers={"accept": "text/event-stream"}) as events:
            assert any("completed" in line for line in events.iter_lines())
        assert http.get(f"/jobs/{job_id}").json()["result"] == worker.pid
    assert end(worker, signal.SIGTERM)[0] == 0
    assert end(api, signal.SIGTERM)[0] == 0


def test_a_crew_works_with_the_flags_of_its_supervisor(
    start: Start, ask: Callable[..., Any], tmp_path: Path
) -> None:
    supervisor = start("worker", "--processes", "2", "--json", "--data-dir", str(tmp_path / "other"))
    told = first_words(supervisor)
    assert told["data_dir"] == str(tmp_path / "other")
    job = ask("enqueue", "who", "--wait", "--data-dir", str(tmp_path / "other"))
    assert job["result"] != supervisor.pid
    assert end(supervisor, signal.SIGTERM)[0] == 0


def test_a_worker_is_replaced_after_its_jobs(start: Start, ask: Callable[..., Any]) -> None:
    supervisor = start("worker", "--max-jobs-per-child", "1", "--json")
    first_words(supervisor)
    pids = {ask("enqueue", "who", "--wait")["result"] for _ in range(2)}
    assert len(pids) == 2
    assert supervisor.pid not in pids
    assert end(supervisor, signal.SIGINT)[0] == 0


def test_solo_starts_no_other_process(start: Start, ask: Callable[..., Any]) -> None:
    worker = start("worker", "--solo", "--json")
    first_words(worker)
    assert ask("enqueue", "who", "--wait")["result"] == worker.pid
    assert [found["slots"] for found in ask("workers")["workers"]] == [1]
    assert end(worker, signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("command", [["api", "--port", "0"], ["worker"]])
def test_separate_processes_refuse_to_run_without_the_redis_that_is_named(
    start: Start, command: list[str]
) -> None:
    process = start(*command, REDIS_URL="redis://127.0.0.1:1/0", FAENA_ENGINE="auto")
    _, told = process.communicate(timeout=30)
    assert process.returncode == 5
    assert "REDIS_URL is set, and Redis does not answer" in told
    assert "`faena up` runs on files meanwhile" in told


def test_up_runs_on_files_when_the_redis_that_is_named_is_silent(start: Start) -> None:
    process = start("up", "--port", "0", "--json", REDIS_URL="redis://127.0.0.1:1/0", FAENA_ENGINE="auto")
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert (told["store"], told["engine"]) == ("sqlite", "huey")
    assert told["warnings"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
