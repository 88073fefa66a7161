"""``/workers``: who runs the jobs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from faena.api import schemas
from faena.api.deps import ClientDep
from faena.insights import at_work

router = APIRouter(tags=["workers"])


@router.get("/workers", response_model=schemas.WorkerList)
async def list_workers(client: ClientDep) -> Any:
    """The workers whose heartbeat is fresh, with what each of them runs now."""
    return {"workers": [schemas.worker_answer(worker) for worker in at_work(await client.store.workers())]}
