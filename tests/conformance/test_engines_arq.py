"""The engine suite on ARQ."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence

import pytest
from tests.conformance.redis_transport import OURS, RedisTransport, fresh_server, redis_server

from faena.engines.arq import JOB, QUEUE, ARQEngine, check_version, encode
from faena.ports.engine import Delivery
from faena.testing.engines import EngineConformance, ProcessConformance, Transport, WorkerConformance
from faena.testing.engines.bench import Bench
from faena.testing.engines.processes import Crew
from faena.testing.servers import RedisServer

__all__ = ["fresh_server", "redis_server"]

HONEST = encode(Delivery(job_id="evil", task="os.system", queue="default"), 1_700_000_000_000)
HOSTILE = [
    b'{"t": null, "f": "os.system", "a": ["touch evil"], "k": {}, "et": 1}',
    HONEST.replace(b"faena", b"other"),
    HONEST.replace(b'["evil"]', b'["evil", "more"]'),
    HONEST.replace(b'["evil"]', b'[["evil"]]'),
    HONEST.replace(b'{"by"', b'{"more": 1, "by"'),
    HONEST[:-20],
    HONEST + b" " * 10_000,
    pickle.dumps({"t": None, "f": "os.system", "a": ("evil",), "k": {}, "et": 1}),
    pickle.dumps(print),
    b"\xff\xfe\x00",
    b"null",
    b"",
]


class ARQTransport(RedisTransport):
    engine_class = ARQEngine
    hostile = HOSTILE
    refused_versions = ("0.25.0", "0.27.0", "0.29.0", "1.0")
    own_commands: Mapping[str, Sequence[str]] = {"arq": ("-m", "arq", "faena.engines.arq_app.WorkerSettings")}

    def messages(self, queue: str) -> list[bytes]:
        return [
            self.redis.get(JOB + name.decode()) or b"" for name in self.redis.zrange(QUEUE + queue, 0, -1)
        ]

    def send(self, queue: str, message: bytes) -> None:
        number = self.redis.incr("sent")
        self.redis.set(f"{JOB}sent-{number}", message)
        self.redis.zadd(QUEUE + queue, {f"sent-{number}": number})

    def check_version(self, version: str) -> None:
        check_version(version)


class OnARQ:
    @pytest.fixture
    def transport(self, fresh_server: RedisServer) -> Transport:
        return ARQTransport(fresh_server)


class TestARQAlone(OnARQ, EngineConformance):
    pass


class TestARQWithAWorker(OnARQ, WorkerConformance):
    pass


class TestARQInProcesses(OnARQ, ProcessConformance):
    commands = (*OURS, "arq")

    async def test_arqs_own_worker_rejects_hostile_messages_and_lives(
        self, bench: Bench, crew: Crew, transport: Transport
    ) -> None:
        crew.start("arq")
        for message in transport.hostile:
            transport.send("default", message)
        await bench.completed(await bench.enqueue(name="next"))
        assert "rejected" in crew.logs()
        assert "evil" not in [sight.name for sight in bench.witness.everything()]

    async def test_a_redis_that_is_silent_is_told_when_it_ends(self, crew: Crew) -> None:
        worker = crew.start("arq", REDIS_URL="redis://127.0.0.1:1")
        assert await crew.end(worker) == 1
        assert "redis.exceptions.ConnectionError" in crew.logs()
