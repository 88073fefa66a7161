"""``/jobs``: what can be asked of jobs over HTTP, and how it is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api_kit import UNKNOWN, Kit

MALFORMED = ["nonsense", "1", "..%2F..", "018f0000-0000-7000-8000-00000000fff", "a" * 5000]


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:faena:problem:")
    assert body["title"]
    assert body["detail"]
    return body


async def test_an_enqueued_job_is_answered_202_with_its_ids_and_its_place(
    kit: Kit, api: httpx.AsyncClient
) -> None:
    response = await api.post("/jobs", json={"task": "add", "args": {"a": 1, "b": 2}})
    assert response.status_code == 202
    body = response.json()
    assert body["task_id"] == body["job_id"]
    assert response.headers["location"] == f"/jobs/{body['task_id']}"
    assert (body["status"], body["progress"], body["attempt"], body["duplicate"]) == ("pending", 0, 0, False)
    assert body["args"] == {"a": 1, "b": 2}
    assert (await kit.client.get(body["task_id"])).task == "add"


async def test_every_option_reaches_the_job(api: httpx.AsyncClient) -> None:
    options = {"queue": "high", "priority": 7, "delay": 60, "key": "k", "timeout": 5, "max_retries": 1}
    body = (await api.post("/jobs", json={"task": "add", "args": {"a": 1}, **options})).json()
    assert (body["queue"], body["priority"], body["key"], body["max_attempts"]) == ("high", 7, "k", 2)
    assert body["status"] == "scheduled"
    waits = datetime.fromisoformat(body["due_at"]) - datetime.fromisoformat(body["created_at"])
    assert waits == timedelta(seconds=60)


async def test_times_are_iso_8601_in_utc(api: httpx.AsyncClient) -> None:
    due = datetime(2126, 5, 1, 12, tzinfo=UTC)
    body = (await api.post("/jobs", json={"task": "add", "args": {"a": 1}, "at": due.isoformat()})).json()
    assert body["due_at"] == "2126-05-01T12:00:00Z"
    assert body["started_at"] is None


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ({"task": "add", "args": {"a": "one"}}, "a"),
        ({"task": "add", "args": {}}, "a"),
        ({"task": "add", "args": {"a": 1, "c": 2}}, "c"),
        ({"task": "nobody", "args": {}}, "nobody"),
        ({"args": {}}, "task"),
        ({"task": "add", "args": [1]}, "args"),
        ({"task": "add", "args": {"a": 1}, "delay": -1}, "delay"),
        ({"task": "add", "args": {"a": 1}, "delay": 1, "at": "2126-05-01T12:00:00Z"}, "at"),
        ({"task": "add", "args": {"a": 1}, "at": "2126-05-01T12:00:00"}, "time zone"),
        ({"task": "add", "args": {"a": 1}, "at": "0001-01-01T00:00:00+14:00"}, "1970"),
        ({"task": "add", "args": {"a": 1}, "at": "9999-12-31T23:59:59-14:00"}, "1970"),
        ({"task": "add", "args": {"a": 1}, "timeout": 0}, "timeout"),
        ({"task": "add", "args": {"a": 1}, "max_retries": -1}, "max_retries"),
        ({"task": "add", "args": {"a": 1}, "priority": 10**30}, "priority"),
        ({"task": "add", "args": {"a": 1}, "queue": "no such/queue"}, "queue"),
        ({"task": "add", "args": {"a": 1}, "key": "k" * 10_000}, "key"),
        ({"task": "add", "args": {"a": 1}, "colour": "red"}, "colour"),
        ("not an object", "object"),
    ],
)
async def test_an_order_that_does_not_fit_is_refused_and_nothing_is_stored(
    kit: Kit, api: httpx.AsyncClient, order: object, told: str
) -> None:
    body = problem(await api.post("/jobs", json=order), 422)
    assert told in body["detail"]
    assert await kit.store.counts() == []


async def test_every_fault_of_the_arguments_is_named(api: httpx.AsyncClient) -> None:
    body = problem(await api.post("/jobs", json={"task": "add", "args": {"a": "x", "b": "y"}}), 422)
    assert [fault["where"] for fault in body["faults"]] == ["a", "b"]
    assert body["task"] == "add"


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"\xff\xfe",
        b'{"task": "add", "args": {"a": NaN}}',
        b'{"task": "add", "args": {"a": 1e999}}',
        b'{"task": "\\ud800", "args": {}}',
        b'{"task": "add", "args": {"a": 1}, "key": "\\ud800"}',
        b'{"task": "long_task", "args": {"duration": 1, "payload": {"x": "\\ud800"}}}',
        b'{"task": "add", "args": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"task": "add", "args": {"a": ' + b"1" * 5000 + b"}}",
    ],
)
async def test_hostile_json_is_refused_as_the_clients_fault(api: httpx.AsyncClient, raw: bytes) -> None:
    response = await api.post("/jobs", content=raw, headers={"content-type": "application/json"})
    assert response.status_code in (400, 422), response.text
    problem(response, response.status_code)


async def test_a_live_job_with_the_same_key_is_the_answer(api: httpx.AsyncClient) -> None:
    order = {"task": "add", "args": {"a": 1}, "key": "once"}
    first = (await api.post("/jobs", json=order)).json()
    second = (await api.post("/jobs", json=order)).json()
    assert second["duplicate"] is True
    assert second["task_id"] == first["task_id"]


async def test_the_same_key_with_other_arguments_is_a_conflict(api: httpx.AsyncClient) -> None:
    first = (await api.post("/jobs", json={"task": "add", "args": {"a": 1}, "key": "once"})).json()
    body = problem(await api.post("/jobs", json={"task": "add", "args": {"a": 2}, "key": "once"}), 409)
    assert (body["key"], body["job_id"]) == ("once", first["job_id"])


async def test_a_job_tells_its_result_as_json(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.start()
    await kit.progress(job.id, 30, "adding")
    running = (await api.get(f"/jobs/{job.id}")).json()
    assert (running["status"], running["progress"], running["message"]) == ("processing", 30, "adding")
    await kit.complete(job.id, {"sum": 3})
    done = (await api.get(f"/jobs/{job.id}")).json()
    assert (done["status"], done["progress"], done["result"]) == ("completed", 100, {"sum": 3})
    assert done["finished_at"] is not None


async def test_a_failed_job_tells_why(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.start()
    await kit.fail(job.id, "no paper")
    error = (await api.get(f"/jobs/{job.id}")).json()["error"]
    assert error == {"type": "ValueError", "message": "no paper", "traceback": "Traceback …"}
    [listed] = (await api.get("/jobs")).json()["jobs"]
    assert listed["error"]["traceback"] is None
    assert "result" not in listed


@pytest.mark.parametrize("job_id", [UNKNOWN, *MALFORMED])
async def test_a_job_that_is_not_there_is_404_for_every_verb(api: httpx.AsyncClient, job_id: str) -> None:
    problem(await api.get(f"/jobs/{job_id}"), 404)
    problem(await api.delete(f"/jobs/{job_id}"), 404)
    problem(await api.post(f"/jobs/{job_id}/retry"), 404)
    problem(await api.get(f"/jobs/{job_id}/events"), 404)
    problem(await api.get(f"/jobs/{job_id}/events", headers={"accept": "text/event-stream"}), 404)
    problem(await api.get(f"/tasks/{job_id}/status"), 404)


async def test_a_waiting_job_is_cancelled_at_once(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.enqueue()
    response = await api.delete(f"/jobs/{job.id}")
    assert response.status_code == 200
    assert (response.json()["status"], response.json()["cancelled"]) == ("cancelled", True)
    assert (await api.delete(f"/jobs/{job.id}")).status_code == 200  # once more changes nothing


async def test_a_running_job_is_asked_to_stop(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.start()
    response = await api.delete(f"/jobs/{job.id}")
    assert response.status_code == 202
    body = response.json()
    assert (body["status"], body["cancelled"], body["cancel_requested"]) == ("processing", False, True)


async def test_a_job_that_has_ended_cannot_be_cancelled(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.start()
    await kit.complete(job.id)
    assert "completed" in problem(await api.delete(f"/jobs/{job.id}"), 409)["detail"]


async def test_a_retry_is_a_new_job_that_names_its_origin(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.start()
    problem(await api.post(f"/jobs/{job.id}/retry"), 409)
    await kit.fail(job.id)
    response = await api.post(f"/jobs/{job.id}/retry")
    assert response.status_code == 202
    body = response.json()
    assert body["origin"] == job.id != body["task_id"]
    assert response.headers["location"] == f"/jobs/{body['task_id']}"
    again = (await api.get("/jobs", params={"origin": job.id})).json()["jobs"]
    assert [found["task_id"] for found in again] == [body["task_id"]]


async def test_jobs_are_listed_newest_first_in_pages(kit: Kit, api: httpx.AsyncClient) -> None:
    made = [(await kit.enqueue(args={"a": number})).id for number in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await api.get("/jobs", params=params)).json()
        seen += [job["task_id"] for job in page["jobs"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_lists_are_filtered_by_statuses_task_queue_and_words(kit: Kit, api: httpx.AsyncClient) -> None:
    done = await kit.start()
    await kit.complete(done.id)
    picture = await kit.start("thumbnail", args={"media_id": 1})
    waiting = await kit.enqueue(key="orders-77")

    async def found(**params: Any) -> set[str]:
        return {job["task_id"] for job in (await api.get("/jobs", params=params)).json()["jobs"]}

    assert await found(status=["completed", "processing"]) == {done.id, picture.id}
    assert await found(task="thumbnail") == {picture.id}
    assert await found(queue="media") == {picture.id}
    assert await found(q="ORDERS") == {waiting.id}
    assert await found(q="nothing like it") == set()


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 201}, {"status": "resting"}, {"q": "x" * 201}])
async def test_a_list_that_asks_for_too_much_is_refused(
    api: httpx.AsyncClient, params: dict[str, Any]
) -> None:
    problem(await api.get("/jobs", params=params), 422)


@pytest.mark.parametrize("cursor", ["garbage", "\x00", "%", "9" * 50, "💥"])
async def test_a_cursor_that_nobody_gave_out_is_refused(
    kit: Kit, api: httpx.AsyncClient, cursor: str
) -> None:
    await kit.enqueue()
    refused = problem(await api.get("/jobs", params={"cursor": cursor}), 422)
    assert "start again without one" in refused["detail"]


async def test_the_events_of_a_job_are_listed_in_order(kit: Kit, api: httpx.AsyncClient) -> None:
    job = await kit.start()
    await kit.progress(job.id, 10)
    await kit.emit(job.id, "halfway", data={"at": 1})
    body = (await api.get(f"/jobs/{job.id}/events")).json()
    events = body["events"]
    assert [event["seq"] for event in events] == list(range(1, body["seq"] + 1))
    assert events[-1] | {"at": ""} == {
        "seq": body["seq"], "task_id": job.id, "type": "event", "event": "halfway", "status": "processing",
        "progress": 10, "message": None, "data": {"at": 1}, "attempt": 1, "at": "",
    }  # fmt: skip
    rest = (await api.get(f"/jobs/{job.id}/events", params={"after": body["seq"] - 1})).json()
    assert [event["event"] for event in rest["events"]] == ["halfway"]


async def test_a_body_over_the_cap_is_refused_before_it_is_read(api: httpx.AsyncClient) -> None:
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield b"x" * 1024 * 1024

    response = await api.post("/jobs", content=endless(), headers={"content-type": "application/json"})
    problem(response, 413)
    assert taken < 12
    announced = {"content-type": "application/json", "content-length": str(9 * 1024 * 1024)}
    problem(await api.post("/jobs", content=b"{}", headers=announced), 413)


async def test_the_body_may_be_as_large_as_the_cap(api: httpx.AsyncClient) -> None:
    args = {"duration": 1, "payload": {"x": "y" * (3 * 1024 * 1024)}}
    response = await api.post("/jobs", content=json.dumps({"task": "long_task", "args": args}),
                              headers={"content-type": "application/json"})  # fmt: skip
    assert response.status_code == 202
