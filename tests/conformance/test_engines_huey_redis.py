"""The engine suite on huey over Redis."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from functools import partial

import pytest
from tests.conformance.redis_transport import OURS, RedisTransport, fresh_server, redis_server

from faena.engines.huey.engine import check_version
from faena.engines.huey.redis import STAMP, HueyRedisEngine
from faena.testing.engines import (
    EngineConformance,
    ProcessConformance,
    Transport,
    WorkerConformance,
)
from faena.testing.servers import RedisServer

__all__ = ["fresh_server", "redis_server"]

KEY = "huey.redis.faena.{}"
HOSTILE = [
    b'{"job": "evil", "task": "t", "fn": "os.system"}',
    b'{"job": "evil", "task": "t", "fn": "faena.other"}',
    b'{"job": ["evil"], "task": "t", "fn": "faena.run"}',
    b'{"job": "evil", "task": "t", "fn": "faena.run"',
    b'{"job": "' + b"x" * 10_000 + b'", "task": "t"}',
    b'["faena.run", "evil"]',
    pickle.dumps(partial(print, "evil")),
    b"\xff\xfe\x00",
    b"null",
    b"",
]


class HueyRedisTransport(RedisTransport):
    engine_class = HueyRedisEngine
    hostile = HOSTILE
    refused_versions = ("2.5.3", "3.4.9", "4.0")
    own_commands: Mapping[str, Sequence[str]] = {
        "huey_consumer": ("-m", "huey.bin.huey_consumer", "faena.engines.huey_app.huey", "--workers", "4")
    }

    def settings(self) -> Mapping[str, str]:
        return {"FAENA_ENGINE": "huey", "FAENA_STORE": "sqlite", "FAENA_BROKER_URL": self.server.url}

    def messages(self, queue: str) -> list[bytes]:
        return [message[STAMP.size :] for message in self.redis.zrange(KEY.format(queue), 0, -1)]

    def send(self, queue: str, message: bytes) -> None:
        self.redis.zadd(KEY.format(queue), {STAMP.pack(self.redis.incr("sent")) + message: 0})

    def check_version(self, version: str) -> None:
        check_version(version)


class OnHueyRedis:
    @pytest.fixture
    def transport(self, fresh_server: RedisServer) -> Transport:
        return HueyRedisTransport(fresh_server)


class TestHueyOnRedisAlone(OnHueyRedis, EngineConformance):
    pass


class TestHueyOnRedisWithAWorker(OnHueyRedis, WorkerConformance):
    pass


class TestHueyOnRedisInProcesses(OnHueyRedis, ProcessConformance):
    commands = (*OURS, "huey_consumer")
