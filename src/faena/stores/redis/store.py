"""The store on Redis: one Lua script a verb, all calls that wait together in one round trip.

`docs/concepts/redis-store.md` tells how it is laid out; lua/prelude.lua is where jobs are moved and written.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from faena.errors import IllegalStep, StoreDown
from faena.events import Published
from faena.job import OUTCOMES, Job, NewJob, Outcome, Status, same_arguments
from faena.ports.engine import Delivery
from faena.ports.store import (
    CancelResult,
    Claim,
    Count,
    Held,
    Inserted,
    Lease,
    Page,
    Promoted,
    Query,
    Report,
    StoreHealth,
    StoreOptions,
    Story,
    WorkerInfo,
)
from faena.stores.redis import asking, health, scripts
from faena.stores.redis.bell import FEED, Bell, work_of
from faena.stores.redis.line import Line
from faena.stores.redis.rows import (
    STATUSES,
    Body,
    asked_of,
    decode_counts,
    decode_events,
    decode_jobs,
    decode_workers,
    deliveries_of,
    encode_json,
    event_of,
    job_of,
    jobs_of,
    new_job,
    pack,
    told_of,
)

SCHEMA_VERSION: Final = 1
CONNECT_PATIENCE: Final = 2.0
"""Seconds to wait for a connection."""
ANSWER_PATIENCE: Final = 5.0
"""Seconds to wait for an answer."""
LOG_ENTRIES: Final = 50
"""Entries of the event log (each of one call) that one reading takes at most."""
LOG_BYTES: Final = 500_000
"""Bytes after which a reading takes no further entry, so that decoding them does not hold up the loop."""
LOOKED_AT: Final = 2000
"""Jobs that one script looks at for a search: others' calls run between two of them."""

_HELD: Final = {
    "s": Held(held=False),
    "h": Held(held=True),
    "c": Held(held=True, cancel_requested=True),
}
_CANCELLED: Final = {result.value[0]: result for result in CancelResult}

log = logging.getLogger(__name__)


