"""What the engines on RabbitMQ have in common: a server that answers or is down, and queues that are read in batches.

An engine says with a `Layout` how its queues are called and what its messages look like; they are ordinary messages of
the engine's own. Each queue is a durable classic one behind the default exchange. Readers ask for messages
(``basic.get``) in the order of their queues and take no more than they have room for: nothing is prefetched, so that
the order is strict and nothing waits at a worker that is full. Only who is idle lets RabbitMQ bring one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from amqp import AMQPError
from amqp import Message as Sent
from amqp.exceptions import ConsumerCancelled, NotFound

from faena.engines.rabbit_links import Link, Pool
from faena.engines.reading import Reading
from faena.errors import EngineDown
from faena.job import Record
from faena.ports.engine import Capabilities, Delivery, Hands, ServeOptions

if TYPE_CHECKING:
    from amqp.basic_message import Message as Came

MESSAGES_A_ROUND: Final = 1_000
"""Sent before RabbitMQ is waited for."""
GETS_A_ROUND: Final = 100
BLOCK: Final = 2.0
"""Seconds that an idle reader lets RabbitMQ bring it a message, before it asks again."""
NAP: Final = 0.1
"""Seconds after which a sleeping reader looks whether it is to stop."""
PERSISTENT: Final = 2


class Written(Record, frozen=True):
    """A message as AMQP carries it."""

    body: bytes
    headers: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    """Those of AMQP besides: ``correlation_id``…"""


class Layout(Protocol):
    """How an engine calls its queues, and what its messages are."""

    def name(self, queue: str) -> str:
        """Return what a queue is called in RabbitMQ."""
        ...

    def write(self, delivery: Delivery) -> Written:
        """Return the message for a job."""
        ...

    def job(self, message: Written) -> str:
        """Return the id of the job that a message is for; raises `RejectedMessage`."""
        ...


class OnRabbit:
    """The Engine port over a `Layout`. Thread-safe; connects at the first use."""

    name: str
    capabilities = Capabilities(delivers=True, queue_order=True, priority=False, separate_processes=True)

    def __init__(self, url: str, layout: Layout) -> None:
        self.url = url
        self._layout = layout
        self._pool = Pool(url)

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Publish one message for each job, and return when RabbitMQ has confirmed them."""
        for start in range(0, len(deliveries), MESSAGES_A_ROUND):
            part = deliveries[start : start + MESSAGES_A_ROUND]
            messages = [
                (self._layout.name(delivery.queue), self._layout.write(delivery)) for delivery in part
            ]
            with _down():
                self._pool.do(lambda link, sent=messages: publish(link, sent))  # type: ignore[misc]

    def serve(self, hands: Hands, options: ServeOptions) -> Reading[Written]:
        """Prepare to read the queues, with a connection of its own."""
        names = [self._layout.name(queue) for queue in options.queues]
        return Reading(RabbitQueues(self.url, names), self._layout.job, hands)

    def depth(self, queue: str) -> int:
        """Count the messages that wait in a queue; those on their way to an idle reader are not."""
        name = self._layout.name(queue)
        with _down():
            return self._pool.do(lambda link: link.declare(name))

    def purge(self, queues: Sequence[str]) -> int:
        """Drop the messages that wait in queues."""
        dropped = 0
        for name in dict.fromkeys(self._layout.name(queue) for queue in queues):
            with _down():
                dropped += self._pool.do(lambda link, name=name: link.purge(name))  # type: ignore[misc]
        return dropped

    def ping(self) -> None:
        """Ask the server."""
        with _down():
            self._pool.do(lambda link: link.ping())

    def close(self) -> None:
        """Close every connection; what is served goes on."""
        self._pool.close()


def publish(link: Link, messages: Sequence[tuple[str, Written]]) -> None:
    """Send messages to queues, which are made if they are not there, and wait until RabbitMQ has confirmed all."""
    for name in dict.fromkeys(name for name, _ in messages):
        link.declare(name)
    for name, written in messages:
        link.publish(
            name,
            Sent(
                written.body,
                application_headers=written.headers,
                delivery_mode=PERSISTENT,
                **written.properties,
            ),
        )
    link.confirmed()


class RabbitQueues:
    """Some queues in strict order, for one reader, by their names in RabbitMQ. `read` raises `EngineDown`."""

    server = "RabbitMQ"

    def __init__(self, url: str, names: Sequence[str]) -> None:
        self._url = url
        self._names = names
        self._ask = dict.fromkeys(names, 1)
        """How many messages to ask a queue for: few where there were few."""
        self._link: Link | None = None
        self._woken = threading.Event()

    def read(self, limit: int) -> list[Written]:
        """Return up to ``limit`` messages, as soon as there are any; none after a while, or when woken."""
        try:
            with _down():
                return self._read(limit)
        except EngineDown:
            if self._link is not None:
                self._link.drop()
            self._link = None
            raise

    def settled(self) -> None:
        """Do nothing: RabbitMQ forgets a message as soon as it hands it out."""

    def wake(self) -> None:
        """Make `read` return; it can't be slept in again."""
        self._woken.set()

    def close(self) -> None:
        """Let go of the connection: what was brought and not taken goes back."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _read(self, limit: int) -> list[Written]:
        try:
            link = self._open()
            return [_written(message) for message in self._get(link, limit) or self._doze(link, limit)]
        except (NotFound, ConsumerCancelled):  # somebody deleted a queue: it is made again
            self.close()
            self._open()
            return []

    def _open(self) -> Link:
        if self._link is None:
            self._link = Link(self._url)
            self._link.limit_consumers(1)
            for name in self._names:
                self._link.declare(name)
        return self._link

    def _get(self, link: Link, limit: int) -> list[Came]:
        """Take what waits, queue by queue; RabbitMQ forgets a message as soon as it hands it out."""
        taken: list[Came] = []
        for name in self._names:
            while len(taken) < limit:
                asked = min(limit - len(taken), self._ask[name])
                got = link.get(name, asked)
                taken += got
                if len(got) < asked:
                    self._ask[name] = max(1, len(got))
                    break
                self._ask[name] = min(max(2 * asked, self._ask[name]), GETS_A_ROUND)
        return taken

    def _doze(self, link: Link, limit: int) -> list[Came]:
        """Let RabbitMQ bring a message as soon as one comes. What other queues brought at the same moment is taken in
        order, too, and goes back if there is no room for it."""
        came: list[tuple[int, Came]] = []
        for place, name in enumerate(self._names):
            link.consume(name, tag=str(place), into=came)
        until = time.monotonic() + BLOCK
        while not came and not self._woken.is_set() and time.monotonic() < until:
            with suppress(TimeoutError):
                link.drain(NAP)
        for place in range(len(self._names)):
            link.cancel(str(place))
        came.sort(key=lambda found: found[0])
        for number, (_, message) in enumerate(came):
            link.settle(message, taken=number < limit)
        return [message for _, message in came[:limit]]


def _written(message: Came) -> Written:
    body, headers = message.body, message.properties.get("application_headers")
    return Written(
        body=body if isinstance(body, bytes) else str(body).encode(),
        headers=headers if isinstance(headers, dict) else {},
    )


@contextmanager
def _down() -> Iterator[None]:
    """Turn what py-amqp raises into `EngineDown`."""
    try:
        yield
    except (AMQPError, OSError) as error:
        raise EngineDown(f"RabbitMQ does not answer: {error or type(error).__name__}") from error
