"""The engine suite on RQ."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.conformance.redis_transport import OURS, RedisTransport, fresh_server, redis_server

from faena.engines.rq import FUNCTION, JOB, PREFIX, QUEUE, RQEngine, check_version
from faena.testing.engines import EngineConformance, ProcessConformance, Transport, WorkerConformance
from faena.testing.engines.bench import Bench
from faena.testing.engines.processes import Crew
from faena.testing.servers import RedisServer

__all__ = ["fresh_server", "redis_server"]

HOSTILE = [
    b'["os.system", null, ["touch evil"], {}]',
    b'["os.system", null, ["touch", "evil"], {}]',
    f'["{FUNCTION}", null, ["evil"], {{}}]'.encode(),
    f'["{FUNCTION}", "os", ["evil", "t"], {{}}]'.encode(),
    f'["{FUNCTION}", null, [["evil"], "t"], {{}}]'.encode(),
    f'["{FUNCTION}", null, ["evil", "t"], {{}}'.encode(),
    f'["{FUNCTION}", null, ["evil", "{"x" * 10_000}"], {{}}]'.encode(),
    zlib.compress(pickle.dumps(("os.system", None, ("touch evil",), {}))),
    pickle.dumps(print),
    b"\xff\xfe\x00",
    b"null",
    b"",
]


class RQTransport(RedisTransport):
    engine_class = RQEngine
    hostile = HOSTILE
    refused_versions = ("1.16.2", "2.5.0", "4.0.0")
    own_commands: Mapping[str, Sequence[str]] = {
        "rq worker": ("-m", "rq.cli", "worker", "high", "default", "low")
    }

    def settings(self) -> Mapping[str, str]:
        return {
            **super().settings(),
            "RQ_REDIS_URL": self.server.url,
            "RQ_WORKER_CLASS": "faena.engines.rq_app.FaenaWorker",
        }

    def messages(self, queue: str) -> list[bytes]:
        return [
            self.redis.hget(JOB + name.decode(), "data") or b""
            for name in self.redis.lrange(QUEUE + PREFIX + queue, 0, -1)
        ]

    def send(self, queue: str, message: bytes) -> None:
        name = f"sent-{self.redis.incr('sent')}"
        self.redis.hset(JOB + name, mapping={"data": message, "origin": PREFIX + queue, "status": "queued"})
        self.redis.rpush(QUEUE + PREFIX + queue, name)

    def check_version(self, version: str) -> None:
        check_version(version)


class OnRQ:
    @pytest.fixture
    def transport(self, fresh_server: RedisServer) -> Transport:
        return RQTransport(fresh_server)


class TestRQAlone(OnRQ, EngineConformance):
    pass


class TestRQWithAWorker(OnRQ, WorkerConformance):
    pass


class TestRQInProcesses(OnRQ, ProcessConformance):
    commands = (*OURS, "rq worker")

    async def test_rqs_own_worker_rejects_hostile_messages_and_lives(
        self, bench: Bench, crew: Crew, transport: Transport
    ) -> None:
        crew.start("rq worker")
        for message in transport.hostile:
            transport.send("default", message)
        await bench.completed(await bench.enqueue(name="next"))
        assert "rejected" in crew.logs()
        assert "evil" not in [sight.name for sight in bench.witness.everything()]

    async def test_it_tells_the_queues_of_its_command_line(self, bench: Bench, crew: Crew) -> None:
        crew.start("rq worker", "other,more")  # besides high, default and low
        await bench.completed(await bench.enqueue(name="job", queue="more"))
        (worker,) = await bench.client.store.workers()
        assert worker.queues == ("high", "default", "low", "other", "more")


def test_rqs_own_worker_looks_for_a_signal_every_few_seconds(
    fresh_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", fresh_server.url)
    monkeypatch.setenv("FAENA_DATA_DIR", str(tmp_path))
    from faena.engines.rq_app import FaenaWorker

    assert FaenaWorker(["default"]).dequeue_timeout == 5
