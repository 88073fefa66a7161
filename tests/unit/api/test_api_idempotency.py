"""``Idempotency-Key``: the same request, sent again, makes no second job and is answered as the first time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.redis_kit import empty_redis, redis_server

from api_kit import Kit, http, opened, serving
from faena.ports.store import Store
from faena.stores.sqlite.store import SQLiteStore

__all__ = ["empty_redis", "redis_server"]

KEY = {"Idempotency-Key": "5f0c1a2e-order-77"}
ORDER: dict[str, Any] = {"task": "add", "args": {"a": 1, "b": 2}}


@pytest.fixture(params=["sqlite", "redis"])
async def stored(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kit]:
    """A kit on a store that several processes share."""
    store: Store
    if request.param == "sqlite":
        store = SQLiteStore(tmp_path / "faena.db")
    else:
        from faena.stores.redis.store import RedisStore

        store = RedisStore(request.getfixturevalue("empty_redis").socket_url)
    async with opened(Kit(store)) as kit:
        yield kit


async def test_the_same_request_again_is_answered_the_same_and_makes_no_job(
    kit: Kit, api: httpx.AsyncClient
) -> None:
    first = await api.post("/jobs", json=ORDER, headers=KEY)
    assert "idempotency-replayed" not in first.headers
    again = await api.post("/jobs", json=dict(reversed(ORDER.items())), headers=KEY)
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert len((await api.get("/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize(
    "extra", [{}, {"delay": 60.5}, {"at": "2126-05-01T12:00:00Z"}, {"priority": 3, "key": "k"}]
)
async def test_the_answer_is_the_first_one_whatever_the_job_became(
    stored: Kit, extra: dict[str, Any]
) -> None:
    async with http(stored.api) as api:
        first = await api.post("/jobs", json=ORDER | extra, headers=KEY)
        job_id = first.json()["job_id"]
        await api.patch(f"/jobs/{job_id}", json={"priority": 9, "delay": 0})
        await stored.claim(job_id)
        assert (await api.post("/jobs", json=ORDER | extra, headers=KEY)).content == first.content
        await stored.progress(job_id, 50, "half")
        await stored.complete(job_id, 3)
        again = await api.post("/jobs", json=ORDER | extra, headers=KEY)
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["idempotency-replayed"] == "true"


async def test_another_request_with_the_same_key_is_a_conflict(kit: Kit, api: httpx.AsyncClient) -> None:
    first = (await api.post("/jobs", json=ORDER, headers=KEY)).json()
    for other in ({"args": {"a": 2}}, {"queue": "high"}, {"task": "thumbnail", "args": {"media_id": 1}}):
        answer = await api.post("/jobs", json=ORDER | other, headers=KEY)
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["job_id"] == first["job_id"]
        assert KEY["Idempotency-Key"] in answer.json()["detail"]
    assert (await api.post("/tasks/add/enqueue", json=ORDER["args"], headers=KEY)).status_code == 409
    assert len((await api.get("/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "tab\tbed", b"\xc3\xa9"])
async def test_a_key_that_is_none_is_refused(api: httpx.AsyncClient, key: str | bytes) -> None:
    answer = await api.post("/jobs", json=ORDER, headers=[("Idempotency-Key", key)])
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json()["detail"]
    assert (await api.get("/jobs")).json()["jobs"] == []


@pytest.mark.parametrize("key", ["!", "~", "k" * 255, '"quoted"'])
async def test_any_visible_ascii_is_a_key(api: httpx.AsyncClient, key: str) -> None:
    ids = {
        (await api.post("/jobs", json=ORDER, headers={"Idempotency-Key": key})).json()["job_id"] for _ in "ab"
    }
    assert len(ids) == 1


async def test_a_refused_request_uses_no_key_up(api: httpx.AsyncClient) -> None:
    assert (await api.post("/jobs", json={"task": "nobody"}, headers=KEY)).status_code == 422
    assert (await api.post("/jobs", json=ORDER, headers=KEY)).status_code == 202


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tasks", {"duration": 5}),
        ("/tasks/a", {"user_id": 1}),
        ("/tasks/b", {"user_id": 1}),
        ("/run-progress?steps=2&user_id=7", None),
        ("/tasks/add/enqueue?priority=4", {"a": 1}),
    ],
)
async def test_the_other_routes_that_enqueue_know_the_header_too(
    api: httpx.AsyncClient, path: str, body: dict[str, Any] | None
) -> None:
    first, again = [await api.post(path, json=body, headers=KEY) for _ in range(2)]
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotency-replayed"] == "true"


async def test_one_users_key_is_not_anothers(api: httpx.AsyncClient) -> None:
    ids = [
        (await api.post("/run-progress", params={"user_id": user}, headers=KEY)).json()["job_id"]
        for user in ("ana", "eva", "ana")
    ]
    assert ids[0] == ids[2] != ids[1]


async def test_the_header_is_documented_for_every_route_that_takes_it(api: httpx.AsyncClient) -> None:
    paths = (await api.get("/openapi.json")).json()["paths"]
    for path in ("/jobs", "/tasks", "/tasks/a", "/run-progress", "/tasks/add/enqueue"):
        [header] = [one for one in paths[path]["post"]["parameters"] if one["in"] == "header"]
        assert header["name"] == "Idempotency-Key"
        assert "24 hours" in header["description"]


async def test_fifty_requests_at_once_make_one_job(stored: Kit) -> None:
    async with serving(stored.api) as server, httpx.AsyncClient(base_url=server.url, timeout=30) as api:
        answers = await asyncio.gather(*(api.post("/jobs", json=ORDER, headers=KEY) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert sum(count.count for count in await stored.store.counts()) == 1


@pytest.mark.parametrize("path", ["/jobs", "/tasks/add/enqueue?key=k&keep_key=forever"])
async def test_a_key_is_kept_for_ever_in_the_same_word_as_in_code(stored: Kit, path: str) -> None:
    order = {"key": "k", "keep_key": "forever", **ORDER} if path == "/jobs" else ORDER["args"]
    async with http(stored.api) as api:
        job_id = (await api.post(path, json=order)).json()["job_id"]
        await stored.claim(job_id)
        await stored.complete(job_id, 3)
        assert (await api.get(f"/jobs/{job_id}")).json()["expires_at"] is None
        again = (await api.post(path, json=order)).json()
        assert (again["duplicate"], again["job_id"]) == (True, job_id)


@pytest.mark.parametrize("keep_key", ["for ever", -1, "inf", 1e12])
async def test_another_word_for_ever_is_refused_and_the_right_one_is_told(
    api: httpx.AsyncClient, keep_key: object
) -> None:
    answer = await api.post("/jobs", json={**ORDER, "key": "k", "keep_key": keep_key})
    assert answer.status_code == 422
    assert "'forever'" in answer.json()["detail"]
    query = {"key": "k", "keep_key": str(keep_key)}
    assert (await api.post("/tasks/add/enqueue", json={"a": 1}, params=query)).status_code == 422


async def test_the_word_for_ever_is_in_the_schema_with_an_example(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    kept = document["components"]["schemas"]["JobOrder"]["properties"]["keep_key"]
    assert "forever" in kept["examples"]
    options = {
        one["name"]: one["schema"] for one in document["paths"]["/tasks/add/enqueue"]["post"]["parameters"]
    }
    assert {"const": "forever"} in options["keep_key"]["anyOf"]


async def test_the_409_of_a_key_names_its_job_and_until_when_it_holds_at_the_latest(stored: Kit) -> None:
    order = {**ORDER, "key": "k", "keep_key": 600}
    other = {**order, "args": {"a": 2}}
    async with http(stored.api) as api:
        job_id = (await api.post("/jobs", json=order)).json()["job_id"]
        living = (await api.post("/jobs", json=other)).json()
        assert (living["job_id"], living["task_id"], living["key"]) == (job_id, job_id, "k")
        assert (living["status"], living["job_status"], living["task"]) == (409, "pending", "add")
        assert "held_until" not in living
        assert f"is held by job {job_id} with other arguments, which is pending" in living["detail"]
        await stored.claim(job_id)
        await stored.complete(job_id, 3)
        ended = (await api.post("/jobs", json=other)).json()
        assert ended["job_status"] == "completed"
        assert ended["held_until"] == (await api.get(f"/jobs/{job_id}")).json()["expires_at"]
        assert "at the latest" in ended["detail"]


async def test_a_duplicate_that_is_told_again_says_so_again(stored: Kit) -> None:
    order = {**ORDER, "key": "k", "keep_key": 600}
    async with http(stored.api) as api:
        job_id = (await api.post("/jobs", json=order)).json()["job_id"]
        first = await api.post("/jobs", json=order, headers=KEY)
        assert (first.json()["duplicate"], "idempotency-replayed" in first.headers) == (True, False)
        await stored.claim(job_id)
        again = await api.post("/jobs", json=order, headers=KEY)
        assert again.headers["idempotency-replayed"] == "true"
        told = again.json()
        assert (told["duplicate"], told["job_id"], told["status"]) == (True, job_id, "processing")


async def test_a_duplicate_of_the_demos_is_told_again_as_it_was(stored: Kit) -> None:
    async with http(stored.api) as api:
        await api.post("/tasks", json={"duration": 5})
        first, again = [await api.post("/tasks", json={"duration": 5}, headers=KEY) for _ in range(2)]
        assert first.json()["duplicate"] is True
        assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
