"""The engines' own command lines serve Faena's queues strictly in order, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.conformance.redis_transport import RedisTransport, fresh_server, redis_server
from tests.conformance.test_engines_arq import ARQTransport
from tests.conformance.test_engines_celery import CeleryTransport
from tests.conformance.test_engines_rq import RQTransport

from faena.testing.engines.bench import Bench, opened_bench
from faena.testing.engines.processes import Crew
from faena.testing.servers import RedisServer
from faena.testing.witness import VARIABLE, Witness

__all__ = ["fresh_server", "redis_server"]

CELERY = ("-m", "celery", "-A", "faena.engines.celery_app", "worker", "--concurrency=1")


class CeleryInOrder(CeleryTransport):
    own_commands = {"worker": (*CELERY, "--pool=threads")}


class PreforkInOrder(CeleryTransport):
    own_commands = {"worker": (*CELERY, "--pool=prefork")}


class RQInOrder(RQTransport):
    own_commands = {"worker": ("-m", "rq.cli", "worker", "high", "default", "low")}


class ARQInOrder(ARQTransport):
    own_commands = {"worker": ("-m", "arq", "faena.engines.arq_app.WorkerSettings")}


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Witness:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "witness.jsonl"))
    return Witness(tmp_path / "witness.jsonl")


@pytest_asyncio.fixture(params=[CeleryInOrder, PreforkInOrder, RQInOrder, ARQInOrder])
async def bench(
    request: pytest.FixtureRequest, fresh_server: RedisServer, tmp_path: Path, witness: Witness
) -> AsyncIterator[Bench]:
    transport: RedisTransport = request.param(fresh_server)
    async with opened_bench(transport, tmp_path, witness) as bench:
        yield bench


async def test_queues_are_served_in_order_by_the_engines_own_worker(bench: Bench, tmp_path: Path) -> None:
    crew = Crew(bench.transport, tmp_path)
    try:
        crew.start("worker", FAENA_QUEUES="high,default,low", FAENA_THREADS="1")
        jobs = [await bench.enqueue(name="busy", queue="low", seconds=1.0)]
        await bench.begun("busy")
        for queue in ("low", "default", "high"):
            jobs += [await bench.enqueue(name=f"{queue}-{n}", queue=queue) for n in (1, 2)]
        for job in jobs:
            await bench.completed(job)
    finally:
        crew.close()
    order = [sight.name for sight in bench.witness.everything() if sight.what == "begin"]
    assert order == ["busy", "high-1", "high-2", "default-1", "default-2", "low-1", "low-2"]
