"""``/health``: does the store answer, does the engine answer, and does somebody take the jobs?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from importlib.metadata import version
from typing import Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel

from faena.api.deps import Services, ServicesDep
from faena.errors import StoreFault, Unavailable
from faena.insights import at_work, forgotten, other_engines, unlisted_tasks
from faena.ports.records import WorkerInfo

router = APIRouter(tags=["health"])

T = TypeVar("T")

ANSWER_WITHIN: Final = 3.0
"""Seconds that the store and the engine have to answer."""


class Part(BaseModel):
    """How the store, the engine or the workers are."""

    ok: bool
    detail: str
    details: dict[str, Any] = {}


class Health(BaseModel):
    """`status` is `ok` or `unavailable`; `reasons` says why it is not ok, `warnings` what else to know."""

    status: str
    version: str
    reasons: list[str]
    warnings: list[str]
    selection: dict[str, Any]
    queue_enabled: bool
    store: Part
    engine: Part
    workers: Part
    queues: dict[str, int]


@router.get("/health", response_model=Health, responses={503: {"model": Health}})
async def health(services: ServicesDep, response: Response) -> Any:
    """200 when the store and the engine answer and somebody takes jobs, else 503 and why."""
    asked = services.client.store
    store, (engine, processes, counts, paused) = (
        await _store(services),
        await asyncio.gather(
            _engine(services), _listed(asked.workers()), _listed(asked.counts()), _listed(asked.paused())
        ),
    )
    workers = at_work(processes)
    consuming = _consuming(workers)
    parts = (store, engine, told := _told(services, workers, consuming))
    reasons = [part.detail for part in parts if not part.ok]
    response.status_code = 503 if reasons else 200
    return Health(
        status="unavailable" if reasons else "ok",
        version=version("faena"),
        reasons=reasons,
        warnings=[
            *services.selection.warnings,
            *store.details.get("warnings", ()),
            *_unserved(services, consuming),
            *unlisted_tasks(workers, counts),
            *(f"{one.told}: `{one.resume}` takes them again" for one in forgotten(paused, counts)),
            *other_engines(processes, services.client.engine),
        ],
        selection=msgspec.to_builtins(services.selection),
        queue_enabled=services.settings.queue_enabled,
        store=store,
        engine=engine,
        workers=told,
        queues=consuming,
    )


async def _store(services: Services) -> Part:
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            found = await services.client.store.check()
    except (Unavailable, StoreFault, TimeoutError) as error:
        return Part(ok=False, detail=f"the store does not answer: {error or 'it took too long'}")
    return Part(ok=True, detail=f"{found.name} {found.version}", details=msgspec.to_builtins(found))


async def _engine(services: Services) -> Part:
    engine = services.client.engine
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            await asyncio.to_thread(engine.ping)
    except (Unavailable, TimeoutError) as error:
        return Part(
            ok=False, detail=f"the engine {engine.name} does not answer: {error or 'it took too long'}"
        )
    return Part(ok=True, detail=engine.name, details=msgspec.to_builtins(engine.capabilities))


async def _listed(asked: Awaitable[list[T]]) -> list[T]:
    """What the store lists; nothing when it does not answer, which `_store` tells."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            return await asked
    except (Unavailable, StoreFault, TimeoutError):
        return []


def _consuming(workers: list[WorkerInfo]) -> dict[str, int]:
    """How many workers take each queue."""
    queues = sorted({queue for worker in workers for queue in worker.queues})
    return {queue: sum(queue in worker.queues for worker in workers) for queue in queues}


def _told(services: Services, workers: list[WorkerInfo], consuming: dict[str, int]) -> Part:
    if not workers:
        return Part(ok=False, detail="no worker takes jobs: start one with `faena worker`, or use `faena up`")
    queues = ", ".join(consuming)
    slots, busy = sum(worker.slots for worker in workers), sum(len(worker.running) for worker in workers)
    details = {
        "count": len(workers),
        "embedded": services.embedded,
        "slots": slots,
        "running": busy,
        "ids": [worker.id for worker in workers],
    }
    return Part(ok=True, detail=f"{len(workers)} taking {queues}", details=details)


def _unserved(services: Services, consuming: dict[str, int]) -> list[str]:
    used = {task.options.queue for task in services.app.tasks.values()}
    return (
        [f"no worker takes the queue {queue!r}" for queue in sorted(used - set(consuming))]
        if consuming
        else []
    )
