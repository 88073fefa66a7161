"""Steering over HTTP: why, changes, pauses, retries by filter."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api_kit import UNKNOWN, Kit, http, opened
from faena.job import Job
from faena.ports.store import StoreOptions
from faena.stores.memory import MemoryStore
from faena.testing.clock import FakeClock


async def failed(kit: Kit, count: int = 1, **options: Any) -> list[Job]:
    jobs = [await kit.start(**options) for _ in range(count)]
    for job in jobs:
        await kit.fail(job.id)
    return jobs


async def test_why_is_told_as_a_word_a_sentence_and_facts(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.enqueue()
    body = (await api.get(f"/jobs/{job.id}/why")).json()
    assert body["task_id"] == body["job_id"] == job.id
    assert (body["status"], body["reason"], body["until"]) == ("pending", "no_worker", None)
    assert body["text"] == "no live worker takes the queue default: there is no live worker"
    assert body["facts"] == {"task": "add", "queue": "default", "queues_taken": []}


async def test_why_tells_until_when(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.enqueue(delay=60)
    body = (await api.get(f"/jobs/{job.id}/why")).json()
    assert body["reason"] == "scheduled"
    until = datetime.fromisoformat(body["until"]) - datetime.fromtimestamp(job.created_at, UTC)
    assert until == timedelta(seconds=60)


async def test_why_of_a_job_that_is_not_there_is_404(api: httpx.AsyncClient) -> None:
    assert (await api.get(f"/jobs/{UNKNOWN}/why")).status_code == 404


async def test_a_waiting_job_takes_another_priority(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.enqueue()
    answer = await api.patch(f"/jobs/{job.id}", json={"priority": 9})
    assert (answer.status_code, answer.json()["priority"]) == (200, 9)
    assert (await kit.client.get(job.id)).priority == 9


async def test_a_waiting_job_is_put_off_and_brought_forward(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.enqueue()
    later = await api.patch(f"/jobs/{job.id}", json={"at": "2126-05-01T12:00:00Z"})
    assert (later.json()["status"], later.json()["due_at"]) == ("scheduled", "2126-05-01T12:00:00Z")
    now = await api.patch(f"/jobs/{job.id}", json={"delay": 0})
    assert now.json()["status"] == "pending"


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"delay": 1, "at": "2126-05-01T12:00:00Z"},
        {"delay": -1},
        {"at": "2126-05-01T12:00:00"},
        {"at": "0001-01-01T00:00:00+14:00"},
        {"at": "9999-12-31T23:59:59-14:00"},
        {"priority": 1001},
        {"priority": "first"},
        {"queue": "high"},
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(
    kit: Kit, api: httpx.AsyncClient, order: dict[str, Any]
) -> None:
    job = await kit.enqueue()
    assert (await api.patch(f"/jobs/{job.id}", json=order)).status_code == 422
    assert await kit.client.get(job.id) == job


async def test_what_runs_or_is_not_there_is_not_changed(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.start()
    answer = await api.patch(f"/jobs/{job.id}", json={"priority": 1})
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert (await api.patch(f"/jobs/{UNKNOWN}", json={"priority": 1})).status_code == 404


async def test_a_queue_is_paused_and_resumed(kit: Kit, api: httpx.AsyncClient) -> None:
    await kit.enqueue()
    first, again = [(await api.post("/queues/default/pause")).json() for _ in range(2)]
    assert first == {"queue": "default", "task": None, "paused": True, "changed": True}
    assert again["changed"] is False
    assert await kit.store.claim_next(["default"], worker="w", lease=9, limit=9, request="a") == []
    shown = {queue["name"]: queue["paused"] for queue in (await api.get("/queues")).json()["queues"]}
    assert (shown["default"], shown["media"]) == (True, False)
    resumed = (await api.post("/queues/default/resume")).json()
    assert (resumed["paused"], resumed["changed"]) == (False, True)
    assert len(await kit.store.claim_next(["default"], worker="w", lease=9, limit=9, request="b")) == 1


async def test_what_is_paused_is_listed_longest_first(api: httpx.AsyncClient) -> None:
    await api.post("/pause", json={"task": "add"})
    await api.post("/pause", json={"queue": "media"})
    paused = (await api.get("/paused")).json()["paused"]
    assert [(one["queue"], one["task"]) for one in paused] == [(None, "add"), ("media", None)]
    assert datetime.fromisoformat(paused[0]["since"]) <= datetime.fromisoformat(paused[1]["since"])
    await api.post("/resume", json={"task": "add"})
    await api.post("/resume", json={"queue": "media"})
    assert (await api.get("/paused")).json() == {"paused": []}


async def test_a_pause_says_how_many_jobs_wait_behind_it(kit: Kit, api: httpx.AsyncClient) -> None:
    await kit.enqueue()
    await kit.enqueue("thumbnail", args={"media_id": 1}, delay=60)
    await kit.start(args={"a": 2})
    for target in ({"task": "add"}, {"queue": "media"}):
        await api.post("/pause", json=target)
    assert [one["waiting"] for one in (await api.get("/paused")).json()["paused"]] == [1, 1]


@pytest.mark.parametrize("target", [{}, {"queue": "a", "task": "b"}, {"queue": ""}, {"worker": "w"}])
async def test_a_pause_names_a_queue_or_a_task(api: httpx.AsyncClient, target: dict[str, str]) -> None:
    for verb in ("/pause", "/resume"):
        assert (await api.post(verb, json=target)).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "/queues/defualt/pause", None, "default"),
        ("POST", "/pause", {"queue": "defualt"}, "default"),
        ("POST", "/pause", {"task": "thumbnial"}, "thumbnail"),
        ("POST", "/queues/defualt/resume", None, "default"),
        ("POST", "/resume", {"queue": "defualt"}, "default"),
        ("POST", "/resume", {"task": "thumbnial"}, "thumbnail"),
        ("POST", "/jobs/retry", {"filter": {"task": ["thumbnial"]}}, "thumbnail"),
        ("POST", "/jobs/retry", {"filter": {"queue": ["default", "defualt"]}}, "default"),
        ("DELETE", "/queues/defualt/purge", None, "default"),
    ],
)
async def test_a_mistyped_name_is_404_and_the_right_ones_are_listed(
    api: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None, named: str
) -> None:
    answer = await api.request(method, path, json=body)
    assert answer.status_code == 404
    problem = answer.json()
    assert named in problem["detail"]
    assert (problem["type"], named in problem["known"]) == ("urn:faena:problem:unknown-name", True)
    assert (await api.get("/paused")).json() == {"paused": []}


async def test_a_queue_that_only_a_worker_knows_can_be_paused(kit: Kit, api: httpx.AsyncClient) -> None:
    await kit.beat("bulk")
    assert (await api.post("/queues/bulk/pause")).status_code == 200


async def test_a_queue_that_has_only_limits_is_listed_and_can_be_paused(
    kit: Kit, api: httpx.AsyncClient
) -> None:
    kit.app.queue("printer", at_once=1)
    assert "printer" in {queue["name"] for queue in (await api.get("/queues")).json()["queues"]}
    assert (await api.post("/queues/printer/pause")).status_code == 200


async def test_failed_jobs_are_run_again_by_filter_each_once(kit: Kit, api: httpx.AsyncClient) -> None:
    some = await failed(kit, 2)
    await failed(kit, task="thumbnail", args={"media_id": 1})
    await kit.enqueue()
    answer = await api.post("/jobs/retry", json={"filter": {"task": ["add"]}})
    assert answer.status_code == 202
    body = answer.json()
    assert {job["origin"] for job in body["jobs"]} == {job.id for job in some}
    assert {job["status"] for job in body["jobs"]} == {"pending"}
    assert body["left"] == 0
    assert (await api.post("/jobs/retry", json={"filter": {"queue": ["default"]}})).json()["jobs"] == []
    assert len((await api.post("/jobs/retry", json={"all": True})).json()["jobs"]) == 1


@pytest.mark.parametrize("order", [None, {}, {"filter": {}}, {"canary": 1}, {"filter": {"task": []}}])
async def test_all_failed_jobs_are_run_again_only_if_that_is_said(
    kit: Kit, api: httpx.AsyncClient, order: dict[str, Any] | None
) -> None:
    await failed(kit, 2)
    answer = await api.post("/jobs/retry", json=order)
    assert answer.status_code == 422
    assert '{"all": true}' in answer.json()["detail"]
    assert len((await api.post("/jobs/retry", json={"all": True})).json()["jobs"]) == 2


@pytest.mark.parametrize(("after", "status"), [("\ud800", 422), ("no id", 404), (UNKNOWN, 404)])
async def test_a_canary_that_can_not_be_is_refused_and_nothing_is_run(
    kit: Kit, api: httpx.AsyncClient, after: str, status: int
) -> None:
    await failed(kit)
    body = json.dumps({"all": True, "after": [after]})
    answer = await api.post("/jobs/retry", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert len((await api.post("/jobs/retry", json={"all": True})).json()["jobs"]) == 1


async def test_a_canary_may_be_named_in_capitals(kit: Kit, api: httpx.AsyncClient) -> None:
    (job,) = await failed(kit)
    done = await kit.start()
    await kit.complete(done.id)
    order = {"all": True, "after": [done.id.upper()]}
    answer = (await api.post("/jobs/retry", json=order)).json()
    assert [one["origin"] for one in answer["jobs"]] == [job.id]


async def test_a_canary_goes_first_and_the_rest_only_if_it_completed(
    kit: Kit, api: httpx.AsyncClient
) -> None:
    await failed(kit, 5)
    first = (await api.post("/jobs/retry", json={"all": True, "canary": 1})).json()
    [canary] = [job["job_id"] for job in first["jobs"]]
    assert first["left"] == 4
    answer = await api.post("/jobs/retry", json={"all": True, "after": [canary]})
    assert answer.status_code == 409
    await kit.claim(canary)
    await kit.complete(canary)
    rest = (await api.post("/jobs/retry", json={"all": True, "after": [canary]})).json()
    assert (len(rest["jobs"]), rest["left"]) == (4, 0)


@pytest.mark.parametrize(
    "order",
    [
        {"canary": 0},
        {"limit": 5000},
        {"filter": {"status": ["pending"]}},
        {"filter": {"task": "add"}},
        {"filter": {"task": ["add"]}, "all": True},
        {"x": 1},
    ],
)
async def test_a_retry_that_makes_no_sense_is_refused(api: httpx.AsyncClient, order: dict[str, Any]) -> None:
    assert (await api.post("/jobs/retry", json=order)).status_code == 422


async def test_health_names_waiting_tasks_that_no_worker_lists(kit: Kit, api: httpx.AsyncClient) -> None:
    await kit.enqueue()
    await kit.beat("default", tasks=("other",))
    warnings = (await api.get("/health")).json()["warnings"]
    told = (
        "1 job of the task add waits in the queue default, and no live worker that takes it knows that task"
    )
    assert told in warnings


async def test_health_warns_of_a_pause_that_may_be_forgotten() -> None:
    clock = FakeClock(time.time() - 7200)
    async with opened(Kit(MemoryStore(options=StoreOptions(), clock=clock))) as kit, http(kit.api) as api:
        own = len((await api.get("/health")).json()["warnings"])  # the memory store's
        await api.post("/queues/default/pause")
        assert len((await api.get("/health")).json()["warnings"]) == own
        await kit.enqueue()
        await kit.beat("default", "high", "media", tasks=tuple(kit.app.tasks))
        answer = await api.get("/health")
        assert answer.status_code == 200
        [warning] = answer.json()["warnings"][own:]
        assert warning.startswith("the queue default is paused since ")
        assert warning.endswith(
            "(2 h ago), and 1 job waits behind it: `faena resume default` takes them again"
        )
        await api.post("/queues/default/resume")
        assert len((await api.get("/health")).json()["warnings"]) == own
