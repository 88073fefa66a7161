"""Dramatiq on RabbitMQ: ordinary messages of its own, in one queue for each of Faena's.

Dramatiq's RabbitMQ broker and pika are not used: its workers get what `faena.engines.dramatiq.hosted` reads, on
RabbitMQ as on Redis.
"""

from __future__ import annotations

import time
import uuid

from faena.engines.dramatiq.engine import as_json, compose, read
from faena.engines.onrabbit import OnRabbit, Written
from faena.ports.engine import Delivery


class DramatiqRabbitLayout:
    """Queues that no dramatiq of the user's own has, and dramatiq's messages in them."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def name(self, queue: str) -> str:
        """Return what a queue is called."""
        return f"{self._namespace}:{queue}"

    def write(self, delivery: Delivery) -> Written:
        """Return the message as dramatiq encodes it."""
        message = compose(delivery, str(uuid.uuid4()), int(time.time() * 1000))
        return Written(body=as_json(message), properties={"content_type": "application/json"})

    def job(self, message: Written) -> str:
        """Return the job's id."""
        return read(message.body).args[0]


class WholeRabbitMessages(DramatiqRabbitLayout):
    """Brings whole messages in the place of ids."""

    def job(self, message: Written) -> str:
        """Return the message itself, if it is one of Faena's."""
        read(message.body)
        return message.body.decode()


class DramatiqRabbitEngine(OnRabbit):
    """Publishes to the RabbitMQ at ``url``. Thread-safe."""

    name = "dramatiq"

    def __init__(self, url: str, *, namespace: str = "faena-dramatiq", whole: bool = False) -> None:
        super().__init__(url, (WholeRabbitMessages if whole else DramatiqRabbitLayout)(namespace))
        self._namespace = namespace

    def whole(self) -> DramatiqRabbitEngine:
        """Make one that serves whole messages in the place of ids."""
        return DramatiqRabbitEngine(self.url, namespace=self._namespace, whole=True)
