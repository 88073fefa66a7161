"""``/queues``: the queues with their counts, and how to empty one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from faena.api import schemas
from faena.api.deps import AppDep, ClientDep
from faena.insights import check_known
from faena.ports.records import Count

router = APIRouter(tags=["queues"])


@router.get("/queues", response_model=schemas.QueueList)
async def list_queues(client: ClientDep, app: AppDep) -> Any:
    """The queues of the stored jobs and of the registered tasks; `count` is what waits."""
    counts = await client.store.counts()
    names = {count.queue for count in counts} | {task.options.queue for task in app.tasks.values()}
    names |= set(app.queues)
    paused = {one.queue for one in await client.store.paused()}
    return {"queues": [_queue(name, counts, paused=name in paused) for name in sorted(names)]}


@router.delete(
    "/queues/{queue}/purge",
    response_model=schemas.Purged,
    responses={404: {"description": "There is no such queue."}},
)
async def purge(queue: str, client: ClientDep, app: AppDep) -> Any:
    """Cancel every waiting job of a queue; running ones go on."""
    await check_known(client.store, app.tasks, app.queues, queues=[queue])
    return {"queue": queue, "purged": await client.purge(queue)}


def _queue(name: str, counts: list[Count], *, paused: bool) -> dict[str, Any]:
    mine = schemas.tally(count for count in counts if count.queue == name)
    return {"name": name, "paused": paused, **mine}
