"""``Idempotency-Key``: a request that is sent again, because its answer was lost, makes no second job.

A route that takes the header enqueues through `OnceDep`. The store remembers who asked, the key and what was asked,
with the job that was the answer, in the step that inserts it: fifty requests at once make one job, and no crash
comes between.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Header, Request, Response

from faena.api.deps import services_of
from faena.client import Client
from faena.durations import seconds
from faena.job import Idempotency, Job, Status
from faena.ports.records import Inserted
from faena.task import JobRequest

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
KEPT: Final = 86400.0
"""Seconds for which a request is recognised."""
SYNTAX: Final = r"^[\x21-\x7e]{1,255}$"

ABOUT: Final = (
    "Your own name for this request, 1 to 255 visible ASCII characters. The same request with the same key within 24 "
    "hours is answered as it was the first time, with the header `Idempotency-Replayed: true`, and makes no other "
    "job. Another request with the same key is 409."
)


class Once:
    """Enqueues for one request, and recognises it when it is sent again."""

    def __init__(self, client: Client, response: Response, route: str, key: str | None) -> None:
        self._client = client
        self._response = response
        self._route = route
        self._key = key

    async def enqueue(self, request: JobRequest) -> Inserted:
        """`Client.enqueue`. The job of a request that was sent before is told as it was created; one that was a
        duplicate, as it stands. Raises as that does, and `Conflict` for a key that came with another request."""
        if self._key is None:
            return await self._client.enqueue(request)
        # A key has no space: nobody's can be taken for a user's.
        scoped = self._key if request.user is None else f"{request.user} {self._key}"
        known = Idempotency(key=scoped, digest=_digest(self._route, request), kept=KEPT)
        inserted = await self._client.enqueue(msgspec.structs.replace(request, idempotency=known))
        if not inserted.replayed:
            return inserted
        self._response.headers[REPLAYED] = "true"
        if inserted.duplicate:
            return inserted
        return msgspec.structs.replace(inserted, job=self._as_created(inserted.job, request))

    def _as_created(self, job: Job, request: JobRequest) -> Job:
        """Return the job as it was when it was accepted: what it became since, and what was changed, is left out."""
        due_at = (
            job.created_at + seconds(request.delay or 0) if request.at is None else request.at.timestamp()
        )
        task = self._client.tasks.get(job.task)
        priority, args = request.priority, job.args
        if task is not None:
            priority = task.options.priority if priority is None else priority
            args = (
                task.adopt_args(request.args)
                if isinstance(request.args, bytes)
                else task.dump_args(request.args)
            )
        return Job(
            id=job.id,
            task=job.task,
            args=args,
            queue=job.queue,
            priority=job.priority if priority is None else priority,
            status=Status.SCHEDULED if due_at > job.created_at else Status.PENDING,
            attempt=0,
            max_attempts=job.max_attempts,
            crashes=0,
            token=0,
            seq=1,
            created_at=job.created_at,
            due_at=max(due_at, job.created_at),
            timeout=job.timeout,
            key=job.key,
            user=job.user,
            topic=job.topic,
            origin=job.origin,
        )


async def _once(
    request: Request,
    response: Response,
    key: Annotated[str | None, Header(alias=HEADER, pattern=SYNTAX, description=ABOUT)] = None,
) -> Once:
    route = f"{request.method} {request.scope['route'].path}"
    return Once(services_of(request).client, response, route, key)


OnceDep = Annotated[Once, Depends(_once)]


def _digest(route: str, request: JobRequest) -> str:
    """Return the digest of all that was asked, whatever the order of its names."""
    asked: dict[str, Any] = msgspec.structs.asdict(request)
    if isinstance(request.args, bytes):
        asked["args"] = json.loads(request.args)
    told = json.dumps([route, asked], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()
