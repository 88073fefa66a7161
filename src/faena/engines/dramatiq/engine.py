"""The Engine port on dramatiq: ordinary messages of its own in its own Redis layout, read in batches.

In dramatiq's logs and monitors a message appears as a call of the task by its real name, with the job's id:
``thumbnail('0190…')``. It is taken off for good when it is read, since the store is the truth: of dramatiq's
acknowledgements, heartbeats and maintenance nothing is needed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import dramatiq as vendor
import msgspec

from faena.engines import onredis
from faena.engines.onredis import NameInFront, OnRedis, apart, check_redis, name_for, named, pop
from faena.engines.reading import RejectedMessage
from faena.job import Record
from faena.ports.engine import Delivery

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

LONGEST_MESSAGE: Final = 4096


def check_version(version: str) -> None:
    """Raise ImportError unless ``version`` is a dramatiq that this module was built for."""
    onredis.check_version("dramatiq", version, least=(2, 0), below=(3, 0), extra="dramatiq")


check_version(vendor.__version__)
check_redis("dramatiq")


class Options(Record, frozen=True):
    """A message's options: its id in Redis, and the one function that may be asked for."""

    redis_message_id: str
    fn: Literal["faena.run"]


class Message(Record, frozen=True):
    """A dramatiq message that Faena sent, as JSON."""

    queue_name: str
    actor_name: str
    """The task."""
    args: tuple[str]
    """The job's id."""
    kwargs: Annotated[dict[str, str], msgspec.Meta(max_length=0)]
    options: Options
    message_id: str
    message_timestamp: int


as_json = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


class DramatiqLayout(NameInFront):
    """The keys of dramatiq's broker: a list of ids for each queue, and a hash with the messages beside it."""

    take = """
        local taken, limit = {}, tonumber(ARGV[1])
        for _, key in ipairs(KEYS) do
            while #taken < limit do
                local id = redis.call('lpop', key)
                if not id then break end
                taken[#taken + 1] = redis.call('hget', key .. '.msgs', id)
                redis.call('hdel', key .. '.msgs', id)
            end
        end
        return taken
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def key(self, queue: str) -> str:
        """Return the key of a queue's list."""
        return f"{self._namespace}:{queue}"

    def wait(self, redis: Redis, keys: Sequence[str], seconds: int) -> tuple[bytes, bytes] | None:
        """Take the id that comes first off the lists."""
        found: Any = redis.blpop(list(keys), timeout=seconds)
        return None if not found else (found[0], found[1])

    def pop(self, redis: Redis, key: str, name: bytes) -> bytes | None:
        """Take a message out of the hash."""
        return pop(redis, ("HGET", f"{key}.msgs", name), ("HDEL", f"{key}.msgs", name))

    def wake(self, pipeline: Pipeline, key: str) -> None:
        """Append an id of nothing."""
        pipeline.rpush(key, "wake")

    def count(self, redis: Redis, key: str) -> int:
        """Count the ids in a list."""
        waiting: Any = redis.llen(key)
        return int(waiting)

    def put(self, pipeline: Pipeline, deliveries: Sequence[Delivery]) -> None:
        """Push messages; those for a queue together."""
        now = int(time.time() * 1000)
        for some, push in zip(apart(deliveries), (pipeline.rpush, pipeline.lpush), strict=True):
            messages: dict[str, dict[Any, Any]] = {}
            for delivery in some:
                token = name_for(delivery.job_id)
                by_id = messages.setdefault(self.key(delivery.queue), {})
                by_id[token] = as_json(compose(delivery, token, now))
            for key, by_id in messages.items():
                pipeline.hset(f"{key}.msgs", mapping=by_id)
                push(key, *by_id)

    def job(self, message: bytes) -> str:
        """Return what the name tells, or the only argument."""
        return named(message) or read(message).args[0]


class WholeMessages(DramatiqLayout):
    """Brings whole messages in the place of ids."""

    def fetch(self, redis: Redis, key: str, front: bytes) -> bytes | None:
        """Take the message, whatever its name tells."""
        return self.pop(redis, key, front)

    def forget(self, redis: Redis, key: str, front: bytes) -> None:
        """Do nothing: nothing is left."""

    def job(self, message: bytes) -> str:
        """Return the message itself, if it is one of Faena's."""
        read(message)
        return message.decode()


class DramatiqEngine(OnRedis):
    """Delivers through Redis at ``url``, under the keys of a dramatiq broker with that namespace. Thread-safe."""

    name = "dramatiq"

    def __init__(self, url: str, *, namespace: str = "faena-dramatiq", whole: bool = False) -> None:
        super().__init__(url, (WholeMessages if whole else DramatiqLayout)(namespace))
        self.namespace = namespace

    def whole(self) -> DramatiqEngine:
        """Make one that serves whole messages in the place of ids."""
        return DramatiqEngine(self.url, namespace=self.namespace, whole=True)


def read(data: bytes) -> Message:
    """Return a message of Faena's; raises `RejectedMessage` for any other."""
    if len(data) > LONGEST_MESSAGE:
        raise RejectedMessage("it is too long")
    try:
        return _decode(data)
    except msgspec.MsgspecError as error:
        raise RejectedMessage(str(error)) from error


def compose(delivery: Delivery, token: str, now: int) -> Message:
    """Return a job's message, as of ``now`` in milliseconds; ``token`` is its own id."""
    return Message(
        queue_name=delivery.queue,
        actor_name=delivery.task,
        args=(delivery.job_id,),
        kwargs={},
        options=Options(redis_message_id=token, fn="faena.run"),
        message_id=token,
        message_timestamp=now,
    )
