"""Seeds 002 and 003, as their documents word it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api_kit import Kit, http, opened
from faena.packs.demo.routes import unique_key
from faena.settings import Settings
from faena.stores.memory import MemoryStore
from faena.testing.clock import FakeClock
from faena.wiring import worker_queues

LONG = {"task_name": "long_task", "duration": 10, "payload": {"usuario_id": 123}, "high": False}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def kit(clock: FakeClock) -> AsyncIterator[Kit]:
    async with opened(Kit(MemoryStore(clock=clock))) as kit:
        kit.settings = Settings.load(idemp_margin=5)
        yield kit


@pytest.fixture
async def api(kit: Kit) -> AsyncIterator[httpx.AsyncClient]:
    async with http(kit.api) as client:
        yield client


async def long_task(api: httpx.AsyncClient, **changed: Any) -> dict[str, Any]:
    answer = await api.post("/tasks", json=LONG | changed)
    assert answer.status_code == 202
    body: dict[str, Any] = answer.json()
    return body


async def test_a_task_is_answered_with_its_job_and_queue_and_the_same_one_as_a_duplicate(
    api: httpx.AsyncClient,
) -> None:
    first = await long_task(api)
    job_id = first["job_id"]
    assert first == {"job_id": job_id, "task_id": job_id, "queue": "default"}
    assert await long_task(api) == {"duplicate": True, "job_id": job_id, "task_id": job_id}


@pytest.mark.parametrize("other", [{"duration": 11}, {"payload": {"usuario_id": 124}}, {"payload": {}}])
async def test_another_task_is_no_duplicate(api: httpx.AsyncClient, other: dict[str, Any]) -> None:
    await long_task(api)
    assert "duplicate" not in await long_task(api, **other)


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
async def test_the_key_is_free_again_when_the_task_ends(kit: Kit, api: httpx.AsyncClient, end: str) -> None:
    job_id = (await long_task(api))["job_id"]
    if end == "cancel":
        await api.delete(f"/tasks/{job_id}")
    else:
        await kit.claim(job_id)
        assert (await long_task(api))["duplicate"]
        await (kit.complete(job_id) if end == "complete" else kit.fail(job_id))
    assert "duplicate" not in await long_task(api)


async def test_the_margin_bounds_how_long_the_key_is_held(
    kit: Kit, api: httpx.AsyncClient, clock: FakeClock
) -> None:
    first = (await long_task(api))["job_id"]
    await kit.claim(first)
    clock.advance(14.9)  # duration 10 and IDEMP_MARGIN 5
    assert (await long_task(api))["job_id"] == first
    clock.advance(0.2)
    second = await long_task(api)
    assert "duplicate" not in second
    assert second["job_id"] != first
    await kit.complete(first)  # and its end frees nothing of the second's
    assert (await long_task(api))["job_id"] == second["job_id"]


async def test_fifty_of_the_same_at_once_make_one_job(api: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(long_task(api) for _ in range(50)))
    assert len({answer["job_id"] for answer in answers}) == 1
    assert sum("duplicate" not in answer for answer in answers) == 1


def test_the_key_reads_as_the_seed_shows_it() -> None:
    assert unique_key("long_task", 10, {}).startswith("task:long_task:")


async def test_the_queue_high_is_served_before_default(kit: Kit, api: httpx.AsyncClient) -> None:
    for high in (False, False, True):
        await api.post("/tasks/a", json={"user_id": 123, "duration": 5, "high": high})
    queues = worker_queues(kit.settings, kit.app)
    claims = await kit.store.claim_next(queues, worker="w", lease=9, limit=9, request="r")
    assert [claim.job.queue for claim in claims] == ["high", "default", "default"]


async def test_the_queues_are_listed_with_their_counts_and_purged(kit: Kit, api: httpx.AsyncClient) -> None:
    for high in (False, True, True):
        await api.post("/tasks/b", json={"user_id": 456, "duration": 5, "high": high})
    counts = {queue["name"]: queue["count"] for queue in (await api.get("/queues")).json()["queues"]}
    assert (counts["default"], counts["high"]) == (1, 2)
    assert (await api.delete("/queues/high/purge")).json() == {"queue": "high", "purged": 2}
    assert (await api.delete("/queues/none/purge")).status_code == 404


async def test_the_state_result_and_progress_of_a_task_are_told(kit: Kit, api: httpx.AsyncClient) -> None:
    job_id = (await api.post("/tasks/a", json={"user_id": 1, "duration": 0, "high": False})).json()["job_id"]
    await kit.claim(job_id)
    await kit.progress(job_id, 40)
    state = (await api.get(f"/tasks/{job_id}")).json()
    assert (state["status"], state["progress"], state["result"]) == ("processing", 40, None)
    cancelled = await api.delete(f"/tasks/{job_id}")
    assert (cancelled.status_code, cancelled.json()["cancel_requested"]) == (202, True)


async def test_progress_starts_with_the_task_id_and_ten_steps(kit: Kit, api: httpx.AsyncClient) -> None:
    answer = (await api.post("/run-progress")).json()
    job = await kit.client.get(answer["task_id"])
    assert (job.task, job.user) == ("long_running_progress", None)
    assert b'"steps":10' in job.args


async def test_task_sleep_is_there(api: httpx.AsyncClient) -> None:
    answer = await api.post("/tasks/task_sleep/enqueue", json={"seconds": 5})
    assert answer.status_code == 202
