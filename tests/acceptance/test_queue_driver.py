"""The queue driver's guide, as it is written, with a worker process that runs what it enqueues."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from faena import Faena
from faena.driver import QueueDriver
from faena.settings import Settings, env_name
from faena.testing.servers import RedisServer
from redis_kit import empty_redis, redis_server

__all__ = ["empty_redis", "redis_server"]

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

FLASK = """
import json, sys, time
from myproject_tasks import queue, web
http = web.test_client()
ids = [http.post(f"/employees/{n}/calculate").get_json()["task_id"] for n in range(20)]
deadline = time.monotonic() + 30
while (told := queue.get_bulk_results(ids))["completed"] < len(ids) and time.monotonic() < deadline:
    time.sleep(0.05)
answer = http.get(f"/tasks/{ids[7]}").get_json()
print(json.dumps({"answer": answer, "completed": told["completed"], "stats": queue.get_stats()}))
"""


@pytest.mark.parametrize("engine", ["huey", "direct"])
def test_the_guide_works_as_written_with_a_worker_process(tmp_path: Path, engine: str) -> None:
    import json

    pytest.importorskip("flask")
    definitions, *rest = BLOCK.findall((ROOT / "docs" / "guides" / "queue-driver.md").read_text("utf-8"))
    flask = next(block for block in rest if "Flask" in block)
    (tmp_path / "myproject_tasks.py").write_text(definitions + flask)
    steps = "".join(block for block in rest if block is not flask)
    (tmp_path / "script.py").write_text(f"from myproject_tasks import *\n{steps}\nprint(bulk['total'])\n")
    (tmp_path / "web.py").write_text(FLASK)
    ours = {env_name(field) for field in Settings.model_fields}
    environment = {name: value for name, value in os.environ.items() if name not in ours} | {
        "FAENA_DATA_DIR": str(tmp_path / "data"),
        "FAENA_ENGINE": engine,
    }

    def run(script: str) -> str:
        command = [sys.executable, script]
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert run("script.py").splitlines()[-1] == "3"
    command = [sys.executable, "-m", "faena", "worker", "--app", "myproject_tasks:queue"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        told = json.loads(run("web.py").splitlines()[-1])
    finally:
        worker.terminate()
        assert worker.wait(30) == 0, (tmp_path / "worker.log").read_text()
    assert told["completed"] == 20
    assert told["answer"]["result"] == {"employee_id": "7", "result": 2}
    assert told["stats"]["driver"] == engine
    assert told["stats"]["pending_tasks"] == 1  # the one that waits for its 300 seconds


ISOLATED = """
import os
from faena.driver import get_queue_driver

queue = get_queue_driver(force_backend="dramatiq")


def double(value: int) -> int:
    return value * 2


queue.register_task(double, name="double")


@queue.app.task(isolation="process", queue="high")
def where() -> int:
    return os.getpid()
"""

ON_REDIS = """
import json
from isolated_tasks import queue, where
before = queue.enqueue("double", value=1, delay=600)
handle = where.enqueue()
child = handle.wait(timeout=60)
twice = queue.app.wait(queue.enqueue("double", 21), timeout=60)
print(json.dumps({"child": child, "twice": twice, "stats": queue.get_stats()}))
"""


def test_on_redis_the_stats_tell_each_queue_and_children_load_the_driver_too(
    tmp_path: Path, empty_redis: RedisServer
) -> None:
    import json

    (tmp_path / "isolated_tasks.py").write_text(ISOLATED)
    (tmp_path / "script.py").write_text(ON_REDIS)
    ours = {env_name(field) for field in Settings.model_fields}
    environment = {name: value for name, value in os.environ.items() if name not in ours} | {
        "FAENA_DATA_DIR": str(tmp_path / "data"),
        "REDIS_URL": empty_redis.url,
    }
    command = [sys.executable, "-m", "faena", "worker", "--app", "isolated_tasks:queue.app"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        ran = subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
    finally:
        worker.terminate()
        assert worker.wait(30) == 0, (tmp_path / "worker.log").read_text()
    assert ran.returncode == 0, ran.stderr + (tmp_path / "worker.log").read_text()
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["child"] != worker.pid
    assert told["twice"] == 42
    assert told["stats"] == {
        "driver": "dramatiq",
        "backend": "redis",
        "available": True,
        "registered_tasks": ["double", "where"],
        "queues": {"default": 1},
    }


def test_a_redis_that_is_down_makes_the_driver_unavailable_and_not_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Faena(
        settings=Settings(redis_url="redis://127.0.0.1:1/0", engine="dramatiq", data_dir=tmp_path / "data")
    )
    queue = QueueDriver(app)
    assert not queue.is_available()
    expected = {"driver": "dramatiq", "backend": "redis", "available": False}
    assert queue.get_stats() == {**expected, "registered_tasks": [], "queues": {}}
