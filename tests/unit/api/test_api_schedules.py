"""``/schedules`` over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from api_kit import Kit

NIGHTLY: dict[str, Any] = {
    "name": "nightly",
    "task": "add",
    "args": {"a": 1, "b": 0},
    "cron": "0 3 * * *",
    "timezone": "Europe/Madrid",
}


@pytest.fixture
async def nightly(api: httpx.AsyncClient) -> dict[str, Any]:
    answer = await api.post("/schedules", json=NIGHTLY)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "/schedules/nightly"
    body: dict[str, Any] = answer.json()
    return body


async def test_a_schedule_is_made_and_told(api: httpx.AsyncClient, nightly: dict[str, Any]) -> None:
    assert {name: nightly[name] for name in NIGHTLY} == NIGHTLY
    assert (nightly["catch_up"], nightly["overlap"], nightly["source"]) == ("one", "skip", "api")
    assert (nightly["paused"], nightly["runs"], nightly["last_at"]) == (False, 0, None)
    assert nightly["next_at"] is not None
    assert (await api.get("/schedules/nightly")).json() == nightly
    assert (await api.get("/schedules")).json() == {"schedules": [nightly]}


async def test_a_schedule_of_that_name_is_replaced(api: httpx.AsyncClient, nightly: dict[str, Any]) -> None:
    again = await api.post(
        "/schedules", json={"name": "nightly", "task": "add", "args": {"a": 2}, "every": 60}
    )
    assert (again.json()["every"], again.json()["cron"], again.json()["args"]["a"]) == (60, None, 2)
    assert len((await api.get("/schedules")).json()["schedules"]) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"cron": None},
        {"every": 60},
        {"cron": "0 3 * *"},
        {"cron": "0 25 * * *"},
        {"timezone": "Europe/Atlantis"},
        {"args": {"a": "one"}},
        {"task": "nobody"},
        {"name": "no such/name"},
        {"cron": None, "every": 0},
        {"catch_up": "some"},
        {"priority": 5000},
        {"colour": "red"},
        {"cron": None, "every": 60, "start": "0001-01-01T00:00:00+14:00"},
        {"cron": None, "every": 60, "start": "9999-12-31T23:59:59-14:00"},
    ],
)
async def test_a_schedule_that_makes_no_sense_is_refused(
    api: httpx.AsyncClient, wrong: dict[str, Any]
) -> None:
    answer = await api.post("/schedules", json=NIGHTLY | wrong)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await api.get("/schedules")).json() == {"schedules": []}


@pytest.mark.usefixtures("nightly")
async def test_a_schedule_is_paused_resumed_and_dropped(api: httpx.AsyncClient) -> None:
    assert (await api.post("/schedules/nightly/pause")).json()["paused"] is True
    resumed = (await api.post("/schedules/nightly/resume")).json()
    assert (resumed["paused"], resumed["next_at"] is not None) == (False, True)
    assert (await api.delete("/schedules/nightly")).json() == {"name": "nightly", "dropped": True}
    assert (await api.get("/schedules")).json() == {"schedules": []}


@pytest.mark.usefixtures("nightly")
async def test_a_schedules_job_is_made_now(kit: Kit, api: httpx.AsyncClient) -> None:
    answer = await api.post("/schedules/nightly/run")
    assert answer.status_code == 202
    job = answer.json()
    assert (job["task"], job["args"], job["duplicate"]) == ("add", {"a": 1, "b": 0}, False)
    assert answer.headers["location"] == f"/jobs/{job['job_id']}"
    assert (await kit.client.get(job["job_id"])).status == "pending"


@pytest.mark.usefixtures("nightly")
async def test_the_next_ticks_are_listed(api: httpx.AsyncClient) -> None:
    await api.post("/schedules", json={"name": "often", "task": "add", "args": {"a": 1}, "every": 300})
    body = (await api.get("/schedules/often/next", params={"count": 3})).json()
    first, second, third = map(datetime.fromisoformat, body["next"])
    assert second - first == third - second == timedelta(seconds=300)
    assert len((await api.get("/schedules/nightly/next")).json()["next"]) == 10
    assert (await api.get("/schedules/nightly/next", params={"count": 0})).status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/run"),
        ("GET", "/next"),
    ],
)
@pytest.mark.usefixtures("nightly")
async def test_a_schedule_that_is_not_there_is_404(api: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await api.request(method, f"/schedules/nigthly{path}")
    assert answer.status_code == 404
    assert "'nigthly'" in answer.json()["detail"]


@pytest.mark.usefixtures("nightly")
async def test_a_schedule_of_the_code_is_neither_replaced_nor_removed(
    kit: Kit, api: httpx.AsyncClient
) -> None:
    schedule = msgspec.structs.replace(await kit.client.schedule("nightly"), source="code:shop:app")
    await kit.store.put_schedules([schedule])
    for answer in (await api.post("/schedules", json=NIGHTLY), await api.delete("/schedules/nightly")):
        assert answer.status_code == 409
        assert "is declared in the code of shop:app" in answer.json()["detail"]
    assert (await api.post("/schedules/nightly/pause")).json()["paused"] is True
    dropped = await api.delete("/schedules/nightly", params={"force": True})
    assert dropped.json() == {"name": "nightly", "dropped": True}
    assert (await api.get("/schedules")).json() == {"schedules": []}


async def test_a_day_that_never_comes_is_refused_with_that_reason(api: httpx.AsyncClient) -> None:
    answer = await api.post("/schedules", json=NIGHTLY | {"cron": "0 0 30 2 *"})
    assert answer.status_code == 422
    assert "never comes: the month '2' has no day '30'" in answer.json()["detail"]
