"""The starters' routes: seed 002's ``/tasks``, ``/tasks/a`` and ``/tasks/b``, seed 003's ``/run-progress``."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from faena.api.deps import JobRequest, SettingsDep
from faena.api.idempotency import Once, OnceDep
from faena.packs.demo.tasks import LONGEST, Seconds, Steps

router = APIRouter(tags=["demo"])


class LongTask(BaseModel):
    """What to run and for how long. The same request while one is live is answered with that one."""

    model_config = ConfigDict(allow_inf_nan=False)

    task_name: Literal["long_task"] = "long_task"
    duration: float = Field(10, ge=0, le=LONGEST, description="Seconds.")
    payload: dict[str, Any] = Field(default_factory=dict)
    high: bool = Field(False, description="Use the queue `high`, which goes first.")


class UserTask(BaseModel):
    """For which user, and for how long."""

    user_id: int
    duration: Seconds = 5
    high: bool = False


class Enqueued(BaseModel):
    """The new job and its queue."""

    job_id: str
    task_id: str
    queue: str


class Duplicate(BaseModel):
    """The live job that does the very same."""

    duplicate: Literal[True] = True
    job_id: str
    task_id: str


class Started(BaseModel):
    """The new job."""

    task_id: str
    job_id: str


@router.post("/tasks", status_code=202, response_model=Enqueued | Duplicate)
async def enqueue_long_task(order: LongTask, once: OnceDep, settings: SettingsDep) -> Any:
    """Enqueue `long_task`, once: while a job with the same name, duration and payload is live, it is the answer; for
    `duration + IDEMP_MARGIN` seconds at most."""
    inserted = await once.enqueue(
        JobRequest(
            task=order.task_name,
            args={"duration": order.duration, "payload": order.payload},
            queue=_queue(order.high),
            key=unique_key(order.task_name, order.duration, order.payload),
            key_bound=order.duration + settings.idemp_margin,
        )
    )
    job = inserted.job
    if inserted.duplicate:
        return Duplicate(job_id=job.id, task_id=job.id)
    return Enqueued(job_id=job.id, task_id=job.id, queue=job.queue)


@router.post("/tasks/a", status_code=202, response_model=Enqueued)
async def enqueue_a(order: UserTask, once: OnceDep) -> Any:
    """Enqueue `task_a`: process a user."""
    return await _enqueue_for_user("task_a", order, once)


@router.post("/tasks/b", status_code=202, response_model=Enqueued)
async def enqueue_b(order: UserTask, once: OnceDep) -> Any:
    """Enqueue `task_b`: send a user's notifications."""
    return await _enqueue_for_user("task_b", order, once)


@router.post("/run-progress", status_code=202, response_model=Started)
async def run_progress(
    once: OnceDep, steps: Annotated[Steps, Query()] = 10, user_id: Annotated[str | None, Query()] = None
) -> Any:
    """Enqueue `long_running_progress`; watch it on `WS /ws`, channel `ws_channel:{user_id}:{task_id}`."""
    request = JobRequest(
        task="long_running_progress", args={"steps": steps, "user_id": user_id}, user=user_id
    )
    job = (await once.enqueue(request)).job
    return Started(task_id=job.id, job_id=job.id)


def unique_key(task: str, duration: float, payload: dict[str, Any]) -> str:
    """Return the idempotency key of a request: the same for the same task, duration and payload, in any order."""
    told = json.dumps([duration, payload], sort_keys=True, separators=(",", ":"))
    return f"task:{task}:{hashlib.sha256(told.encode()).hexdigest()[:32]}"


async def _enqueue_for_user(task: str, order: UserTask, once: Once) -> Enqueued:
    args = {"user_id": order.user_id, "duration": order.duration}
    job = (await once.enqueue(JobRequest(task=task, args=args, queue=_queue(order.high)))).job
    return Enqueued(job_id=job.id, task_id=job.id, queue=job.queue)


def _queue(high: bool) -> str:
    return "high" if high else "default"
