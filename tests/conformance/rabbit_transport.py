"""A RabbitMQ server for the suites of the engines on it, behind a relay that stands in for its outages."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import ClassVar

import pytest
from amqp import Message

from faena.engines.onrabbit import OnRabbit
from faena.engines.rabbit_links import Link
from faena.ports.engine import Engine
from faena.testing.engines import Transport
from faena.testing.rabbit_server import RabbitServer, rabbit_program
from faena.testing.servers import free_port

RELAY = """
import asyncio, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()

async def connected(reader, writer):
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

async def main():
    server = await asyncio.start_server(connected, "127.0.0.1", int(sys.argv[1]))
    print("open", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


class Relay:
    """A process with a port that leads to another one: cut in no time, where a RabbitMQ takes seconds to come back."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._command = [sys.executable, "-c", RELAY, str(self.port), str(target)]
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Let connections through."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == b"open\n"

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def hold(self) -> None:
        """Accept everything and let nothing through, until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `hold`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class RabbitTransport(Transport):
    """Queues on a server that is there for this process's tests, seen through a relay."""

    engine_class: ClassVar[Callable[[str], OnRabbit]]
    prefix: ClassVar[str]

    def __init__(self, server: RabbitServer, relay: Relay) -> None:
        self.relay = relay
        self.url = server.url.replace(str(server.port), str(relay.port))
        self._link = Link(server.url)
        self.wipe()

    def maker(self) -> Callable[[], Engine]:
        return partial(type(self).engine_class, self.url)

    def settings(self) -> Mapping[str, str]:
        name = self.engine_class.name  # type: ignore[attr-defined]
        return {"FAENA_ENGINE": name, "FAENA_STORE": "sqlite", "FAENA_BROKER_URL": self.url}

    def waiting(self, queue: str) -> list[Message]:
        name = self.prefix + queue
        return self._link.get(name, self._link.declare(name))

    def publish(self, queue: str, body: bytes, **properties: object) -> None:
        self._link.declare(self.prefix + queue)
        self._link.publish(self.prefix + queue, Message(body, **properties))
        self._link.confirmed()

    def break_down(self) -> None:
        self.relay.cut()

    def restore(self) -> None:
        self.relay.open()

    def wipe(self) -> None:
        for queue in ("high", "default", "low", "first", "second", "third", "other", "unserved"):
            self._link._channel.queue_delete(self.prefix + queue)

    def close(self) -> None:
        self._link.close()


@pytest.fixture(scope="session")
def rabbit_server() -> Iterator[RabbitServer]:
    """The server of a process's tests. There is none to install with pip: skips where the machine has none."""
    if rabbit_program() is None:
        pytest.skip(
            "there is no rabbitmq-server on this machine: Celery and Dramatiq on RabbitMQ ARE NOT TESTED"
        )
    with RabbitServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbit_relay(rabbit_server: RabbitServer) -> Iterator[Relay]:
    relay = Relay(rabbit_server.port)
    yield relay
    relay.cut()


@pytest.fixture
def open_relay(rabbit_relay: Relay) -> Relay:
    rabbit_relay.open()
    return rabbit_relay
