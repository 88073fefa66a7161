"""Celery on RabbitMQ: jobs travel as Celery's own messages (protocol 2), one queue for each of Faena's.

A worker of Faena reads the queues straight; Celery's own command line reads the same ones through
`faena.engines.celery_app`. See ``docs/guides/celery.md``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from faena.engines.celery import LONGEST_MESSAGE, PREFIX, Headers, call, job_of
from faena.engines.onrabbit import OnRabbit, Written
from faena.engines.reading import RejectedMessage
from faena.ports.engine import Delivery


class CeleryRabbitEngine(OnRabbit):
    """Publishes to the RabbitMQ at ``url`` as Celery does."""

    name = "celery"

    def __init__(self, url: str) -> None:
        super().__init__(url, CeleryRabbitLayout())


class CeleryRabbitLayout:
    """The queues of `hosted_app`, and Celery's messages in them."""

    def name(self, queue: str) -> str:
        """Return what a queue is called: nothing of a Celery of the user's own."""
        return PREFIX + queue

    def write(self, delivery: Delivery) -> Written:
        """Return what Celery would publish."""
        headers, body = call(delivery)
        token = headers["id"]
        properties: dict[str, Any] = {
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "correlation_id": token,
        }
        return Written(body=body, headers=headers, properties=properties)

    def job(self, message: Written) -> str:
        """Return the only argument."""
        if len(message.body) > LONGEST_MESSAGE:
            raise RejectedMessage("it is too long")
        try:
            msgspec.convert(message.headers, Headers)
            return job_of(message.body)
        except (msgspec.MsgspecError, ValueError) as error:
            raise RejectedMessage(str(error)) from error
