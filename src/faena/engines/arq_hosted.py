"""ARQ's own command line as the host of a Faena worker: it serves several queues in strict order, and loses no job."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec
from arq.connections import ArqRedis
from arq.worker import func
from redis import RedisError
from redis.asyncio import ConnectionPool

from faena.engines.arq import QUEUE, decode
from faena.engines.reading import RejectedMessage

log = logging.getLogger(__name__)

MOVE: Final = """
local own = KEYS[1]
for i = 2, #KEYS do
  local left = tonumber(ARGV[1]) - redis.call('ZCARD', own)
  if left <= 0 then break end
  local popped = redis.call('ZPOPMIN', KEYS[i], left)
  for j = 1, #popped, 2 do redis.call('ZADD', own, ARGV[2], popped[j]) end
end
return redis.call('EXPIRE', own, 86400)
"""
"""Moves as many messages as there are free slots to a worker's own queue: what runs stays there until it ends."""
LONGEST_JOB: Final = 30 * 86_400
"""Seconds. Faena's own timeouts come long before."""
PAUSE: Final = 1.0
"""Seconds between two looks at a Redis that is down."""
REJECTED: Final = "(rejected)"
"""The name of no task: ARQ drops what is called that."""
LAST_WORDS: Final = 0.2
"""Seconds between two looks whether ARQ has cleared up after the last jobs, and between two tries to end it."""
LAST_LOOKS: Final = 25
"""So many looks, and it is ended all the same."""


class HostedWorker(Protocol):
    """The Faena worker beside ARQ's loop: it runs what the loop hands it."""

    @property
    def queues(self) -> Sequence[str]:
        """In order of precedence."""
        ...

    def run(self, job_id: str) -> None:
        """Run a job to the end of one attempt."""
        ...

    def start(self, *, threads: int, grace: float | None, on_end: Callable[[], None]) -> None:
        """Start, and return when it can run jobs. ``on_end`` is called when it has ended, for whatever reason."""
        ...

    def stop(self, *, now: bool = False) -> None:
        """Finish or hand back the jobs under way. Returns at once."""
        ...

    def wait(self) -> bool:
        """Wait for its end; True: it ended because it was stopped."""
        ...


def hosted_settings(url: str, worker: HostedWorker, tasks: Iterable[str], *, threads: int) -> dict[str, Any]:
    """Make the settings of an ARQ worker that serves a Faena worker's queues: every task by its own name, and no
    retries, results, delays or timeouts of ARQ's."""
    own = f"{QUEUE}:worker:{uuid.uuid4().hex}"
    lanes = Lanes(url, own, [QUEUE + queue for queue in worker.queues], threads)
    beside = Beside(worker, lanes, threads)
    return {
        "functions": [func(beside.run, name=task) for task in tasks],
        "queue_name": own,
        "redis_pool": lanes,
        "on_startup": beside.start,
        "on_shutdown": beside.end,
        "handle_signals": False,
        "max_jobs": threads,
        "max_tries": 1_000_000,
        "job_timeout": LONGEST_JOB,
        "keep_result": 0,
        "poll_delay": 0.02,
        "job_serializer": _dump,
        "job_deserializer": _load,
    }


class Lanes(ArqRedis):  # type: ignore[misc]
    """ARQ's connection. When ARQ looks into the worker's own queue, messages of Faena's queues are moved there."""

    def __init__(self, url: str, own: str, queues: Sequence[str], slots: int) -> None:
        super().__init__(ConnectionPool.from_url(url), job_serializer=_dump, job_deserializer=_load)
        self._own = own
        self._queues = tuple(queues)
        self._slots = slots
        self.halted = False

    async def zrangebyscore(self, name: str, *arguments: Any, **options: Any) -> Any:
        """As Redis does; for the worker's own queue, after a look into the others."""
        try:
            if name == self._own and not self.halted:
                keys = (self._own, *self._queues)
                await self.eval(MOVE, len(keys), *keys, self._slots, int(time.time() * 1000))
            return await super().zrangebyscore(name, *arguments, **options)
        except (RedisError, OSError) as error:  # ARQ would end
            log.warning("Redis can't be read; trying again: %s", error)
            await asyncio.sleep(PAUSE)
            return []

    async def delete(self, *names: Any) -> Any:
        """As Redis does; ARQ calls it when it ends, and Redis may be why."""
        with suppress(RedisError, OSError):
            return await super().delete(*names)


class Beside:
    """The Faena worker beside ARQ's loop. A second signal hands back at once what it runs."""

    def __init__(self, worker: HostedWorker, lanes: Lanes, threads: int) -> None:
        self._worker = worker
        self._lanes = lanes
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="faena-arq")
        self._stopping = self._failed = False

    async def run(self, _: dict[str, Any], job_id: str, *, by: str) -> None:
        """Run a job to the end of one attempt: what every task's name stands for."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._worker.run, job_id)

    async def start(self, _: dict[str, Any]) -> None:
        """Start the worker, and listen to signals."""
        loop, main = asyncio.get_running_loop(), asyncio.current_task()
        assert main is not None

        def ended() -> None:
            self._failed = not self._stopping
            loop.call_soon_threadsafe(loop.call_later, LAST_WORDS, cancel)

        looks = iter(range(LAST_LOOKS))

        def cancel() -> None:
            if main.done():
                return
            if not _clearing_up(loop) or next(looks, None) is None:
                main.cancel()  # what it waits for may swallow this: then again
            loop.call_later(LAST_WORDS, cancel)

        main.add_done_callback(self._main_ended)
        await asyncio.to_thread(self._worker.start, threads=self._threads, grace=None, on_end=ended)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)

    async def end(self, _: dict[str, Any]) -> None:
        """End with status 1 when the worker ended by itself. When ARQ's loop broke, what it raised says why."""
        self._stopping = True
        self._worker.stop()
        await asyncio.to_thread(self._worker.wait)
        self._pool.shutdown(wait=False)
        if self._failed:
            raise SystemExit(1)

    def _main_ended(self, _: object) -> None:
        """ARQ's loop broke, or was ended in good order: then nothing is left to wait for. Holds up what ARQ does next:
        jobs must have ended before the process does."""
        self._stopping = True
        self._worker.stop()
        self._worker.wait()

    def _signalled(self) -> None:
        again = self._stopping
        self._stopping = self._lanes.halted = True
        self._worker.stop(now=again)


def _clearing_up(loop: asyncio.AbstractEventLoop) -> bool:
    """ARQ still writes what became of a job. When it is ended meanwhile, its process ends with a traceback and status
    1."""
    coroutines = (task.get_coro() for task in asyncio.all_tasks(loop))
    return any(getattr(coroutine, "__name__", None) == "run_job" for coroutine in coroutines)


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, default=repr).encode()


def _load(data: bytes) -> dict[str, Any]:
    try:
        return dict(msgspec.to_builtins(decode(data)))
    except RejectedMessage as error:
        log.warning("a message was rejected, it does not come from Faena: %s: %.80r", error, data)
        return {"f": REJECTED, "a": (), "k": {}, "t": None, "et": 0}
