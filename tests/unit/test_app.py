"""The app: registry, packs, and jobs as their maker sees them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from user_fakes import MemoryWiring, finish, memory_app

import faena
from faena import (
    Faena,
    InvalidOptions,
    JobCancelled,
    JobFailed,
    JobHandle,
    JobNotDone,
    KeyConflict,
    NotFound,
    Pack,
)
from faena.errors import Conflict, FaenaError, WaitTimeout
from faena.job import Failure, Status, Step
from faena.ports.records import CancelResult
from faena.settings import Settings


def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def wired() -> Any:
    app, wiring = memory_app()
    app.task(double)
    yield app, wiring
    app.close()


def end(app: Faena, job: JobHandle, step: Step = Step.COMPLETE, **outcome: Any) -> None:
    app._portal().call(lambda client: finish(client.store, job.id, step, **outcome))


def test_a_task_is_found_by_its_name() -> None:
    app = Faena()
    task = app.task(double)
    named = app.task(name="twice", queue="q")(double)
    assert dict(app.tasks) == {"double": task, "twice": named}
    assert named.options.queue == "q"


def test_the_tasks_can_only_be_changed_by_registering() -> None:
    with pytest.raises(TypeError):
        Faena().tasks["x"] = None  # type: ignore[index]


def test_a_second_task_of_a_name_is_refused_with_both_places() -> None:
    app = Faena("shop")
    app.task(double)
    with pytest.raises(
        InvalidOptions, match=r"'shop' has a task named 'double' already, in test_app, line \d+; give"
    ):
        app.task(double)


def test_including_a_pack_brings_tasks_of_the_apps_own() -> None:
    pack = Pack("sums", routes="sums.routes:router")
    task = pack.task(queue="sums")(double)
    one, other = Faena(), Faena()
    one.include(pack)
    other.include(pack)
    assert one.tasks["double"] is not task
    assert one.tasks["double"].submitter is one
    assert other.tasks["double"].submitter is other
    assert (one.tasks["double"].options, one.tasks["double"].pack) == (task.options, "sums")
    assert dict(one.packs) == {"sums": pack}
    assert one.packs["sums"].routes == "sums.routes:router"


def test_a_pack_whose_names_are_taken_is_refused_whole() -> None:
    pack = Pack("sums")
    pack.task(name="free")(double)
    pack.task(double)
    app = Faena()
    app.task(double)
    with pytest.raises(InvalidOptions, match="names are taken: double"):
        app.include(pack)
    assert list(app.tasks) == ["double"]
    assert not app.packs


def test_a_pack_cannot_be_included_twice() -> None:
    app, pack = Faena(), Pack("sums")
    app.include(pack)
    with pytest.raises(InvalidOptions, match="includes the pack 'sums' already"):
        app.include(pack)


def test_routes_that_name_no_router_are_refused() -> None:
    with pytest.raises(InvalidOptions, match=r"'package.module:router'"):
        Pack("sums", routes="sums.routes")


def test_registering_opens_nothing_and_reads_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "nonsense")
    wiring = MemoryWiring()
    app = Faena(wiring=wiring)
    app.task(double)
    assert wiring.opened == 0
    app.close()


def test_with_the_memory_store_every_loop_sees_the_same_jobs() -> None:
    app = Faena(settings=Settings(store="memory", engine="direct"))
    job = app.task(double).enqueue(number=1)

    async def seen_elsewhere() -> object:
        async with app.connect() as client:
            return await client.get(job.id)

    assert asyncio.run(seen_elsewhere()) == job.job
    app.close()
    assert app.get(job.id).job == job.job
    app.close()


def test_settings_given_later_win(tmp_path: Path) -> None:
    one, other = (
        Settings(data_dir=tmp_path / name, store="sqlite", engine="direct") for name in ("one", "other")
    )
    app = Faena(settings=one)
    job = app.task(double).enqueue(number=1)
    app.use(other)
    assert app.settings == other
    with pytest.raises(NotFound):
        app.get(job.id)
    app.use(one)
    assert app.get(job.id).id == job.id
    app.close()


def test_enqueue_returns_a_job(wired: tuple[Faena, MemoryWiring]) -> None:
    app, wiring = wired
    job = app.tasks["double"].enqueue(number=4)
    assert (job.task, job.status, job.progress, job.message, job.error) == (
        "double",
        Status.PENDING,
        0.0,
        None,
        None,
    )
    assert (job.duplicate, job.conflict) == (False, False)
    assert [delivery.job_id for delivery in wiring.engine.delivered] == [job.id]
    assert app.get(job.id).job == job.job


def test_arguments_may_go_by_their_position(wired: tuple[Faena, MemoryWiring]) -> None:
    assert wired[0].tasks["double"].enqueue(4).job.args == b'{"number":4}'


def test_options_of_the_job_are_apart_from_arguments_of_the_task(wired: tuple[Faena, MemoryWiring]) -> None:
    app, _ = wired
    job = app.tasks["double"].using(queue="high", key="k", delay=60).enqueue(number=4)
    assert (job.job.queue, job.job.key, job.status) == ("high", "k", Status.SCHEDULED)


def test_a_duplicate_is_the_job_that_was_there(wired: tuple[Faena, MemoryWiring]) -> None:
    task = wired[0].tasks["double"].using(key="k")
    first, second = task.enqueue(number=1), task.enqueue(number=1)
    assert second.duplicate
    assert second.id == first.id
    with pytest.raises(KeyConflict):
        task.enqueue(number=2)


def test_many_jobs_are_enqueued_at_once(wired: tuple[Faena, MemoryWiring]) -> None:
    jobs = wired[0].tasks["double"].using(queue="bulk").enqueue_many({"number": n} for n in range(3))
    assert [job.job.args for job in jobs] == [b'{"number":0}', b'{"number":1}', b'{"number":2}']
    assert {job.job.queue for job in jobs} == {"bulk"}
    assert wired[0].tasks["double"].enqueue_many([]) == []


def test_wait_returns_the_result(wired: tuple[Faena, MemoryWiring]) -> None:
    app, _ = wired
    job = app.tasks["double"].enqueue(number=4)
    end(app, job, result=b'{"a":[8]}')
    assert job.wait(timeout=10) == {"a": [8]}
    assert job.result == {"a": [8]}
    assert app.wait(job.id) == {"a": [8]}
    assert job.status is Status.COMPLETED


def test_a_result_that_is_not_there_yet_says_what_to_do(wired: tuple[Faena, MemoryWiring]) -> None:
    app, _ = wired
    job = app.tasks["double"].enqueue(number=4)
    with pytest.raises(JobNotDone, match=r"was pending when last looked at: wait\(\)"):
        _ = job.result
    end(app, job, result=b"8")
    assert job.refresh().result == 8


def test_waiting_for_a_failed_job_raises_what_was_stored(wired: tuple[Faena, MemoryWiring]) -> None:
    app, _ = wired
    job = app.tasks["double"].enqueue(number=4)
    end(app, job, Step.FAIL, error=Failure(type="ValueError", message="no"))
    with pytest.raises(JobFailed, match="failed: ValueError: no") as caught:
        job.wait()
    assert caught.value.failure == job.error


def test_waiting_for_a_cancelled_job_says_so(wired: tuple[Faena, MemoryWiring]) -> None:
    job = wired[0].tasks["double"].enqueue(number=4)
    assert job.cancel() is CancelResult.CANCELLED
    with pytest.raises(JobCancelled):
        job.wait()


def test_waiting_too_long_raises_a_timeout(wired: tuple[Faena, MemoryWiring]) -> None:
    with pytest.raises(WaitTimeout):
        wired[0].tasks["double"].enqueue(number=4).wait(timeout=0.01)


def test_a_job_that_ended_is_run_again_as_a_new_one(wired: tuple[Faena, MemoryWiring]) -> None:
    app, _ = wired
    job = app.tasks["double"].enqueue(number=4)
    with pytest.raises(Conflict):
        job.retry()
    end(app, job, Step.FAIL)
    again = job.retry()
    assert (again.job.origin, again.status) == (job.id, Status.PENDING)
    assert app.retry(job.id).job.origin == job.id


def test_a_job_that_is_not_there_is_not_found(wired: tuple[Faena, MemoryWiring]) -> None:
    with pytest.raises(NotFound):
        wired[0].get("nowhere")


async def test_everything_can_be_awaited(wired: tuple[Faena, MemoryWiring]) -> None:
    app, _ = wired
    task = app.tasks["double"]
    job = await task.aenqueue(number=4)
    [many] = await task.using(queue="q").aenqueue_many([{"number": 5}])
    assert (await app.aget(job.id)).id == job.id
    waiting = asyncio.ensure_future(job)
    await asyncio.to_thread(end, app, job, result=b"8")
    assert await waiting == 8
    assert await app.await_(job.id, timeout=10) == 8
    assert (await (await job.aretry()).arefresh()).job.origin == job.id
    assert (await app.aretry(job.id)).job.origin == job.id
    assert await many.acancel() is CancelResult.CANCELLED
    assert await app.acancel(many.id) is CancelResult.FINAL
    with pytest.raises(JobCancelled):
        await many
    await app.aclose()


def test_the_public_names_are_complete() -> None:
    assert sorted(faena.__all__) == list(faena.__all__)
    public = {
        name for name, thing in vars(faena).items() if not name.startswith("_") and not _is_module(thing)
    }
    assert public == set(faena.__all__)


def test_every_error_that_is_raised_is_public() -> None:
    import faena.errors as errors

    tree = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and thing.__module__ == errors.__name__
    }
    assert tree <= set(faena.__all__)
    assert issubclass(FaenaError, Exception)


def _is_module(thing: object) -> bool:
    return isinstance(thing, type(sys))


def test_importing_faena_imports_nothing_heavy() -> None:
    code = "import faena, sys; print(*sys.modules)"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    heavy = {
        "asyncio",
        "pydantic",
        "pydantic_core",
        "pydantic_settings",
        "fastapi",
        "apsw",
        "structlog",
        "typer",
        "httpx",
    }
    assert loaded & heavy == set()
