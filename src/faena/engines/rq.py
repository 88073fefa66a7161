"""RQ: jobs travel as RQ's own (a list of ids for each queue, a hash for each id), as JSON and never as a pickle.

A worker of Faena reads them straight, many in one visit; RQ's own command line reads the same ones through
`faena.engines.rq_app`. See ``docs/guides/rq.md``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec
import rq as vendor

from faena.engines import onredis
from faena.engines.onredis import NameInFront, OnRedis, apart, name_for, named, pop
from faena.engines.reading import RejectedMessage
from faena.ports.engine import Delivery

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

FUNCTION: Final = "faena.engines.rq_app.run"
"""The one function that a job may name."""
PREFIX: Final = "faena:"
"""In front of a queue's name: RQ's keys have no prefix, and an RQ of the user's own has a queue ``default``, too."""
QUEUES: Final = "rq:queues"
QUEUE: Final = "rq:queue:"
JOB: Final = "rq:job:"
KEPT_FOR: Final = 30 * 86_400
"""Seconds after which a message that nobody took expires; its job is delivered again."""
LONGEST_MESSAGE: Final = 4096

TAKE: Final = """
local names = {}
for _, key in ipairs(KEYS) do
  while #names < tonumber(ARGV[1]) do
    local name = redis.call('LPOP', key)
    if not name then break end
    names[#names + 1] = name
  end
end
local taken = {}
for i, name in ipairs(names) do
  local data = redis.pcall('HGET', 'rq:job:' .. name, 'data')
  taken[i] = type(data) == 'string' and data
  redis.call('DEL', 'rq:job:' .. name)
end
return taken
"""


def check_version(version: str) -> None:
    """Raise ImportError unless ``version`` is an RQ that this module was built for."""
    onredis.check_version("rq", version, least=(2, 6), below=(4, 0), extra="rq")


check_version(vendor.__version__)
onredis.check_redis("rq")


class Call(NamedTuple):
    """A job's data as RQ writes it."""

    function: Literal["faena.engines.rq_app.run"]
    instance: None
    args: tuple[str, str]
    """The job's id and its task."""
    kwargs: dict[str, Any]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Call).decode


class RQEngine(OnRedis):
    """Delivers to the Redis at ``url`` as RQ does, several hundred messages in one round trip."""

    name = "rq"

    def __init__(self, url: str) -> None:
        super().__init__(url, RQLayout())


class RQLayout(NameInFront):
    """RQ's keys: producers push ids at the right of a list, workers pop at its left."""

    take = TAKE

    def key(self, queue: str) -> str:
        """Return the list of a queue."""
        return QUEUE + PREFIX + queue

    def wait(self, redis: Redis, keys: Sequence[str], seconds: int) -> tuple[bytes, bytes] | None:
        """Pop the oldest id of the first list that has one."""
        found: Any = redis.blpop(list(keys), timeout=seconds)
        return None if found is None else (found[0], found[1])

    def pop(self, redis: Redis, key: str, name: bytes) -> bytes | None:
        """Take a hash, and return the data of it."""
        return pop(redis, ("HGET", JOB.encode() + name, "data"), ("DEL", JOB.encode() + name))

    def wake(self, pipeline: Pipeline, key: str) -> None:
        """Put an empty message there."""
        pipeline.rpush(key, b"")

    def count(self, redis: Redis, key: str) -> int:
        """Count a list's ids."""
        length: Any = redis.llen(key)
        return int(length)

    def put(self, pipeline: Pipeline, deliveries: Sequence[Delivery]) -> None:
        """Write a hash for each job, and its id into the queue."""
        now = _timestamp()
        for some, push in zip(apart(deliveries), (pipeline.rpush, pipeline.lpush), strict=True):
            ids: dict[str, list[str]] = {}
            for delivery in some:
                # Not the job's id alone: a message that somebody cancels is only one ring of the doorbell.
                token = name_for(delivery.job_id)
                pipeline.hset(JOB + token, mapping=_fields(delivery, now))
                pipeline.expire(JOB + token, KEPT_FOR)
                ids.setdefault(self.key(delivery.queue), []).append(token)
            for key, tokens in ids.items():
                push(key, *tokens)
        pipeline.sadd(QUEUES, *{self.key(delivery.queue) for delivery in deliveries})

    def job(self, message: bytes) -> str:
        """Return what the name tells, or the first argument of a call of the one function."""
        return named(message) or call(message)[0]


def call(message: bytes) -> tuple[str, str]:
    """Return the id and the task of the job that a message is for; raises `RejectedMessage`."""
    if len(message) > LONGEST_MESSAGE:
        raise RejectedMessage("it is too long")
    try:
        return _decode(message).args
    except msgspec.MsgspecError as error:
        raise RejectedMessage(str(error)) from error


def _fields(delivery: Delivery, now: str) -> dict[Any, Any]:
    data = _encode((FUNCTION, None, (delivery.job_id, delivery.task), {}))
    return {
        "created_at": now,
        "enqueued_at": now,
        "data": data,  # RQ compresses it, and takes it as it is, too
        "origin": PREFIX + delivery.queue,
        "description": f"{delivery.task}({delivery.job_id})",
        "status": "queued",
        "timeout": -1,
        "result_ttl": 0,
        "failure_ttl": 60,
    }


def _timestamp() -> str:
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1e6):06}Z"
