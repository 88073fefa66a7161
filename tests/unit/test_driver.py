"""The queue driver: the calls of seed 004, on the embedded default."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faena import Context, Faena, InvalidArguments, InvalidOptions, InvalidSettings, UnknownTask
from faena import driver as driver_module
from faena.driver import QueueDriver, get_queue_driver
from faena.settings import Settings, env_name
from faena.wiring import load_app


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.setenv("FAENA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(driver_module, "_drivers", {})
    yield
    for driver in driver_module._drivers.values():
        driver.app.close()


@pytest.fixture
def queue() -> QueueDriver:
    return get_queue_driver()


def double(employee_id: str, value: int) -> dict[str, Any]:
    return {"employee_id": employee_id, "result": value * 2}


def work(queue: QueueDriver, *task_ids: str) -> None:
    """Run a worker of the driver's app until these tasks have ended."""
    from faena.worker import Worker, WorkerOptions

    async def working() -> None:
        app = queue.app
        async with app.connect() as client:
            worker = Worker(
                tasks=app.tasks,
                store=client.store,
                engine=client.engine,
                connect=app.make_store,
                options=WorkerOptions(queues=("default",)),
                settings=app.settings,
            )
            running = asyncio.create_task(worker.run())
            for task_id in task_ids:
                await client.wait(task_id, 30)
            worker.stop()
            await running

    asyncio.run(working())


def test_every_call_gets_the_same_driver_and_each_named_backend_has_its_own() -> None:
    assert get_queue_driver() is get_queue_driver()
    assert get_queue_driver("huey") is get_queue_driver(force_backend="Huey")
    assert get_queue_driver("huey") is not get_queue_driver()


def test_a_backend_that_is_no_engine_is_told_clearly() -> None:
    with pytest.raises(
        InvalidSettings, match=r"force_backend='kafka' names no engine: there are auto, direct"
    ):
        get_queue_driver(force_backend="kafka")


def test_nothing_is_opened_before_the_first_task_is_enqueued(queue: QueueDriver, tmp_path: Path) -> None:
    queue.register_task(double, name="double")
    assert not (tmp_path / "data").exists()


def test_backoffs_are_milliseconds(queue: QueueDriver) -> None:
    registered = queue.register_task(
        double, name="double", max_retries=5, min_backoff=15000, max_backoff=3600000
    )
    options = registered.task.options
    assert (options.max_retries, options.min_backoff, options.max_backoff) == (5, 15.0, 3600.0)


def test_what_is_enqueued_runs_and_is_told(queue: QueueDriver) -> None:
    calculate = queue.register_task(double, name="calculate_employee")
    first = queue.enqueue("calculate_employee", employee_id="123", value=100)
    second = queue.enqueue("calculate_employee", "124", 50)
    third = calculate.send(employee_id="125", value=1)
    assert queue.get_task_result(first)["status"] == "pending"
    work(queue, first, second, third)
    told = queue.get_task_result(first)
    assert (told["status"], told["progress"], told["error"]) == ("completed", 100.0, None)
    assert told["result"] == {"employee_id": "123", "result": 200}
    bulk = queue.get_bulk_results([first, second, third])
    assert [one["result"]["result"] for one in bulk.pop("tasks")] == [200, 100, 2]
    assert bulk == {
        "total": 3,
        "completed": 3,
        "failed": 0,
        "pending": 0,
        "processing": 0,
        "progress_percentage": 100.0,
    }


def test_positional_arguments_are_bound_against_the_signature(queue: QueueDriver) -> None:
    def task(ctx: Context, name: str, delay_days: int = 1) -> None: ...

    queue.register_task(task, name="t")
    task_id = queue.enqueue("t", "a", delay_days=3)
    assert queue.app.get(task_id).job.args == b'{"name":"a","delay_days":3}'
    assert queue.app.get(queue.enqueue("t", name="b")).job.args == b'{"name":"b","delay_days":1}'
    with pytest.raises(InvalidArguments):
        queue.enqueue("t", "a", 1, 2)


def test_a_delay_is_seconds(queue: QueueDriver) -> None:
    queue.register_task(double, name="double")
    task_id = queue.enqueue("double", employee_id="1", value=1, delay=300)
    job = queue.app.get(task_id).job
    assert job.status == "scheduled"
    assert job.due_at - job.created_at == pytest.approx(300, abs=0.01)
    bulk = queue.get_bulk_results([task_id])
    assert (bulk["pending"], bulk["progress_percentage"]) == (1, 0.0)


