"""Tasks, queues, workers, health, the OpenAPI document and the demo pack's routes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import httpx
import pytest
from test_api_jobs import problem

from api_kit import Kit, http, opened
from faena import Faena
from faena.api.absent import ROUTES
from faena.engines.direct import DirectEngine
from faena.errors import EngineDown, StoreDown
from faena.job import Job
from faena.shipped import PACKS


async def test_tasks_are_listed_with_the_schema_of_their_arguments(api: httpx.AsyncClient) -> None:
    tasks = {task["name"]: task for task in (await api.get("/tasks")).json()["tasks"]}
    assert tasks["add"]["description"] == "Add two numbers."
    assert tasks["add"]["arguments"]["properties"]["a"]["type"] == "integer"
    assert tasks["add"]["arguments"]["required"] == ["a"]
    assert tasks["thumbnail"]["queue"] == "media"
    assert "ctx" not in tasks["thumbnail"]["arguments"]["properties"]


async def test_tasks_are_listed_with_the_counts_of_their_jobs(kit: Kit, api: httpx.AsyncClient) -> None:
    await kit.enqueue()
    await kit.start(args={"a": 2})
    await kit.client.pause(task="add")
    tasks = {task["name"]: task for task in (await api.get("/tasks")).json()["tasks"]}
    add, thumbnail = tasks["add"], tasks["thumbnail"]
    assert (add["count"], add["pending"], add["processing"], add["paused"]) == (1, 1, 1, True)
    assert (thumbnail["count"], thumbnail["paused"]) == (0, False)


async def test_each_task_has_a_typed_operation(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    operation = document["paths"]["/tasks/ship.to/enqueue"]["post"]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schemas = document["components"]["schemas"]
    arguments = schemas[reference.removeprefix("#/components/schemas/")]
    address = arguments["properties"]["address"]["$ref"]
    assert schemas[address.removeprefix("#/components/schemas/")]["properties"]["street"] == {
        "title": "Street",
        "type": "string",
    }
    assert "/tasks/{task}/enqueue" not in document["paths"]


async def test_every_reference_of_the_openapi_document_leads_somewhere(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    found = list(references(document))
    assert len(found) > 20
    assert set(found) <= schemas


def references(part: Any) -> Any:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for item in part:
            yield from references(item)


async def test_a_task_that_is_registered_later_is_in_the_document(kit: Kit, api: httpx.AsyncClient) -> None:
    await api.get("/openapi.json")

    @kit.app.task
    def late(word: str) -> None: ...

    assert "/tasks/late/enqueue" in (await api.get("/openapi.json")).json()["paths"]


async def test_a_task_is_enqueued_by_its_arguments_alone(kit: Kit, api: httpx.AsyncClient) -> None:
    order = {"address": {"street": "Mayor"}, "weights": [1, 2.5]}
    response = await api.post("/tasks/ship.to/enqueue", json=order, params={"queue": "high", "delay": 5})
    assert response.status_code == 202
    body = response.json()
    assert (body["task"], body["queue"], body["status"]) == ("ship.to", "high", "scheduled")
    assert response.headers["location"] == f"/jobs/{body['job_id']}"
    assert body["args"]["address"] == {"street": "Mayor", "number": 1}


async def test_arguments_that_do_not_fit_are_refused_there_too(api: httpx.AsyncClient) -> None:
    problem(await api.post("/tasks/ship.to/enqueue", json={"address": {}, "weights": ["x"]}), 422)
    problem(await api.post("/tasks/nobody/enqueue", json={}), 422)
    problem(await api.post("/tasks/add/enqueue"), 422)


async def test_the_state_of_a_job_is_told_by_the_seeds_routes(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.start()
    await kit.progress(job.id, 40, "adding")
    short = (await api.get(f"/tasks/{job.id}/status")).json()
    assert short == {
        "task_id": job.id, "job_id": job.id, "status": "processing", "progress": 40, "message": "adding",
        "result": None, "error": None,
    }  # fmt: skip
    await kit.complete(job.id, 3)
    full = (await api.get(f"/tasks/{job.id}")).json()
    assert (full["status"], full["progress"], full["result"]) == ("completed", 100, 3)
    problem(await api.delete(f"/tasks/{job.id}"), 409)
    waiting = await kit.enqueue()
    assert (await api.delete(f"/tasks/{waiting.id}")).json()["cancelled"] is True


async def test_queues_are_listed_with_what_waits_in_them(kit: Kit, api: httpx.AsyncClient) -> None:
    await kit.enqueue()
    await kit.enqueue(delay=60)
    await kit.start()
    queues = {queue["name"]: queue for queue in (await api.get("/queues")).json()["queues"]}
    default = queues["default"]
    assert (default["count"], default["pending"], default["scheduled"], default["processing"]) == (2, 1, 1, 1)
    assert queues["media"]["count"] == 0


async def test_a_purge_cancels_what_waits_and_nothing_else(kit: Kit, api: httpx.AsyncClient) -> None:
    waiting, running = await kit.enqueue(), await kit.start()
    assert (await api.delete("/queues/default/purge")).json() == {"queue": "default", "purged": 1}
    assert (await kit.client.get(waiting.id)).status == "cancelled"
    assert (await kit.client.get(running.id)).status == "processing"
    assert "default" in problem(await api.delete("/queues/defualt/purge"), 404)["detail"]


async def test_workers_are_listed(kit: Kit, api: httpx.AsyncClient) -> None:
    await kit.beat("high", "default")
    [worker] = (await api.get("/workers")).json()["workers"]
    assert (worker["id"], worker["queues"], worker["running"]) == ("w", ["high", "default"], ["x"])
    assert worker["started_at"] == "1970-01-01T00:00:00Z"


async def test_health_is_good_when_somebody_takes_jobs(kit: Kit, api: httpx.AsyncClient) -> None:
    await kit.beat("default")
    response = await api.get("/health")
    assert response.status_code == 200
    body = response.json()
    assert (body["status"], body["reasons"], body["queues"]) == ("ok", [], {"default": 1})
    assert body["selection"]["reason"] == "the test chose"
    assert body["version"]
    assert "no worker takes the queue 'media'" in body["warnings"]


async def test_health_warns_of_workers_on_another_engine(kit: Kit, api: httpx.AsyncClient) -> None:
    await kit.beat("default", engine="huey")
    warnings = (await api.get("/health")).json()["warnings"]
    assert any(
        told.startswith("worker w runs huey, and here jobs are left in the store") for told in warnings
    )


async def test_health_is_503_when_nobody_takes_jobs(api: httpx.AsyncClient) -> None:
    response = await api.get("/health")
    assert response.status_code == 503
    assert "no worker" in response.json()["reasons"][0]


async def test_health_is_503_when_the_store_or_the_engine_is_down(
    kit: Kit, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down() -> None:
        raise StoreDown("the disk is gone")

    def silent(self: DirectEngine) -> None:
        raise EngineDown("no answer")

    await kit.beat("default")
    monkeypatch.setattr(kit.store, "check", down)
    monkeypatch.setattr(DirectEngine, "ping", silent)
    response = await api.get("/health")
    assert response.status_code == 503
    body = response.json()
    assert (body["store"]["ok"], body["engine"]["ok"], body["workers"]["ok"]) == (False, False, True)
    assert len(body["reasons"]) == 2


async def test_a_store_that_is_down_is_503_and_says_when_to_come_back(
    kit: Kit, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> list[Job]:
        raise StoreDown("the disk is gone")

    monkeypatch.setattr(kit.store, "get", down)
    response = await api.get("/jobs/018f0000-0000-7000-8000-00000000ffff")
    assert problem(response, 503)["type"] == "urn:faena:problem:store-down"
    assert int(response.headers["retry-after"]) > 0


async def test_a_queue_that_is_switched_off_takes_nothing(kit: Kit, api: httpx.AsyncClient) -> None:
    kit.client.enabled = False
    assert (
        "QUEUE_ENABLED"
        in problem(await api.post("/jobs", json={"task": "add", "args": {"a": 1}}), 503)["detail"]
    )


async def test_the_same_request_is_a_duplicate_while_it_is_live(kit: Kit, api: httpx.AsyncClient) -> None:
    order = {"task_name": "long_task", "duration": 10, "payload": {"usuario_id": 123, "b": 1}, "high": False}
    first = await api.post("/tasks", json=order)
    assert first.status_code == 202
    assert first.json() | {"task_id": ""} == {
        "job_id": first.json()["job_id"],
        "task_id": "",
        "queue": "default",
    }
    other_order = {**order, "payload": {"b": 1, "usuario_id": 123}}
    second = (await api.post("/tasks", json=other_order)).json()
    assert (second["duplicate"], second["job_id"]) == (True, first.json()["job_id"])
    assert "duplicate" not in (await api.post("/tasks", json={**order, "duration": 11})).json()
    await kit.claim(first.json()["job_id"])
    assert (await api.post("/tasks", json=order)).json()["duplicate"] is True
    await kit.complete(first.json()["job_id"])
    assert "duplicate" not in (await api.post("/tasks", json=order)).json()


async def test_demo_tasks_go_to_the_queue_that_was_asked_for(api: httpx.AsyncClient) -> None:
    a = (await api.post("/tasks/a", json={"user_id": 123, "duration": 5, "high": False})).json()
    b = (await api.post("/tasks/b", json={"user_id": 456, "duration": 5, "high": True})).json()
    assert (a["queue"], b["queue"]) == ("default", "high")
    assert (await api.get(f"/tasks/{b['job_id']}")).json()["task"] == "task_b"


async def test_run_progress_answers_with_the_task_id(api: httpx.AsyncClient) -> None:
    response = await api.post("/run-progress", params={"steps": 3, "user_id": "u1"})
    assert response.status_code == 202
    job = (await api.get(f"/jobs/{response.json()['task_id']}")).json()
    assert (job["task"], job["args"]["steps"], job["user"]) == ("long_running_progress", 3, "u1")
    problem(await api.post("/run-progress", params={"steps": 0}), 422)


async def test_what_is_not_there_is_a_problem_document_too(api: httpx.AsyncClient) -> None:
    assert "/docs" in problem(await api.get("/no/such/thing"), 404)["detail"]
    assert "there is no PUT /jobs" in problem(await api.put("/jobs"), 405)["detail"]


@pytest.mark.parametrize(
    ("pack", "route"), [(pack, route) for pack, routes in ROUTES.items() for route in routes]
)
async def test_a_route_of_a_pack_that_is_not_included_says_so_and_how_to_have_it(
    pack: str, route: str
) -> None:
    kit = Kit()
    kit.app = Faena()
    method, path = route.replace("{path:path}", "7/a.jpg").split(" ")
    async with opened(kit), http(kit.api) as api:
        answer = problem(await api.request(method, path, json={}), 404)
    assert (answer["type"], answer["pack"]) == ("urn:faena:problem:missing-pack", pack)
    assert answer["detail"].startswith(f"{method} {path} is of the pack {pack}, which this server ")
    assert f"from faena.packs.{pack} import pack; app.include(pack)" in answer["detail"]


@pytest.mark.parametrize("pack", list(ROUTES))
def test_the_routes_of_the_shipped_packs_are_known_by_heart(pack: str) -> None:
    router = import_module(f"faena.packs.{pack}.routes").router
    assert {f"{method} {route.path}" for route in router.routes for method in route.methods} == set(
        ROUTES[pack]
    )
    assert set(ROUTES) == set(PACKS)


async def test_a_bug_is_a_problem_document_that_gives_nothing_away(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(kit.store, "counts", broken)
    async with http(kit.api) as api:
        response = await api.get("/queues")
    assert "secret" not in response.text
    problem(response, 500)
