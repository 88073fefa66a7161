"""Who may talk to the server, and how errors become answers."""

from __future__ import annotations

import inspect

import httpx
import pytest
from fastapi import Request
from test_api_jobs import problem

from api_kit import Kit
from faena import errors
from faena.api.app import create_app
from faena.api.auth import check_bind, is_loopback
from faena.api.deps import streams_body
from faena.api.problems import STATUSES, status_of
from faena.api.server import make_server
from faena.errors import FaenaError, InvalidSettings
from faena.settings import Settings

ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, FaenaError) and kind is not FaenaError
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind: type[FaenaError]) -> None:
    assert 400 <= status_of(kind) < 600


def test_an_error_that_nobody_mapped_is_noticed() -> None:
    class New(FaenaError):
        pass

    with pytest.raises(KeyError):
        status_of(New)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidArguments, 422),
        (errors.UnknownTask, 422),
        (errors.NotFound, 404),
        (errors.KeyConflict, 409),
        (errors.IllegalStep, 409),
        (errors.StoreFull, 503),
        (errors.QueueDisabled, 503),
    ],
)
def test_what_a_client_can_do_decides_the_status(kind: type[FaenaError], status: int) -> None:
    assert status_of(kind) == status
    assert len(STATUSES) < len(ERRORS)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "app.localhost", "LOCALHOST."]
)
def test_loopback_is_let_in(host: str) -> None:
    assert is_loopback(host)
    check_bind(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "",
        "192.168.1.5",
        "example.com",
        "localhost.example.com",
        "127.0.0.1.nip.io",
        "2130706433",
    ],
)
def test_every_other_address_is_refused(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(InvalidSettings, match="API_HOST"):
        check_bind(host)


async def test_the_server_refuses_another_address(kit: Kit) -> None:
    with pytest.raises(InvalidSettings, match=r"0\.0\.0\.0"):
        make_server(kit.api, host="0.0.0.0", port=0)


async def test_a_secret_that_could_not_be_honoured_is_refused(kit: Kit) -> None:
    settings = Settings(secret="x" * 32)
    with pytest.raises(InvalidSettings, match="tokens"):
        create_app(client=kit.client, app=kit.app, settings=settings, selection=kit.selection)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1"])
async def test_a_foreign_host_is_refused_whatever_it_asks(api: httpx.AsyncClient, host: str) -> None:
    body = problem(await api.get("/jobs", headers={"host": host}), 403)
    assert body["type"] == "urn:faena:problem:foreign-request"


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:1", "[::1]:8000"])
async def test_names_of_this_machine_are_hosts(api: httpx.AsyncClient, host: str) -> None:
    assert (await api.get("/jobs", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://["]
)
async def test_a_page_of_another_site_cannot_change_anything(
    kit: Kit, api: httpx.AsyncClient, origin: str
) -> None:
    headers = {"origin": origin}
    problem(await api.post("/jobs", json={"task": "add", "args": {"a": 1}}, headers=headers), 403)
    problem(await api.delete("/queues/default/purge", headers=headers), 403)
    assert await kit.store.counts() == []


async def test_a_page_of_this_machine_can(api: httpx.AsyncClient) -> None:
    headers = {"origin": "http://localhost:5173"}
    assert (
        await api.post("/jobs", json={"task": "add", "args": {"a": 1}}, headers=headers)
    ).status_code == 202


async def test_a_route_that_streams_its_body_bounds_it_itself(kit: Kit) -> None:
    application = kit.api

    @application.post("/upload")
    @streams_body
    async def upload(request: Request) -> int:
        return sum([len(piece) async for piece in request.stream()])

    @application.post("/small")
    async def small(request: Request) -> int:
        return len(await request.body())

    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as api:
        size = 9 * 1024 * 1024
        assert (await api.post("/upload", content=b"x" * size)).json() == size
        problem(await api.post("/small", content=b"x" * size), 413)


async def test_the_page_loads_nothing_from_elsewhere(api: httpx.AsyncClient) -> None:
    for path in ("/", "/assets/app.css", "/assets/app.js", "/assets/steering.js"):
        response = await api.get(path)
        assert response.status_code == 200
        assert response.headers["content-security-policy"].startswith("default-src 'self'")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "http://" not in response.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in response.text
        assert "innerHTML" not in response.text
