"""What the engines on Redis have in common: a server that answers or is down, and queues that are read in batches.

An engine says with a `Layout` where its messages are and what they look like; they are ordinary messages of the
engine's own, which its own command line can take as well.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from faena.engines.reading import Reading, RejectedMessage
from faena.errors import EngineDown
from faena.ports.engine import Capabilities, Delivery, Hands, ServeOptions

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

SEND_TIMEOUT: Final = 0.8
"""Seconds for a connection, and again for an answer; `deliver` has two."""
CONNECTIONS: Final = 16
MESSAGES_A_PIPELINE: Final = 1_000
BELL: Final = "faena:bell:"
NAME: Final = re.compile(
    rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})-[0-9a-f]{8}"
).fullmatch
BLOCK: Final = 1
"""Seconds that an idle worker sleeps in Redis; it wakes at once when a message comes, or when it is stopped."""


def check_version(
    vendor: str, version: str, *, least: tuple[int, int], below: tuple[int, int], extra: str
) -> None:
    """Raise ImportError unless a library's version is one that its module was built for."""
    major, minor = (int(part) for part in version.split(".")[:2])
    if not least <= (major, minor) < below:
        wanted = f"{vendor} >= {least[0]}.{least[1]} and < {below[0]}.{below[1]}"
        raise ImportError(
            f"Faena's {extra.split(',')[0]} engine needs {wanted}, and found {version}: pip install 'faena[{extra}]'"
        )


def check_redis(extra: str) -> None:
    """Raise ImportError unless redis-py is one that every engine can live with; Celery's transport refuses older."""
    import redis

    check_version("redis", redis.__version__, least=(6, 1), below=(10, 0), extra=extra)


class Layout(Protocol):
    """Where an engine keeps its messages, and what they are."""

    take: str
    """Lua: takes up to ARGV[1] messages off KEYS in order; returns them (false: half a message)."""

    def key(self, queue: str) -> str:
        """Return the key of a queue."""
        ...

    def wait(self, redis: Redis, keys: Sequence[str], seconds: int) -> tuple[bytes, bytes] | None:
        """Take what comes first off the queues, as soon as there is something: the key and what was in front there;
        None: nothing came in time."""
        ...

    def fetch(self, redis: Redis, key: str, front: bytes) -> bytes | None:
        """Return the message whose front `wait` took off a queue, or what tells its job as well; None: half a
        message."""
        ...

    def forget(self, redis: Redis, key: str, front: bytes) -> None:
        """Drop what `fetch` left of a message. It is called when the job is on its way."""
        ...

    def wake(self, pipeline: Pipeline, key: str) -> None:
        """Put anything into the queue at ``key``."""
        ...

    def count(self, redis: Redis, key: str) -> int:
        """Count what waits in a queue."""
        ...

    def put(self, pipeline: Pipeline, deliveries: Sequence[Delivery]) -> None:
        """Write a message for each job: at the end of its queue, or in front of all that is there."""
        ...

    def job(self, message: bytes) -> str:
        """Return the id of the job that a message is for; raises `RejectedMessage`."""
        ...


def parts(deliveries: Sequence[Delivery]) -> list[Sequence[Delivery]]:
    """Return deliveries in parts for one round trip each. Of those for the head the last part comes first, as each goes
    in front of the one before."""
    size = MESSAGES_A_PIPELINE
    if len(deliveries) <= size:
        return [deliveries] if deliveries else []
    end = [delivery for delivery in deliveries if not delivery.first]
    ahead = [delivery for delivery in deliveries if delivery.first]
    return [
        *(end[start : start + size] for start in range(0, len(end), size)),
        *(ahead[start : start + size] for start in reversed(range(0, len(ahead), size))),
    ]


