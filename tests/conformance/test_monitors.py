"""A team keeps the monitors that it has: in Flower and in rq-dashboard a job appears by its task's real name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.conformance.redis_transport import RedisTransport, fresh_server, redis_server
from tests.conformance.test_engines_celery import CeleryTransport
from tests.conformance.test_engines_rq import RQTransport

from faena.testing.engines.base import PATIENCE
from faena.testing.engines.bench import Bench, opened_bench
from faena.testing.engines.processes import Crew
from faena.testing.servers import RedisServer
from faena.testing.witness import VARIABLE, Witness

__all__ = ["fresh_server", "redis_server"]


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Witness:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "witness.jsonl"))
    return Witness(tmp_path / "witness.jsonl")


@pytest_asyncio.fixture
async def bench(
    request: pytest.FixtureRequest, fresh_server: RedisServer, tmp_path: Path, witness: Witness
) -> AsyncIterator[Bench]:
    transport: RedisTransport = request.param(fresh_server)
    async with opened_bench(transport, tmp_path, witness) as bench:
        yield bench


@pytest.mark.parametrize("bench", [CeleryTransport], indirect=True)
async def test_flower_shows_the_real_names_of_tasks(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("flower", reason="Flower is not installed")
    port = free_port()
    crew = crew_with(
        bench,
        tmp_path,
        flower=(
            "-m",
            "celery",
            "-A",
            "faena.engines.celery_app",
            "flower",
            f"--port={port}",
            "--address=127.0.0.1",
        ),
        worker=("-m", "celery", "-A", "faena.engines.celery_app", "worker", "--pool=threads", "-E"),
    )
    try:
        crew.start("flower", FLOWER_UNAUTHENTICATED_API="true")
        await shown(f"http://127.0.0.1:{port}/healthcheck", lambda page: "OK" in page, crew)
        crew.start("worker")
        await shown(f"http://127.0.0.1:{port}/api/workers?refresh=1", lambda page: "celery@" in page, crew)
        job = await bench.completed(await bench.enqueue(name="job"))
        await shown(
            f"http://127.0.0.1:{port}/api/tasks",
            lambda page: '"name": "note"' in page and job.id in page,
            crew,
        )
    finally:
        crew.close()


@pytest.mark.parametrize("bench", [RQTransport], indirect=True)
async def test_rq_dashboard_shows_the_real_names_of_tasks(bench: Bench, tmp_path: Path) -> None:
    pytest.importorskip("rq_dashboard", reason="rq-dashboard is not installed")
    port = free_port()
    url = bench.transport.settings()["REDIS_URL"]
    crew = crew_with(
        bench,
        tmp_path,
        dashboard=("-m", "rq_dashboard", "--bind", "127.0.0.1", "--port", str(port), "--redis-url", url),
    )
    try:
        crew.start("dashboard")
        job = await bench.enqueue(name="job")
        jobs = f"http://127.0.0.1:{port}/0/data/jobs/faena:default/queued/10/asc/1.json"
        await shown(jobs, lambda page: f"note({job.id})" in page, crew)
    finally:
        crew.close()


def crew_with(bench: Bench, directory: Path, **commands: tuple[str, ...]) -> Crew:
    bench.transport.own_commands = {**bench.transport.own_commands, **commands}
    return Crew(bench.transport, directory)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


async def shown(url: str, holds: Callable[[str], bool], crew: Crew) -> None:
    """Return once what is at the address is as it should be."""
    page = "nothing"
    try:
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as client:
            while not holds(page):
                try:
                    page = (await client.get(url)).text
                except httpx.TransportError as error:
                    page = repr(error)
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{url} showed {page[:2000]}\n{crew.logs()}") from None