class RedisStore:
    """The `Store` port on a Redis of version 6.2 or later."""

    name = "redis"

    def __init__(
        self,
        url: str,
        *,
        options: StoreOptions | None = None,
        clock: Callable[[], float] | None = None,
        prefix: str = "faena",
    ) -> None:
        """``url`` is ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user, password and database. ``clock``
        (seconds since the epoch, in place of the server's) is for tests. Raises ValueError for a URL that is none."""
        self._options = options or StoreOptions()
        self._clock = clock
        self._root = f"{prefix}:{{faena}}:"
        self._keys = tuple(self._root + name for name in scripts.FIXED)
        self._location = _without_password(url)
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=ANSWER_PATIENCE,
            socket_connect_timeout=CONNECT_PATIENCE,
            retry=Retry(NoBackoff(), 0),
        )
        self._scripts: Mapping[str, scripts.Script] = {}
        self._line: Line | None = None
        self._bell: Bell | None = None
        self._epoch: bytes | None = None
        self._max_events = str(self._options.max_events)
        self._ttls = (repr(self._options.result_ttl), repr(self._options.failure_ttl))

    async def open(self) -> None:
        """Connect and check the server. Raises `StoreDown` with what to do."""
        self._scripts = scripts.load()
        self._line = Line(
            self._connection, scripts=[*self._scripts.values()], where=f"Redis at {self._location}"
        )
        self._bell = Bell(self._connection, root=self._root)
        try:
            info = await self._info()
            health.require_version(info)
            await self._check_epoch()
        except BaseException:
            await self.close()
            raise
        for warning in health.warnings(info):
            health.warn_once(self._location, warning)

    def _connection(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    async def close(self) -> None:
        """Finish what is under way and hang up. Safe to repeat."""
        bell, self._bell = self._bell, None
        line, self._line = self._line, None
        if bell is not None:
            await bell.close()
        if line is not None:
            await line.close()

    async def _check_epoch(self) -> int:
        """Note the epoch of the data; returns the number of refused writes. Raises `StoreDown` for newer data."""
        schema, epoch, refused = await self._run("open")
        if int(schema) > SCHEMA_VERSION:
            raise StoreDown(f"the data was made by a newer Faena (version {int(schema)}): upgrade this one")
        self._note_epoch(epoch)
        return int(refused or 0)

    def _note_epoch(self, epoch: bytes) -> None:
        if self._epoch not in (None, epoch):
            log.warning("%s was emptied: the jobs that it held are gone", self._location)
        self._epoch = epoch

    async def _run(self, verb: str, *arguments: Any, again: bool = True) -> Any:
        if self._line is None:
            raise StoreDown("the store is not open: await store.open() first")
        script = self._scripts[verb]
        now = "" if self._clock is None else repr(self._clock())
        keys = self._keys
        return await self._line(
            *("EVALSHA", script.sha, len(keys), *keys, self._root, now, self._max_events, *arguments),
            again=again,
        )

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        if not jobs:
            return []
        bodies = [pack(Body(timeout=new.timeout, args=new.args)) for new in jobs]
        told, kinds, blob = await self._run("insert", pack([asked_of(new) for new in jobs]), *bodies)
        now, others = float(told), iter(jobs_of(blob))
        answers = []
        for new, kind in zip(jobs, kinds, strict=True):
            job = new_job(new, now=now) if kind == 1 else next(others)
            same = kind == 2 and same_arguments(job.args, new.args)
            answers.append(Inserted(job=job, duplicate=same, conflict=kind == 2 and not same))
        return answers

    async def claim(self, ids: Sequence[str], *, worker: str, lease: float, request: str) -> list[Claim]:
        blob = await self._run("claim", worker, repr(lease), request, pack(ids))
        return [Claim(job=job) for job in jobs_of(blob)]

    async def claim_next(
        self, queues: Sequence[str], *, worker: str, lease: float, limit: int, request: str
    ) -> list[Claim]:
        blob = await self._run("claim_next", worker, repr(lease), request, limit, pack(queues))
        return [Claim(job=job) for job in jobs_of(blob)]

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Held]:
        asked = pack([(one.job_id, one.token) for one in leases])
        return _held(await self._run("extend", repr(lease), asked))

    async def report(self, reports: Sequence[Report]) -> list[Held]:
        return _held(await self._run("report", *asking.reports(reports)))

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bool]:
        for outcome in outcomes:
            if outcome.step not in OUTCOMES:
                raise IllegalStep(status=Status.PROCESSING, step=outcome.step)
        answers = await self._run("finish", *self._ttls, *asking.outcomes(outcomes))
        return [answer == ord("1") for answer in answers]

    async def promote(self, *, limit: int) -> Promoted:
        blob, wait = await self._run("promote", limit, again=False)
        return Promoted(deliveries=tuple(deliveries_of(blob)), next_in=float(wait) if wait else None)

    async def rescue(self, *, limit: int) -> list[Delivery]:
        blob = await self._run("rescue", limit, self._options.max_crashes, *self._ttls, again=False)
        return deliveries_of(blob)

    async def undelivered(self, *, empty: Sequence[str], age: float, limit: int) -> list[Delivery]:
        return deliveries_of(await self._run("undelivered", repr(age), limit, pack(empty), again=False))

    async def prune(self, *, limit: int) -> int:
        return int(await self._run("prune", limit, again=False))

    async def cancel(self, ids: Sequence[str]) -> list[CancelResult]:
        answers = await self._run("cancel", self._ttls[0], pack(ids), again=False)
        return [_CANCELLED[answer] for answer in answers.decode()]

    async def purge(self, queue: str, *, limit: int) -> int:
        return int(await self._run("purge", self._ttls[0], limit, queue, again=False))

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        stored = decode_jobs(await self._run("get", pack(ids)))
        return [None if one is None else job_of(one) for one in stored]

    async def find(self, query: Query) -> Page:
        wanted, below = query.limit + 1, asking.below(query.cursor)
        jobs: list[Job] = []
        numbers: list[str] = []
        while below and len(jobs) < wanted:
            question = asking.question(query, limit=wanted - len(jobs), below=below, look_at=LOOKED_AT)
            found, blob, rest = await self._run("find", question)
            numbers += found.decode().split()
            jobs += jobs_of(blob)
            below = rest.decode()
        more = len(jobs) > query.limit
        cursor = str(int(numbers[query.limit - 1])) if more and query.limit else None
        return Page(jobs=tuple(jobs[: query.limit]), cursor=cursor)

    async def counts(self) -> list[Count]:
        return [
            Count(queue=queue, task=task, status=STATUSES[status], count=count)
            for queue, task, status, count in decode_counts(await self._run("counts"))
        ]

    async def story(self, job_id: str, *, after: int = 0) -> Story | None:
        blob, told = await self._run("story", job_id, after)
        if not blob:
            return None
        (job,) = jobs_of(blob)
        events = tuple(event_of(one) for one in decode_events(told) if one.seq > after)
        first = events[0].seq if events else job.seq + 1
        return Story(job=job, events=events, gap=first > after + 1)

    async def published(self, after: int | None, *, wait: float) -> Published:
        if after is None:
            await self._listening()
            last, *_ = await self._run("published", "", 0, 0)
            return Published(position=int(last))
        bell = await self._listening() if wait > 0 else None
        until = time.monotonic() + wait
        while True:
            rung = 0 if bell is None else bell.count([FEED])
            news = await self._read_log(after)
            left = until - time.monotonic()
            if bell is None or news.told or news.gap or left <= 0:
                return news
            await bell.changed([FEED], rung, left)

    async def _read_log(self, after: int) -> Published:
        last, first, end, *entries = await self._run("published", after, LOG_ENTRIES, LOG_BYTES)
        if not entries:  # all between was pruned, or this Redis was emptied or restored from an older copy
            return Published(position=int(last), gap=int(last) != after)
        return Published(position=int(end), told=told_of(entries), gap=int(first) != after + 1)

    async def _listening(self) -> Bell:
        if self._bell is None:
            raise StoreDown("the store is not open: await store.open() first")
        await self._bell.listen()
        return self._bell

    async def work(self, queues: Sequence[str], *, wait: float) -> None:
        bell, names = await self._listening(), [work_of(queue) for queue in queues]
        rung = bell.count(names)
        if not await self._run("waiting", pack(queues)):
            await bell.changed(names, rung, wait)

    async def beat(self, worker: WorkerInfo, *, ttl: float) -> None:
        self._note_epoch(await self._run("beat", worker.id, repr(ttl), encode_json(worker)))

    async def leave(self, worker_id: str) -> None:
        await self._run("leave", worker_id)

    async def workers(self) -> list[WorkerInfo]:
        beats = decode_workers(await self._run("workers"))
        infos = (
            msgspec.structs.replace(msgspec.json.decode(body, type=WorkerInfo), beat_at=at)
            for at, body in beats
        )
        return sorted(infos, key=lambda info: info.id)

    async def check(self) -> StoreHealth:
        info = await self._info()
        refused = await self._check_epoch()
        fields = info.fields
        return StoreHealth(
            name=self.name,
            version=info.version,
            location=self._location,
            warnings=health.warnings(info),
            details={
                "persistence": info.persistence,
                "maxmemory_policy": fields.get("maxmemory_policy", "unknown"),
                "used_bytes": int(fields.get("used_memory", 0)),
                "maximum_bytes": int(fields.get("maxmemory", 0)),
                "epoch": (self._epoch or b"").decode(),
                "stale_writes_refused": refused,
            },
        )

    async def _info(self) -> health.Info:
        if self._line is None:
            raise StoreDown("the store is not open: await store.open() first")
        await self._line("PING")
        told, save = b"", None  # a user of Redis, or a hosted one's clients, may not be allowed to ask
        with contextlib.suppress(StoreDown):
            told = await self._line("INFO")
        with contextlib.suppress(StoreDown):
            save = await self._line("CONFIG", "GET", "save")
        return health.parse(told, save)


def _held(answers: bytes) -> list[Held]:
    return [_HELD[answer] for answer in answers.decode()]


def _without_password(url: str) -> str:
    """Return where a URL points to, fit to be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
