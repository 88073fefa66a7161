"""Steering: why a job waits, another priority or time for it, retries by filter, pauses."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from faena.api import schemas, steering
from faena.api.deps import AppDep, ClientDep
from faena.api.paths import JobId, job_id_of
from faena.app import Faena
from faena.client import Client
from faena.insights import check_known

router = APIRouter(tags=["steering"])

NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such job, queue or task."}}
NOT_NOW: dict[int | str, dict[str, Any]] = {409: {"description": "Right, but not now."}}


@router.get("/jobs/{job_id}/why", response_model=steering.WhyAnswer, responses=NOT_FOUND)
async def why(job_id: JobId, client: ClientDep) -> Any:
    """Why a job is not running: paused, behind a limit until a time, no worker for it, its turn not come, and so on.
    Taken from the store's facts at this moment. A job that runs or has ended says so."""
    return steering.why_answer(await client.why(job_id))


@router.patch("/jobs/{job_id}", response_model=schemas.JobAnswer, responses={**NOT_FOUND, **NOT_NOW})
async def change(job_id: JobId, order: steering.Change, client: ClientDep) -> Any:
    """Give a waiting job another priority, or another time. 409 when it runs or has ended."""
    job = await client.change(job_id, priority=order.priority, delay=order.delay, at=order.at)
    return schemas.answer(job)


@router.post(
    "/jobs/retry", status_code=202, response_model=steering.RetriedAnswer, responses={**NOT_FOUND, **NOT_NOW}
)
async def retry_many(
    client: ClientDep,
    app: AppDep,
    order: Annotated[steering.RetryOrder | None, Body(openapi_examples=steering.RETRIES)] = None,
) -> Any:
    """Run failed jobs again, each at most once: those of a `filter`, or `all` of them. `canary`: only so many, to see
    whether they do better now; then the same with `after`, the ids of the canary's jobs, runs the rest if all of those
    completed."""
    order = order or steering.RetryOrder()
    query = order.query()
    await check_known(client.store, app.tasks, app.queues, queues=query.queues, tasks=query.tasks)
    after = [job_id_of(job_id) for job_id in order.after]
    answer = await client.retry_many(query, canary=order.canary, after=after, limit=order.limit)
    return steering.retried(answer.jobs, answer.left)


@router.get("/paused", response_model=steering.PausedList)
async def paused(client: ClientDep) -> Any:
    """The queues and tasks that are paused, longest first, and how many jobs wait behind each."""
    return steering.paused_list(await client.paused(), await client.store.counts())


@router.post("/pause", response_model=steering.Steered, responses=NOT_FOUND)
async def pause(target: steering.Target, client: ClientDep, app: AppDep) -> Any:
    """Take no more jobs of a queue or a task. What runs goes on, and what is enqueued meanwhile waits."""
    return await _pause(target, client, app)


@router.post("/resume", response_model=steering.Steered, responses=NOT_FOUND)
async def resume(target: steering.Target, client: ClientDep, app: AppDep) -> Any:
    """Take jobs of a queue or a task again."""
    return await _resume(target, client, app)


@router.post("/queues/{queue}/pause", response_model=steering.Steered, responses=NOT_FOUND)
async def pause_queue(queue: str, client: ClientDep, app: AppDep) -> Any:
    """Take no more jobs of a queue. What runs goes on, and what is enqueued meanwhile waits."""
    return await _pause(steering.Target(queue=queue), client, app)


@router.post("/queues/{queue}/resume", response_model=steering.Steered, responses=NOT_FOUND)
async def resume_queue(queue: str, client: ClientDep, app: AppDep) -> Any:
    """Take jobs of a queue again."""
    return await _resume(steering.Target(queue=queue), client, app)


async def _pause(target: steering.Target, client: Client, app: Faena) -> steering.Steered:
    await _check(target, client, app)
    changed = await client.pause(queue=target.queue, task=target.task)
    return steering.Steered(queue=target.queue, task=target.task, paused=True, changed=changed)


async def _resume(target: steering.Target, client: Client, app: Faena) -> steering.Steered:
    await _check(target, client, app)
    changed = await client.resume(queue=target.queue, task=target.task)
    return steering.Steered(queue=target.queue, task=target.task, paused=False, changed=changed)


async def _check(target: steering.Target, client: Client, app: Faena) -> None:
    queues = [] if target.queue is None else [target.queue]
    tasks = [] if target.task is None else [target.task]
    await check_known(client.store, app.tasks, app.queues, queues=queues, tasks=tasks)
