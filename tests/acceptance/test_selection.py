"""What REDIS_URL and FAENA_ENGINE select, with a real Redis and worker processes: every engine at scale."""

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

from faena import Faena
from faena.job import Job
from faena.settings import Settings, env_name
from faena.testing.servers import RedisServer
from faena.wiring import ON_A_BROKER
from redis_kit import empty_redis, redis_server

__all__ = ["empty_redis", "redis_server"]

APP = """
import os
from faena import Faena

app = Faena()


@app.task
def who(number: int) -> int:
    return os.getpid()


@app.task(queue="high")
async def urgent() -> str:
    return "done"
"""

ENGINES = ("direct", "huey", *ON_A_BROKER)
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def environment(tmp_path: Path, empty_redis: RedisServer) -> dict[str, str]:
    (tmp_path / "selected_app.py").write_text(APP)
    ours = {env_name(field) for field in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {
        "FAENA_APP": "selected_app:app",
        "FAENA_DATA_DIR": str(tmp_path / "data"),
        "FAENA_LEASE": "3",
        "REDIS_URL": empty_redis.url,
    }


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a command; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str, **more: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"log-{len(started)}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "faena", *arguments],
                cwd=tmp_path,
                env=environment | more,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()
    for path in sorted(tmp_path.glob("log-*")):
        sys.stdout.write(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}\n")


@pytest.fixture
def ask(tmp_path: Path, environment: dict[str, str]) -> Callable[..., Any]:
    """Run a short command and return its JSON."""

    def run(*arguments: str) -> Any:
        command = [sys.executable, "-m", "faena", *arguments, "--json"]
        answer = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        return json.loads(answer.stdout)

    return run


def ended(environment: dict[str, str], job_id: str) -> Job:
    app = Faena(settings=Settings(redis_url=environment["REDIS_URL"], engine="direct"))
    try:
        return app.ask(lambda client: client.wait(job_id, 60))
    finally:
        app.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crew_on_each_engine_serves_the_queues_and_tells_of_itself(
    start: Start, ask: Callable[..., Any], environment: dict[str, str], tmp_path: Path, engine: str
) -> None:
    flags = ("--engine", engine, "--queues", "high,default", "--processes", "2", "--threads", "3")
    crew = start("worker", *flags)
    app = Faena(
        settings=Settings(
            redis_url=environment["REDIS_URL"], engine=engine, data_dir=tmp_path / "data", lease=3.0
        )
    )

    @app.task
    def who(number: int) -> int: ...

    @app.task(queue="high")
    async def urgent() -> str: ...

    handles = who.enqueue_many([{"number": number} for number in range(60)])
    assert urgent.enqueue().wait(timeout=60) == "done"
    children = {handle.wait(timeout=60) for handle in handles}
    assert crew.pid not in children
    workers = ask("workers")["workers"]
    assert {worker["engine"] for worker in workers} == {engine}
    assert [(worker["queues"], worker["slots"]) for worker in workers] == [(["high", "default"], 3)] * 2
    assert all(worker["memory"] > 1_000_000 and worker["version"] and worker["host"] for worker in workers)
    app.close()
    crew.send_signal(signal.SIGTERM)
    assert crew.wait(30) == 0


def test_with_redis_a_server_and_a_worker_choose_it_and_dramatiq_by_themselves(
    start: Start, environment: dict[str, str]
) -> None:
    server = start("api", "--port", "0", "--json")
    assert server.stdout is not None
    told = json.loads(server.stdout.readline())
    assert (told["store"], told["engine"], told["reason"]) == ("redis", "dramatiq", "Redis answers")
    start("worker")
    with httpx.Client(base_url=told["address"], timeout=30) as http:
        job = http.post("/jobs", json={"task": "urgent", "args": {}}).json()
        waited = ended(environment, job["task_id"])
        health = http.get("/health").json()
    assert waited.status == "completed"
    assert health["engine"]["detail"] == "dramatiq"
    assert not [warning for warning in health["warnings"] if "runs" in warning]


def test_a_server_and_a_worker_that_disagree_say_so_loudly(
    start: Start, ask: Callable[..., Any], environment: dict[str, str]
) -> None:
    server = start("api", "--port", "0", "--json", FAENA_ENGINE="dramatiq")
    assert server.stdout is not None
    told = json.loads(server.stdout.readline())
    worker = start("worker", "--json", FAENA_ENGINE="rq", FAENA_REDELIVER_AFTER="0.5")
    assert worker.stdout is not None
    worker.stdout.readline()
    with httpx.Client(base_url=told["address"], timeout=30) as http:
        job = http.post("/jobs", json={"task": "urgent", "args": {}}).json()
        waited = ended(environment, job["task_id"])
        warnings = http.get("/health").json()["warnings"]
    assert waited.status == "completed"  # later, but not lost
    (warning,) = [one for one in warnings if "runs rq" in one]
    assert "jobs are delivered to dramatiq" in warning
    environment["FAENA_ENGINE"] = "dramatiq"
    faults = [one["told"] for one in ask("doctor")["findings"] if one["level"] == "fault"]
    assert any("runs rq, and here jobs are delivered to dramatiq" in fault for fault in faults)
