"""Connections to RabbitMQ, one thread at a time for each: py-amqp's are not made for more."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from amqp import AMQPError, Channel, Connection, spec
from amqp import __version__ as installed

from faena.engines.onredis import check_version
from faena.errors import InvalidSettings

if TYPE_CHECKING:
    from amqp import Message

TIMEOUT: Final = 0.8
"""Seconds for a connection, and for an answer to a reader."""
ALL_IN: Final = 1.6
"""Seconds for everything that is done on a link of a `Pool`."""
CONNECTIONS: Final = 16

Answer = TypeVar("Answer")


def check_amqp(version: str) -> None:
    """Raise ImportError unless ``version`` is a py-amqp that this module was built for."""
    check_version("amqp", version, least=(5, 3), below=(6, 0), extra="rabbitmq")


check_amqp(installed)


def address(url: str) -> dict[str, Any]:
    """Return ``amqp://user:password@host:port/vhost`` as py-amqp takes it; raises `InvalidSettings`."""
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "amqps"
        host, port = parts.hostname or "localhost", parts.port or (5671 if secure else 5672)
    except ValueError as error:
        raise InvalidSettings([f"FAENA_BROKER_URL is no address: {error}"]) from None
    return {
        "host": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "userid": unquote(parts.username or "guest"),
        "password": unquote(parts.password or "guest"),
        "virtual_host": unquote(parts.path[1:]) or "/",
        "ssl": {"context": ssl.create_default_context(), "server_hostname": host} if secure else False,
    }


class Link:
    """A connection with one channel, which confirms what it was sent. Raises what py-amqp raises, and `OSError`."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(
            **address(url),
            connect_timeout=TIMEOUT,
            read_timeout=TIMEOUT,
            write_timeout=TIMEOUT,
            client_properties={"connection_name": "faena"},
        )
        self.until: float | None = None
        """When answers are not waited for any longer; None: `TIMEOUT` for each."""
        self._sent = 0
        self._unconfirmed: set[int] = set()
        try:
            self._connection.connect()
            self._channel = Channel(self._connection, auto_decode=False)
            self._channel.open()
            self._channel.confirm_select()
            self._channel.events["basic_ack"].add(self._on_confirm)
            self._channel.events["basic_nack"].add(self._on_refusal)
        except BaseException:
            self.drop()
            raise

    def declare(self, name: str) -> int:
        """Make a queue unless it is there; returns how many messages wait in it."""
        durable: tuple[Any, ...] = (0, name, False, True, False, False, False, {})
        self._channel.send_method(spec.Queue.Declare, "BsbbbbbF", durable)
        return int(self._answer(spec.Queue.DeclareOk)[1])

    def purge(self, name: str) -> int:
        """Empty a queue; returns how many messages waited in it."""
        self.declare(name)
        self._channel.send_method(spec.Queue.Purge, "Bsb", (0, name, False))
        return int(self._answer(spec.Queue.PurgeOk)[0])

    def ping(self) -> None:
        """Ask for anything that changes nothing."""
        self._channel.exchange_declare("amq.direct", "direct", passive=True)

    def publish(self, name: str, message: Message) -> None:
        """Send a message to a queue, and wait for nothing."""
        self._channel.send_method(spec.Basic.Publish, "Bssbb", (0, "", name, False, False), message)
        self._sent += 1
        self._unconfirmed.add(self._sent)

    def confirmed(self) -> None:
        """Return when RabbitMQ has everything that was sent; raises OSError when it refuses something."""
        while self._unconfirmed:
            self._connection.drain_events(timeout=self._left())

    def get(self, name: str, count: int) -> list[Message]:
        """Take up to ``count`` messages off a queue for good, in one round trip."""
        for _ in range(count):
            self._channel.send_method(spec.Basic.Get, "Bsb", (0, name, True))
        answers = [self._answer(spec.Basic.GetOk, spec.Basic.GetEmpty) for _ in range(count)]
        return [answer[-1] for answer in answers if len(answer) > 1]

    def limit_consumers(self, count: int) -> None:
        """Let each consumer have so many messages that it has not settled."""
        self._channel.basic_qos(0, count, False)

    def consume(self, name: str, *, tag: str, into: list[tuple[int, Message]]) -> None:
        """Have messages of a queue brought: `drain` puts them into a list, with ``tag`` as a number."""
        self._channel.basic_consume(
            name, consumer_tag=tag, callback=lambda message: into.append((int(tag), message))
        )

    def drain(self, wait: float) -> None:
        """Read whatever comes next; raises TimeoutError when nothing does."""
        self._connection.drain_events(timeout=wait)

    def cancel(self, tag: str) -> None:
        """Have no more brought; what was on its way is put into the list."""
        self._channel.basic_cancel(tag)

    def settle(self, message: Message, *, taken: bool) -> None:
        """Say that a message that was brought is taken, or let it go back to where it was."""
        if taken:
            self._channel.basic_ack(message.delivery_tag)
        else:
            self._channel.basic_reject(message.delivery_tag, requeue=True)

    def close(self) -> None:
        """Part in good order if that can be done. Safe to repeat."""
        with suppress(AMQPError, OSError):
            self._connection.close()
        self.drop()

    def drop(self) -> None:
        """Hang up."""
        with suppress(AMQPError, OSError):
            self._connection.collect()

    def _answer(self, *methods: Any) -> Sequence[Any]:
        answer: Any = self._channel.wait([*methods], timeout=self._left(), returns_tuple=True)
        return tuple(answer)

    def _left(self) -> float:
        return TIMEOUT if self.until is None else max(self.until - time.monotonic(), 0.001)

    def _on_confirm(self, tag: int, multiple: bool) -> None:
        """Queue by queue, and so in no order."""
        self._unconfirmed -= {sent for sent in self._unconfirmed if sent <= tag} if multiple else {tag}

    def _on_refusal(self, tag: int, multiple: bool) -> None:
        raise OSError("it refused a message")


class Pool:
    """Up to `CONNECTIONS` links for many threads, opened as they are needed and kept."""

    def __init__(self, url: str) -> None:
        address(url)  # a fault is told at once
        self._url = url
        self._free = threading.Semaphore(CONNECTIONS)
        self._lock = threading.Lock()
        self._idle: list[Link] = []

    def do(self, act: Callable[[Link], Answer]) -> Answer:
        """Return what ``act`` does on a link. When a link that was kept turns out to be cut, as after a restart, all
        that are kept are let go and it is done on a new one."""
        until = time.monotonic() + ALL_IN
        if not self._free.acquire(timeout=ALL_IN / 2):
            raise TimeoutError("all connections are busy")
        try:
            kept = self._kept()
            if kept is not None:
                try:
                    return self._act(kept, act, until)
                except TimeoutError:
                    raise
                except (AMQPError, OSError):
                    for link in self._take_all():
                        link.drop()
            return self._act(Link(self._url), act, until)
        finally:
            self._free.release()

    def close(self) -> None:
        """Let go of the links that nobody uses. Safe to repeat."""
        for link in self._take_all():
            link.close()

    def _take_all(self) -> list[Link]:
        with self._lock:
            idle, self._idle = self._idle, []
        return idle

    def _kept(self) -> Link | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _act(self, link: Link, act: Callable[[Link], Answer], until: float) -> Answer:
        link.until = until
        try:
            answer = act(link)
        except BaseException:
            link.drop()
            raise
        with self._lock:
            self._idle.append(link)
        return answer
