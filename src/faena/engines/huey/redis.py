"""The Engine port on huey over Redis: the sorted set of huey's own priority storage, one for each queue."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from huey.storage import BlackHoleStorage

from faena.engines.hosting import Desk
from faena.engines.huey.engine import Message, encode, read
from faena.engines.onredis import AllInFront, OnRedis, check_redis
from faena.ports.engine import Capabilities, Delivery, ServeOptions, Serving

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

STAMP: Final = struct.Struct(">Q")
"""In front of each message: the microsecond in which it was sent, so that the first comes first and none is alike;
less for those that go to the head."""
MIRROR: Final = 2 * 1_700_000_000_000_000
"""The microsecond of which the present is taken off for those: before all others, and the latest before the one before
it. In the past since 2023."""

check_redis("huey,redis")


class HueyLayout(AllInFront):
    """A sorted set for each queue: the score is the priority, less is first."""

    take = """
        local taken, limit = {}, tonumber(ARGV[1])
        for _, key in ipairs(KEYS) do
            if #taken >= limit then break end
            local popped = redis.call('zpopmin', key, limit - #taken)
            for i = 1, #popped, 2 do taken[#taken + 1] = popped[i] end
        end
        return taken
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._last = 0
        self._stamping = threading.Lock()

    def key(self, queue: str) -> str:
        """Return the key of a queue's set: that of a huey called ``namespace.queue``."""
        return f"huey.redis.{self._namespace}.{queue}"

    def wait(self, redis: Redis, keys: Sequence[str], seconds: int) -> tuple[bytes, bytes] | None:
        """Take the message that comes first off the sets."""
        found: Any = redis.bzpopmin(list(keys), timeout=seconds)
        return None if not found else (found[0], found[1])

    def wake(self, pipeline: Pipeline, key: str) -> None:
        """Add a member that means nothing."""
        pipeline.zadd(key, {"wake": 0})

    def count(self, redis: Redis, key: str) -> int:
        """Count the messages in a set."""
        waiting: Any = redis.zcard(key)
        return int(waiting)

    def put(self, pipeline: Pipeline, deliveries: Sequence[Delivery]) -> None:
        """Append messages; those for a queue together."""
        first = self._stamps(len(deliveries))
        ahead = MIRROR - first - len(deliveries)
        scores: dict[str, dict[bytes, float]] = {}
        for place, delivery in enumerate(deliveries):
            stamp = STAMP.pack((ahead if delivery.first else first) + place)
            message = encode(Message(job=delivery.job_id, task=delivery.task))
            scores.setdefault(self.key(delivery.queue), {})[stamp + message] = -delivery.priority
        for key, by_message in scores.items():
            pipeline.zadd(key, by_message)

    def job(self, message: bytes) -> str:
        """Return the job's id."""
        return read(message[STAMP.size :]).job

    def _stamps(self, count: int) -> int:
        """Return the first of so many stamps that are later than all before."""
        with self._stamping:
            first = max(self._last + 1, time.time_ns() // 1000)
            self._last = first + count - 1
            return first


class HueyRedisEngine(OnRedis):
    """Delivers through Redis at ``url``. Thread-safe."""

    name = "huey"
    capabilities = Capabilities(
        delivers=True, queue_order=True, priority=True, separate_processes=True, head=True
    )

    def __init__(self, url: str, *, namespace: str = "faena") -> None:
        super().__init__(url, HueyLayout(namespace))
        self.namespace = namespace

    def intake(self, queues: Sequence[str]) -> RedisIntake:
        """Make what hands the messages of ``queues``, in that order, to a `Huey`; it has a connection of its own."""
        return RedisIntake(self, queues)


class WholeMessages(HueyLayout):
    """Brings whole messages in the place of ids."""

    def job(self, message: bytes) -> str:
        """Return the message itself, if it is one of Faena's."""
        super().job(message)
        return message[STAMP.size :].decode()


class MessageEngine(HueyRedisEngine):
    """A `HueyRedisEngine` that serves whole messages."""

    def __init__(self, url: str, *, namespace: str) -> None:
        super().__init__(url, namespace=namespace)
        self._layout = WholeMessages(namespace)


class RedisIntake(BlackHoleStorage):  # type: ignore[misc]
    """What huey sees as its storage: it hands a message to each of huey's threads that is idle, in strict order."""

    blocking = True

    def __init__(self, engine: HueyRedisEngine, queues: Sequence[str]) -> None:
        super().__init__("faena")
        self._engine = engine
        self._queues = tuple(queues)
        self._desk = Desk()
        reader = MessageEngine(engine.url, namespace=engine.namespace)
        self._serving: Serving = reader.serve(self._desk, ServeOptions(queues=self._queues, threads=1))
        self._reading = threading.Thread(target=self._serving.run, name="faena-reader", daemon=True)
        self._starting = threading.Lock()

    def dequeue(self) -> bytes | None:
        """Return the next message, as soon as there is one; None once closed."""
        with self._starting:
            if self._reading.ident is None:
                self._reading.start()
        message = self._desk.next(None)
        return None if message is None else message.encode()

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        """Append a message to the first queue (huey's own way in; Faena's is `HueyRedisEngine.deliver`)."""
        message = read(data)
        delivery = Delivery(
            job_id=message.job, task=message.task, queue=self._queues[0], priority=int(priority or 0)
        )
        self._engine.deliver([delivery])

    def queue_size(self) -> int:
        """Return how many messages wait in the queues that are served."""
        return sum(self._engine.depth(queue) for queue in self._queues)

    def flush_queue(self) -> None:
        """Drop all waiting messages."""
        self._engine.purge(self._queues)

    def peek_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Nothing is ever revoked here: cancelling a job is the store's business."""
        return {}

    def halt(self) -> None:
        """Let go of the threads that wait for a message; from now on there is none. Any thread, returns at once."""
        self._serving.stop()
        self._desk.close()

    def close(self) -> None:
        """Halt, and let go of Redis. Safe to repeat."""
        self.halt()
        if self._reading.ident is not None:
            self._reading.join()
        self._engine.close()