def test_a_failure_is_told_as_a_text(queue: QueueDriver) -> None:
    def broken() -> None:
        raise LookupError("no such employee")

    queue.register_task(broken, name="broken", max_retries=0)
    task_id = queue.enqueue("broken")
    work(queue, task_id)
    told = queue.get_task_result(task_id)
    assert (told["status"], told["error"]) == ("failed", "LookupError: no such employee")
    assert queue.get_bulk_results([task_id])["failed"] == 1


def test_a_task_that_is_not_known_is_told_and_counts_as_ended(queue: QueueDriver) -> None:
    assert queue.get_task_result("nowhere")["status"] == "not_found"
    bulk = queue.get_bulk_results(["nowhere"])
    assert (bulk["total"], bulk["completed"], bulk["failed"], bulk["progress_percentage"]) == (1, 0, 0, 100.0)
    assert queue.get_bulk_results([])["progress_percentage"] == 0.0


def test_a_name_that_nobody_registered_is_refused(queue: QueueDriver) -> None:
    with pytest.raises(UnknownTask, match="no task is named 'nothing'"):
        queue.enqueue("nothing")


def test_the_same_function_may_be_registered_again_and_another_may_not(queue: QueueDriver) -> None:
    queue.register_task(double, name="double", max_retries=1)
    queue.register_task(double, name="double", max_retries=2)
    assert queue.app.tasks["double"].options.max_retries == 2
    with pytest.raises(InvalidOptions, match="already"):
        queue.register_task(lambda: None, name="double")


def test_the_stats_tell_engine_backend_and_what_waits() -> None:
    huey, direct = get_queue_driver("huey"), get_queue_driver("direct")
    for queue in (huey, direct):
        queue.register_task(double, name="double")
    huey.enqueue("double", employee_id="1", value=1)
    expected = {"available": True, "registered_tasks": ["double"], "pending_tasks": 1}
    assert huey.get_stats() == {"driver": "huey", "backend": "filesystem", **expected}
    assert direct.get_stats() == {"driver": "direct", "backend": "sqlite", **expected}


def test_a_queue_that_is_down_is_not_available_and_the_stats_still_tell(
    queue: QueueDriver, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "faena.db").write_bytes(b"This is no SQLite file. " * 1000)
    assert not queue.is_available()
    stats = queue.get_stats()
    assert (stats["driver"], stats["available"], stats["pending_tasks"]) == ("huey", False, 0)


def test_a_queue_that_is_switched_off_does_nothing_and_says_so(
    queue: QueueDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("QUEUE_ENABLED", "0")
    registered = queue.register_task(double, name="double")
    with caplog.at_level(logging.WARNING):
        task_id = queue.enqueue("double", employee_id="1", value=1)
    assert "the queue is switched off (QUEUE_ENABLED=0): double was not enqueued" in caplog.text
    assert registered.send(employee_id="1", value=1) == task_id == "disabled"
    assert queue.get_task_result(task_id)["status"] == "disabled"
    assert not queue.is_available()
    assert queue.get_stats() == {
        "driver": "disabled",
        "backend": "none",
        "available": False,
        "registered_tasks": ["double"],
        "pending_tasks": 0,
    }
    assert not (tmp_path / "data" / "faena.db").exists()


async def test_it_works_where_a_loop_is_running_as_in_a_notebook(queue: QueueDriver) -> None:
    queue.register_task(double, name="double")
    task_id = queue.enqueue("double", employee_id="1", value=1)
    assert queue.get_task_result(task_id)["status"] == "pending"


def test_a_driver_may_stand_before_an_app_of_the_users_own(tmp_path: Path) -> None:
    app = Faena(settings=Settings(data_dir=tmp_path / "own", engine="direct"))
    app.task(name="double")(double)
    queue = QueueDriver(app)
    assert queue.get_task_result(queue.enqueue("double", "1", 2))["status"] == "pending"
    app.close()


def test_a_worker_loads_the_driver_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from faena.driver import get_queue_driver\nqueue = get_queue_driver()\n"
    (tmp_path / "driven_tasks.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_app("driven_tasks:queue") is load_app("driven_tasks:queue.app") is get_queue_driver().app
    del sys.modules["driven_tasks"]


def test_what_is_no_task_id_is_refused_in_words(queue: QueueDriver) -> None:
    with pytest.raises(TypeError, match="a task id is the text that enqueue returned, not None"):
        queue.get_task_result(None)
    with pytest.raises(TypeError, match="takes a list of task ids"):
        queue.get_bulk_results("0190-4711")
