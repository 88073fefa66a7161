"""``/tasks``: the registered tasks, each with a typed operation of its own; and jobs by the seeds' names."""

from __future__ import annotations

import inspect
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response

from faena.api import schemas
from faena.api.cancelling import cancel_job
from faena.api.deps import AppDep, ClientDep, JobRequest
from faena.api.idempotency import OnceDep
from faena.api.paths import JobId
from faena.api.routes.jobs import enqueue_request, json_bytes
from faena.job import OnConflict
from faena.ports.records import Count
from faena.task import Task

router = APIRouter(tags=["tasks"])


@router.get("/tasks", response_model=schemas.TaskList)
async def list_tasks(client: ClientDep, app: AppDep) -> Any:
    """The registered tasks, each with the JSON schema of its arguments and the counts of its jobs."""
    counts = await client.store.counts()
    paused = {one.task for one in await client.store.paused()}
    return {"tasks": [_task(task, counts, paused=name in paused) for name, task in sorted(app.tasks.items())]}


@router.post(
    "/tasks/{task}/enqueue", status_code=202, response_model=schemas.Enqueued, include_in_schema=False
)
async def enqueue_task(
    task: Annotated[str, Path()],
    once: OnceDep,
    request: Request,
    response: Response,
    args: Annotated[dict[str, Any] | None, Body()] = None,
    queue: str | None = None,
    priority: int | None = None,
    delay: Annotated[float | None, Query(ge=0, le=schemas.MAX_DELAY, allow_inf_nan=False)] = None,
    at: datetime | None = None,
    key: str | None = None,
    keep_key: schemas.KeepKey | None = None,
    on_conflict: OnConflict | None = None,
    timeout: Annotated[float | None, Query(gt=0, allow_inf_nan=False)] = None,
    max_retries: Annotated[int | None, Query(ge=0)] = None,
) -> Any:
    """`POST /jobs` for one task: the body is its arguments, the job's options are in the query. The OpenAPI document
    has one such operation for each task (`faena.api.openapi`)."""
    job_request = JobRequest(
        task=task,
        args=json_bytes(task, args or {}),
        queue=queue,
        priority=priority,
        delay=delay,
        at=at,
        key=key,
        keep_key=keep_key,
        on_conflict=on_conflict,
        timeout=timeout,
        max_retries=max_retries,
    )
    return await enqueue_request(job_request, once, request, response)


@router.get("/tasks/{job_id}", response_model=schemas.JobAnswer)
async def get_task(job_id: JobId, client: ClientDep) -> Any:
    """A job as it stands: status, result and progress."""
    return schemas.answer(await client.get(job_id))


@router.get("/tasks/{job_id}/status", response_model=schemas.TaskStatus)
async def get_status(job_id: JobId, client: ClientDep) -> Any:
    """Where a job stands, in short: made for polling."""
    return schemas.status(await client.get(job_id))


@router.delete("/tasks/{job_id}", response_model=schemas.Cancellation)
async def cancel_task(job_id: JobId, client: ClientDep, response: Response) -> Any:
    """Cancel a job: a waiting one at once (200), a running one by asking its worker (202). 409 if it has ended."""
    return await cancel_job(job_id, client, response)


def _task(task: Task[Any, Any], counts: list[Count], *, paused: bool) -> schemas.TaskAnswer:
    options = task.options
    mine = schemas.tally(count for count in counts if count.task == task.name)
    return schemas.TaskAnswer(
        name=task.name,
        description=inspect.cleandoc(task.__doc__) if task.__doc__ else None,
        queue=options.queue,
        priority=options.priority,
        max_retries=options.max_retries,
        timeout=options.timeout,
        isolation=options.isolation,
        arguments=task.schema(),
        paused=paused,
        **mine,
    )
