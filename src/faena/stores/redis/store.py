"""The store on Redis: one Lua script a verb, all calls that wait together in one round trip.

`docs/concepts/redis-store.md` tells how it is laid out; lua/prelude.lua is where jobs are moved and written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from faena.errors import IllegalStep
from faena.events import Published
from faena.job import OUTCOMES, Job, NewJob, Outcome, Status
from faena.ports.engine import Delivery
from faena.ports.records import (
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
    Story,
    WorkerInfo,
)
from faena.stores.redis import asking
from faena.stores.redis.bell import FEED, work_of
from faena.stores.redis.rows import (
    STATUSES,
    Body,
    asked_of,
    claims_of,
    decode_counts,
    decode_events,
    decode_jobs,
    decode_workers,
    deliveries_of,
    encode_json,
    event_of,
    inserted_of,
    job_of,
    jobs_of,
    pack,
    told_of,
)
from faena.stores.redis.steering import Steering

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


class RedisStore(Steering):
    """The `Store` port on a Redis of version 6.2 or later."""

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        if not jobs:
            return []
        bodies = [pack(Body(timeout=new.timeout, args=new.args)) for new in jobs]
        asked = self._mark()
        answer = await self._run("insert", self._ttls[0], pack([asked_of(new) for new in jobs]), *bodies)
        self._heard(float(answer[0]), asked=asked)
        return inserted_of(jobs, answer)

    async def claim(self, ids: Sequence[str], *, worker: str, lease: float, request: str) -> list[Claim]:
        return claims_of(await self._run("claim", worker, repr(lease), request, pack(ids)))

    async def claim_next(
        self, queues: Sequence[str], *, worker: str, lease: float, limit: int, request: str
    ) -> list[Claim]:
        return claims_of(await self._run("claim_next", worker, repr(lease), request, limit, pack(queues)))

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Held]:
        return _held(await self._run("extend", repr(lease), _named(leases)))

    async def started(self, leases: Sequence[Lease]) -> list[Held]:
        return _held(await self._run("started", _named(leases)))

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

    async def work(self, queues: Sequence[str], *, wait: float) -> None:
        bell, names = await self._listening(), [work_of(queue) for queue in queues]
        rung, asked = bell.count(names), self._mark()
        opens_in, now = await self._run("waiting", pack(queues))
        self._heard(float(now), asked=asked)
        if not opens_in:
            await bell.changed(names, rung, wait)
        elif float(opens_in) > 0:
            await bell.changed(names, rung, min(wait, float(opens_in)))

    async def beat(self, worker: WorkerInfo, *, ttl: float) -> None:
        asked = self._mark()
        epoch, now = await self._run("beat", worker.id, repr(ttl), encode_json(worker))
        self._heard(float(now), asked=asked)
        self._note_epoch(epoch)

    async def leave(self, worker_id: str) -> None:
        await self._run("leave", worker_id)

    async def workers(self) -> list[WorkerInfo]:
        beats = decode_workers(await self._run("workers"))
        infos = (
            msgspec.structs.replace(msgspec.json.decode(body, type=WorkerInfo), beat_at=at)
            for at, body in beats
        )
        return sorted(infos, key=lambda info: info.id)


def _named(leases: Sequence[Lease]) -> bytes:
    return pack([(one.job_id, one.token) for one in leases])


def _held(answers: bytes) -> list[Held]:
    return [_HELD[answer] for answer in answers.decode()]
