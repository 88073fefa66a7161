"""The demo pack on a real worker, store and server: enqueue over HTTP, watch live, cancel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from api_kit import Kit, Running, opened, serving
from faena.engines.direct import DirectEngine
from faena.ports.store import StoreOptions
from faena.stores.sqlite.store import SQLiteStore
from faena.worker import Worker, WorkerOptions

FINAL = ("completed", "failed", "cancelled")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    def store() -> SQLiteStore:
        return SQLiteStore(tmp_path / "faena.db", options=StoreOptions())

    async with opened(Kit(store())) as kit, serving(kit.api) as server:
        worker = Worker(
            tasks=kit.app.tasks,
            store=kit.store,
            engine=DirectEngine(),
            connect=store,
            options=WorkerOptions(queues=("high", "default"), threads=4, grace=1),
            settings=kit.settings,
        )
        running = asyncio.create_task(worker.run())
        yield server
        worker.stop(now=True)
        await running


@pytest.fixture
async def api(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client


async def hear(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def follow(server: Running, job_id: str, *, until: tuple[str, ...] = FINAL) -> list[dict[str, Any]]:
    """Return every event that a listener hears until the job has a status."""
    async with connect(server.ws) as socket:
        await socket.send(json.dumps({"type": "subscribe", "task_id": job_id, "after": 0}))
        heard = []
        while True:
            heard.append((await hear(socket))["event"])
            if heard[-1]["status"] in until:
                return heard


async def test_a_job_goes_its_way_from_the_request_to_the_result(
    server: Running, api: httpx.AsyncClient
) -> None:
    order = {"task_name": "long_task", "duration": 0.5, "payload": {"usuario_id": 123}, "high": True}
    answer = (await api.post("/tasks", json=order)).json()
    assert answer["queue"] == "high"
    told = await follow(server, answer["job_id"])
    assert [event["status"] for event in told if event["type"] == "status"] == [
        "pending", "processing", "completed",
    ]  # fmt: skip
    shown = [event["progress"] for event in told]
    assert shown == sorted(shown)
    assert len(set(shown)) > 2
    job = (await api.get(f"/tasks/{answer['job_id']}")).json()
    assert job["result"] == {"duration": 0.5, "payload": {"usuario_id": 123}}


async def test_a_running_job_is_cancelled_cooperatively(server: Running, api: httpx.AsyncClient) -> None:
    job_id = (await api.post("/jobs", json={"task": "long_task", "args": {"duration": 600}})).json()["job_id"]
    await follow(server, job_id, until=("processing",))
    assert (await api.delete(f"/tasks/{job_id}")).status_code == 202
    assert (await follow(server, job_id))[-1]["status"] == "cancelled"


async def test_seed_003_hears_each_step(server: Running, api: httpx.AsyncClient) -> None:
    answer = (await api.post("/run-progress", params={"steps": 3, "user_id": "123"})).json()
    channel = f"ws_channel:123:{answer['task_id']}"
    async with connect(server.ws) as socket:
        await socket.send(json.dumps({"type": "subscribe", "channel": channel}))
        heard = [await hear(socket)]
        while heard[-1]["status"] not in FINAL:
            heard.append(await hear(socket))
    assert all(set(message) == {"task_id", "progress", "status", "message"} for message in heard)
    assert "step 2 of 3" in [message["message"] for message in heard]
    assert (heard[-1]["progress"], heard[-1]["status"]) == (100, "completed")


async def test_seed_000_hears_what_a_task_emits(server: Running, api: httpx.AsyncClient) -> None:
    async with connect(f"{server.ws}/demo?client_id=user1") as socket:
        await api.post("/tasks/a", json={"user_id": 123, "duration": 0, "high": False})
        message = await hear(socket)
        while message["event"] != "user_processed":
            message = await hear(socket)
    assert message["type"] == "task_notification"
    assert message["data"]["user_id"] == 123


@pytest.mark.parametrize(
    ("task", "args", "result"),
    [
        ("task_b", {"user_id": 7, "duration": 0}, {"user_id": 7, "notified": True}),
        ("task_sleep", {"seconds": 0}, {"slept": 0.0}),
        ("add", {"a": 1, "b": 2}, 3),
    ],
)
async def test_the_other_tasks_give_their_results(
    server: Running, api: httpx.AsyncClient, task: str, args: dict[str, Any], result: object
) -> None:
    job_id = (await api.post(f"/tasks/{task}/enqueue", json=args)).json()["job_id"]
    await follow(server, job_id)
    assert (await api.get(f"/tasks/{job_id}/status")).json()["result"] == result


async def test_health_is_good_with_a_worker(server: Running, api: httpx.AsyncClient) -> None:
    job_id = (await api.post("/jobs", json={"task": "add", "args": {"a": 1}})).json()["job_id"]
    await follow(server, job_id)  # by now the worker has come in
    answer = await api.get("/health")
    assert (answer.status_code, answer.json()["queues"]) == (200, {"default": 1, "high": 1})


async def test_a_cursor_that_no_page_gave_out_is_refused(server: Running, api: httpx.AsyncClient) -> None:
    for cursor in ("garbage", "9" * 50, "-1", "0x10"):
        assert (await api.get("/jobs", params={"cursor": cursor})).status_code == 422
