"""The engine suite on dramatiq, over Redis."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence

import pytest
from tests.conformance.redis_transport import RedisTransport, Server, fresh_server, redis_server

from faena.engines.dramatiq import DramatiqEngine
from faena.engines.dramatiq.engine import check_version
from faena.testing.engines import (
    EngineConformance,
    ProcessConformance,
    Transport,
    WorkerConformance,
)

__all__ = ["fresh_server", "redis_server"]

NAMESPACE = "faena-dramatiq"
HONEST: dict[str, object] = {
    "queue_name": "default",
    "actor_name": "t",
    "args": ["evil"],
    "kwargs": {},
    "options": {"redis_message_id": "1", "fn": "faena.run"},
    "message_id": "1",
    "message_timestamp": 1,
}


def _but(**changes: object) -> bytes:
    return json.dumps(HONEST | changes).encode()


HOSTILE = [
    _but(actor_name="os.system", options={"redis_message_id": "1"}),
    _but(options={"redis_message_id": "1", "fn": "os.system"}),
    _but(args=["evil", "more"]),
    _but(args=[["evil"]]),
    _but(kwargs={"job": "evil"}),
    _but(args=["x" * 10_000]),
    _but()[:-20],
    pickle.dumps(print),
    b"\xff\xfe\x00",
    b"null",
    b"",
]


class DramatiqTransport(RedisTransport):
    engine_class = DramatiqEngine
    hostile = HOSTILE
    refused_versions = ("1.17.1", "3.0.0")
    own_commands: Mapping[str, Sequence[str]] = {
        "dramatiq": (
            *("-m", "dramatiq", "faena.engines.dramatiq_app"),
            *("--processes", "2", "--threads", "4"),
        )
    }

    def messages(self, queue: str) -> list[bytes]:
        ids = self.redis.lrange(f"{NAMESPACE}:{queue}", 0, -1)
        return [self.redis.hget(f"{NAMESPACE}:{queue}.msgs", token) for token in ids]

    def send(self, queue: str, message: bytes) -> None:
        token = f"sent-past-the-engine-{self.redis.incr('sent')}"
        self.redis.hset(f"{NAMESPACE}:{queue}.msgs", token, message)
        self.redis.rpush(f"{NAMESPACE}:{queue}", token)

    def check_version(self, version: str) -> None:
        check_version(version)


class OnDramatiq:
    @pytest.fixture
    def transport(self, fresh_server: Server) -> Transport:
        return DramatiqTransport(fresh_server)


class TestDramatiqAlone(OnDramatiq, EngineConformance):
    pass


class TestDramatiqWithAWorker(OnDramatiq, WorkerConformance):
    pass


class TestDramatiqInProcesses(OnDramatiq, ProcessConformance):
    commands = ("dramatiq",)
