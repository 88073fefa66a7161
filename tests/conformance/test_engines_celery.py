"""The engine suite on Celery over Redis."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Mapping, Sequence

import pytest
from tests.conformance.redis_transport import OURS, RedisTransport, fresh_server, redis_server

from faena.engines.celery import PREFIX, CeleryEngine, check_version, message
from faena.ports.engine import Delivery
from faena.testing.engines import (
    EngineConformance,
    ProcessConformance,
    Transport,
    WorkerConformance,
)
from faena.testing.engines.bench import Bench
from faena.testing.engines.processes import Crew
from faena.testing.servers import RedisServer

__all__ = ["fresh_server", "redis_server"]

HONEST = message(Delivery(job_id="evil", task="t", queue="default"))
CALL = base64.b64encode(json.dumps([["touch /tmp/evil"], {}, {}]).encode()).decode()
HOSTILE = [
    json.dumps({"body": CALL, "headers": {"task": "os.system", "id": "1"}, "properties": {}}).encode(),
    json.dumps({"body": "%%%", "headers": {"task": "t", "origin": "faena"}, "properties": {}}).encode(),
    json.dumps({"body": CALL[4:], "headers": {"task": "t", "origin": "faena"}, "properties": {}}).encode(),
    json.dumps({"body": CALL, "headers": {"origin": "faena"}, "properties": {}}).encode(),
    json.dumps({"body": CALL, "headers": None}).encode(),
    HONEST.replace(b"faena", b"other"),
    HONEST[:-20],
    HONEST + b" " * 10_000,
    pickle.dumps(print),
    b"\xff\xfe\x00",
    b"null",
    b"",
]


class CeleryTransport(RedisTransport):
    engine_class = CeleryEngine
    hostile = HOSTILE
    refused_versions = ("4.4.7", "5.4.0", "6.0.0")
    own_commands: Mapping[str, Sequence[str]] = {
        f"celery {pool}": (
            *("-m", "celery", "-A", "faena.engines.celery_app", "worker", f"--pool={pool}"),
            *("--concurrency=4", "--without-mingle"),
        )
        for pool in ("threads", "prefork", "solo")
    }

    def messages(self, queue: str) -> list[bytes]:
        envelopes = [json.loads(raw) for raw in self.redis.lrange(PREFIX + queue, 0, -1)]
        return [
            json.dumps([envelope["headers"], json.loads(base64.b64decode(envelope["body"]))]).encode()
            for envelope in envelopes
        ]

    def send(self, queue: str, message: bytes) -> None:
        self.redis.lpush(PREFIX + queue, message)

    def check_version(self, version: str) -> None:
        check_version(version)


class OnCelery:
    @pytest.fixture
    def transport(self, fresh_server: RedisServer) -> Transport:
        return CeleryTransport(fresh_server)


class TestCeleryAlone(OnCelery, EngineConformance):
    pass


class TestCeleryWithAWorker(OnCelery, WorkerConformance):
    pass


class TestCeleryInProcesses(OnCelery, ProcessConformance):
    commands = (*OURS, "celery threads")

    @pytest.mark.parametrize("pool", ["prefork", "solo"])
    async def test_the_other_pools_run_jobs_and_end_in_good_order(
        self, bench: Bench, crew: Crew, pool: str
    ) -> None:
        worker = crew.start(f"celery {pool}", FAENA_GRACE="0.3")
        for number in range(5):
            await bench.completed(await bench.enqueue(name=f"job-{number}"))
        job = await bench.enqueue(name="long", seconds=5.0)
        await bench.begun("long")
        worker.terminate()
        assert await crew.end(worker) == 0
        waiting = await bench.client.get(job.id)
        assert (waiting.status, waiting.attempt, waiting.crashes) == ("pending", 0, 0)

    async def test_it_tells_the_queues_and_the_slots_that_it_really_has(
        self, bench: Bench, crew: Crew
    ) -> None:
        crew.start("celery solo", "-Q", "low")
        await bench.completed(await bench.enqueue(name="job", queue="low"))
        (worker,) = await bench.client.store.workers()
        assert (worker.queues, worker.slots) == (("low",), 1)
