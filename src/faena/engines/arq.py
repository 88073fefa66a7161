"""ARQ: jobs travel as ARQ's own (a sorted set of ids for each queue, a key for each id), as JSON and never as a pickle.

A worker of Faena reads them straight, many in one visit; ARQ's own command line reads the same ones through
`faena.engines.arq_app`. See ``docs/guides/arq.md``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from faena.engines import onredis
from faena.engines.onredis import NameInFront, OnRedis, name_for, named, pop
from faena.engines.reading import RejectedMessage
from faena.job import Record
from faena.ports.engine import Delivery

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

QUEUE: Final = "faena:arq:"
"""In front of a queue's key: it meets no other ARQ on the same server."""
JOB: Final = "arq:job:"
KEPT_FOR: Final = 30 * 86_400_000
"""Milliseconds after which a message that nobody took expires; its job is delivered again."""
LONGEST_MESSAGE: Final = 4096
MIRROR: Final = 2 * 1_700_000_000_000
"""The moment of which the present is taken off for a message that goes first: before all others, and the latest before
the one before it. In milliseconds; in the past since 2023."""

TAKE: Final = """
local names = {}
for _, key in ipairs(KEYS) do
  local left = tonumber(ARGV[1]) - #names
  if left <= 0 then break end
  local popped = redis.call('ZPOPMIN', key, left)
  for i = 1, #popped, 2 do names[#names + 1] = popped[i] end
end
local taken = {}
for i, name in ipairs(names) do
  local message = redis.pcall('GET', 'arq:job:' .. name)
  taken[i] = type(message) == 'string' and message
  redis.call('DEL', 'arq:job:' .. name)
end
return taken
"""


def check_version(version: str) -> None:
    """Raise ImportError unless ``version`` is an ARQ that this module was built for."""
    onredis.check_version("arq", version, least=(0, 28), below=(0, 29), extra="arq")


check_version(
    installed_version("arq")
)  # importing it takes half a second, and only its command line needs that


class Mark(Record, frozen=True, forbid_unknown_fields=True):
    """The keyword arguments of every call."""

    by: Literal["faena"]


class Message(Record, frozen=True):
    """A job's call as ARQ writes it."""

    function: str = msgspec.field(name="f")
    """The name of the job's task."""
    args: tuple[str] = msgspec.field(name="a")
    """The job's id."""
    kwargs: Mark = msgspec.field(name="k")
    enqueued_at: int = msgspec.field(name="et")
    """In milliseconds."""
    tries: int | None = msgspec.field(name="t", default=None)


MARK: Final = Mark(by="faena")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


class ARQEngine(OnRedis):
    """Delivers to the Redis at ``url`` as ARQ does, several hundred messages in one round trip."""

    name = "arq"

    def __init__(self, url: str) -> None:
        super().__init__(url, ARQLayout())


class ARQLayout(NameInFront):
    """ARQ's keys: the lowest score goes first, and of the same score the lowest name."""

    take = TAKE

    def key(self, queue: str) -> str:
        """Return the sorted set of a queue."""
        return QUEUE + queue

    def wait(self, redis: Redis, keys: Sequence[str], seconds: int) -> tuple[bytes, bytes] | None:
        """Pop the first id of the first set that has one. None of Faena's is for later."""
        found: Any = redis.bzpopmin(list(keys), timeout=seconds)
        return None if found is None else (found[0], found[1])

    def pop(self, redis: Redis, key: str, name: bytes) -> bytes | None:
        """Take a message off its key."""
        return pop(redis, ("GET", JOB.encode() + name), ("DEL", JOB.encode() + name))

    def wake(self, pipeline: Pipeline, key: str) -> None:
        """Put an empty message there."""
        pipeline.zadd(key, {b"": 0})

    def count(self, redis: Redis, key: str) -> int:
        """Count a set's ids."""
        length: Any = redis.zcard(key)
        return int(length)

    def put(self, pipeline: Pipeline, deliveries: Sequence[Delivery]) -> None:
        """Write a key for each job, and its id into the queue."""
        ids: dict[str, dict[str, float]] = {}
        now = int(time.time() * 1000)
        for place, delivery in enumerate(deliveries):
            token = name_for(delivery.job_id)  # ARQ drops an id that it has seen: not the job's alone
            pipeline.psetex(JOB + token, KEPT_FOR, encode(delivery, now))
            ids.setdefault(self.key(delivery.queue), {})[token] = (
                MIRROR - now if delivery.first else now
            ) + place / 1000
        for key, scores in ids.items():
            pipeline.zadd(key, scores)

    def job(self, message: bytes) -> str:
        """Return what the name tells, or the only argument."""
        return named(message) or decode(message).args[0]


def encode(delivery: Delivery, now: int) -> bytes:
    """Return the message for a job."""
    return _encode(Message(function=delivery.task, args=(delivery.job_id,), kwargs=MARK, enqueued_at=now))


def decode(message: bytes) -> Message:
    """Read a message; raises `RejectedMessage`."""
    if len(message) > LONGEST_MESSAGE:
        raise RejectedMessage("it is too long")
    try:
        return _decode(message)
    except msgspec.MsgspecError as error:
        raise RejectedMessage(str(error)) from error
