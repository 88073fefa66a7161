"""Celery, and how it is on Redis: jobs travel as Celery's own messages (protocol 2), one Redis list for each queue.

A worker of Faena reads the lists straight, many messages in one visit; Celery's own command line reads the same lists
through `faena.engines.celery_app`. See ``docs/guides/celery.md``.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import celery as vendor
import msgspec

from faena.engines import onredis
from faena.engines.onredis import AllInFront, OnRedis, apart
from faena.engines.reading import RejectedMessage
from faena.job import Record
from faena.ports.engine import Delivery

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

PREFIX: Final = "faena:celery:"
"""In front of every key of this Celery: it meets no other one on the same server."""
ORIGIN: Final = "faena"
LONGEST_MESSAGE: Final = 8192

TAKE: Final = """
local taken = {}
for _, key in ipairs(KEYS) do
  while #taken < tonumber(ARGV[1]) do
    local message = redis.call('RPOP', key)
    if not message then break end
    taken[#taken + 1] = message
  end
end
return taken
"""


def check_version(version: str) -> None:
    """Raise ImportError unless ``version`` is a Celery that this module was built for."""
    onredis.check_version("celery", version, least=(5, 5), below=(6, 0), extra="celery")


check_version(vendor.__version__)
onredis.check_redis("celery")


class Headers(Record, frozen=True):
    """What Faena looks at of a message's headers."""

    task: str
    origin: Literal["faena"]


class Envelope(Record, frozen=True):
    """What Faena looks at of a message."""

    headers: Headers
    body: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Envelope).decode
_decode_body = msgspec.json.Decoder(tuple[tuple[str], dict[str, Any], dict[str, Any]]).decode


class CeleryEngine(OnRedis):
    """Delivers to the Redis at ``url`` as Celery does, several hundred messages in one round trip."""

    name = "celery"

    def __init__(self, url: str) -> None:
        super().__init__(url, CeleryLayout())


class CeleryLayout(AllInFront):
    """Kombu's Redis transport: producers push at the left of a list, workers pop at its right."""

    take = TAKE

    def key(self, queue: str) -> str:
        """Return the list of a queue."""
        return PREFIX + queue

    def wait(self, redis: Redis, keys: Sequence[str], seconds: int) -> tuple[bytes, bytes] | None:
        """Pop the oldest message of the first list that has one."""
        found: Any = redis.brpop(list(keys), timeout=seconds)
        return None if found is None else (found[0], found[1])

    def wake(self, pipeline: Pipeline, key: str) -> None:
        """Put an empty message there."""
        pipeline.lpush(key, b"")

    def count(self, redis: Redis, key: str) -> int:
        """Count a list's messages."""
        length: Any = redis.llen(key)
        return int(length)

    def put(self, pipeline: Pipeline, deliveries: Sequence[Delivery]) -> None:
        """Push a message for each job, one command for each queue."""
        for some, push in zip(apart(deliveries), (pipeline.lpush, pipeline.rpush), strict=True):
            messages: dict[str, list[bytes]] = {}
            for delivery in some:
                messages.setdefault(self.key(delivery.queue), []).append(message(delivery))
            for key, values in messages.items():
                push(key, *values)

    def job(self, message: bytes) -> str:
        """Return the only argument."""
        if len(message) > LONGEST_MESSAGE:
            raise RejectedMessage("it is too long")
        try:
            return job_of(base64.b64decode(_decode(message).body, validate=True))
        except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
            raise RejectedMessage(str(error)) from error


def job_of(body: bytes) -> str:
    """Return the only argument of a call; raises ValueError and msgspec's errors for what is none."""
    args, _, _ = _decode_body(body)
    return args[0]


def call(delivery: Delivery) -> tuple[dict[str, Any], bytes]:
    """Return the headers and the body of what Celery would send for a call of the job's task with the job's id.

    The message's own id is new each time: a message that somebody revokes is only one ring of the doorbell.
    """
    token = str(uuid.uuid4())
    body = _encode(
        ([delivery.job_id], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    )
    headers = {
        "lang": "py",
        "task": delivery.task,
        "id": token,
        "root_id": token,
        "parent_id": None,
        "group": None,
        "shadow": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": f"({delivery.job_id!r},)",
        "kwargsrepr": "{}",
        "origin": ORIGIN,
        "ignore_result": True,
    }
    return headers, body


def message(delivery: Delivery) -> bytes:
    """Return a `call` as kombu puts it into Redis."""
    headers, body = call(delivery)
    token = headers["id"]
    properties = {
        "correlation_id": token,
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": delivery.queue},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": token,
    }
    envelope = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    return _encode(envelope)