def apart(deliveries: Sequence[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """Return those for the end of their queues, and those for the head: the last of all first, as it is pushed."""
    if not any(delivery.first for delivery in deliveries):
        return [*deliveries], []
    ahead = [delivery for delivery in deliveries if delivery.first]
    return [delivery for delivery in deliveries if not delivery.first], ahead[::-1]


class AllInFront:
    """The part of a `Layout` whose queues hold whole messages."""

    def fetch(self, redis: Redis, key: str, front: bytes) -> bytes | None:
        """Return what is there."""
        return front

    def forget(self, redis: Redis, key: str, front: bytes) -> None:
        """Do nothing: nothing is left."""


class NameInFront:
    """The part of a `Layout` whose queues hold names of messages that lie elsewhere. A name made by `name_for` tells
    the job, so that a worker that has nothing to do can begin at once."""

    def fetch(self, redis: Redis, key: str, front: bytes) -> bytes | None:
        """Return the name if it tells the job, else take the message."""
        return front if named(front) else self.pop(redis, key, front)

    def forget(self, redis: Redis, key: str, front: bytes) -> None:
        """Take the message."""
        self.pop(redis, key, front)

    def pop(self, redis: Redis, key: str, name: bytes) -> bytes | None:
        """Take the message of that name off its place; None: it is not there."""
        raise NotImplementedError


def name_for(job_id: str) -> str:
    """Return a new name for a message: each delivery has one of its own."""
    return f"{job_id}-{secrets.token_hex(4)}"


def named(name: bytes) -> str | None:
    """Return the job's id if a name is one of `name_for`, and its job's id one of Faena's own making."""
    found = NAME(name)
    return found[1].decode() if found else None


def pop(redis: Redis, get: Sequence[str | bytes], drop: Sequence[str | bytes]) -> bytes | None:
    """Run two commands in one round trip; returns what the first found. Keys of another type hold no message."""
    with redis.pipeline() as pipeline:
        for command in (get, drop):
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        found, _ = pipeline.execute(raise_on_error=False)
    return found if isinstance(found, bytes) else None


class OnRedis:
    """The Engine port over a `Layout`. Thread-safe; connects at the first use."""

    name: str
    capabilities = Capabilities(
        delivers=True, queue_order=True, priority=False, separate_processes=True, head=True
    )

    def __init__(self, url: str, layout: Layout) -> None:
        self.url = url
        self._layout = layout
        self._redis = connect(url, timeout=SEND_TIMEOUT, connections=CONNECTIONS)

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Send one message for each job, many in one round trip."""
        for part in parts(deliveries):
            with _down(), self._redis.pipeline(transaction=True) as pipeline:
                self._layout.put(pipeline, part)
                pipeline.execute()

    def serve(self, hands: Hands, options: ServeOptions) -> Reading[bytes | None]:
        """Prepare to read the queues, with a connection of its own."""
        redis = connect(self.url, timeout=BLOCK + 4.0, connections=2)
        return Reading(Queues(redis, self._layout, options.queues), self._job, hands)

    def _job(self, message: bytes | None) -> str:
        if message is None:
            raise RejectedMessage("there is nothing in it")
        return self._layout.job(message)

    def depth(self, queue: str) -> int:
        """Count the messages that wait in a queue."""
        with _down():
            return self._layout.count(self._redis, self._layout.key(queue))

    def purge(self, queues: Sequence[str]) -> int:
        """Drop the messages that wait in queues."""
        waiting = Queues(self._redis, self._layout, tuple(dict.fromkeys(queues)))
        dropped = 0
        while taken := len(waiting.take(MESSAGES_A_PIPELINE)):
            dropped += taken
        return dropped

    def ping(self) -> None:
        """Ask the server."""
        with _down():
            self._redis.ping()

    def close(self) -> None:
        """Close every connection; what is served goes on."""
        self._redis.close()


class Queues:
    """Some queues in strict order, for one reader. Every method raises `EngineDown`."""

    server = "Redis"

    def __init__(self, redis: Redis, layout: Layout, queues: Sequence[str]) -> None:
        self._redis = redis
        self._layout = layout
        self._keys = [layout.key(queue) for queue in queues]
        self._take: Any = redis.register_script(layout.take)
        self._bell = f"{BELL}{uuid.uuid4().hex}"
        self._left: tuple[str, bytes] | None = None
        """Of the message that came last to who waited: its queue's key, and what was in front there."""

    def read(self, limit: int) -> list[bytes | None]:
        """Return up to ``limit`` messages, as soon as there are any; none after a while, or when woken."""
        self._forget()
        return self.take(limit) or self.wait()

    def settled(self) -> None:
        """Drop what is left of the message that `read` returned. Never raises: else the next `read` does it."""
        with suppress(EngineDown):
            self._forget()

    def take(self, limit: int) -> list[bytes | None]:
        """Return up to ``limit`` messages at once, perhaps none. None: half a message."""
        with _down():
            taken: list[bytes | None] = self._take(keys=self._keys, args=[limit])
            return taken

    def wait(self) -> list[bytes | None]:
        """Sleep until there is a message, and return it as soon as its job is known: the worker that has nothing to
        do is not kept waiting for the rest. None after a while, or when woken."""
        with _down():
            found = self._layout.wait(self._redis, [*self._keys, self._bell], BLOCK)
            if found is None or found[0] == self._bell.encode():
                return []
            self._left = (found[0].decode(), found[1])
            return [self._layout.fetch(self._redis, *self._left)]

    def wake(self) -> None:
        """Make `wait` return, now or when it is called next. Any thread; never raises."""
        with suppress(EngineDown), _down(), self._redis.pipeline() as pipeline:
            self._layout.wake(pipeline, self._bell)
            pipeline.expire(self._bell, 2 * BLOCK)
            pipeline.execute()

    def close(self) -> None:
        """Let go of the connections."""
        self.settled()
        self._redis.close()

    def _forget(self) -> None:
        if self._left is not None:
            with _down():
                self._layout.forget(self._redis, *self._left)
            self._left = None


def connect(url: str, *, timeout: float, connections: int) -> Redis:
    """Return a client that gives up at once, for many threads; it connects at the first command."""
    from redis import BlockingConnectionPool, Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    more = {} if url.startswith("unix") else {"socket_keepalive": True}
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout,
        socket_connect_timeout=min(timeout, 2.0),
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        **more,
    )
    return Redis(connection_pool=pool)


@contextmanager
def _down() -> Iterator[None]:
    """Turn what redis-py raises into `EngineDown`."""
    from redis import RedisError, ResponseError

    try:
        yield
    except ResponseError as error:
        raise EngineDown(f"Redis refuses: {error}") from error
    except (RedisError, OSError) as error:
        raise EngineDown(f"Redis does not answer: {error}") from error
