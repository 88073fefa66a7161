"""``/schedules``: jobs that are made at their time."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response

from faena.api import scheduling, schemas
from faena.api.deps import ClientDep
from faena.api.routes.jobs import json_bytes

router = APIRouter(tags=["schedules"])

NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no schedule of that name."}}
NOT_NOW: dict[int | str, dict[str, Any]] = {409: {"description": "An application's code declares it."}}


@router.get("/schedules", response_model=scheduling.ScheduleList)
async def list_schedules(client: ClientDep) -> Any:
    """The schedules by name, each with its next tick."""
    return scheduling.schedule_list(await client.schedules())


@router.post("/schedules", status_code=201, response_model=scheduling.ScheduleAnswer, responses=NOT_NOW)
async def put_schedule(
    order: scheduling.ScheduleOrder, client: ClientDep, request: Request, response: Response
) -> Any:
    """Make a schedule, or give the one of that name another definition. What it counted, and its pause, stay."""
    schedule = await client.put_schedule(
        order.name,
        order.task,
        args=json_bytes(order.task, order.args),
        cron=order.cron,
        every=order.every,
        start=order.start,
        timezone=order.timezone,
        catch_up=order.catch_up,
        overlap=order.overlap,
        queue=order.queue,
        priority=order.priority,
    )
    root = request.scope.get("root_path", "")
    response.headers["Location"] = f"{root}/schedules/{quote(order.name, safe='')}"
    return scheduling.schedule_answer(schedule)


@router.get("/schedules/{name}", response_model=scheduling.ScheduleAnswer, responses=NOT_FOUND)
async def get_schedule(name: str, client: ClientDep) -> Any:
    """A schedule as it stands."""
    return scheduling.schedule_answer(await client.schedule(name))


@router.delete("/schedules/{name}", response_model=scheduling.Dropped, responses={**NOT_FOUND, **NOT_NOW})
async def drop_schedule(
    name: str,
    client: ClientDep,
    force: Annotated[
        bool, Query(description="Also if it is declared in code (that is in use no more).")
    ] = False,
) -> Any:
    """Forget a schedule; its jobs stay. 409 for one that is declared in code: it would come back when a worker starts.
    Pause it, or remove it from the code."""
    await client.drop_schedule(name, force=force)
    return scheduling.Dropped(name=name, dropped=True)


@router.post("/schedules/{name}/pause", response_model=scheduling.ScheduleAnswer, responses=NOT_FOUND)
async def pause_schedule(name: str, client: ClientDep) -> Any:
    """Let its ticks pass without a job."""
    return scheduling.schedule_answer(await client.pause_schedule(name))


@router.post("/schedules/{name}/resume", response_model=scheduling.ScheduleAnswer, responses=NOT_FOUND)
async def resume_schedule(name: str, client: ClientDep) -> Any:
    """Go on at the next tick; those that passed meanwhile are not made up for."""
    return scheduling.schedule_answer(await client.resume_schedule(name))


@router.post("/schedules/{name}/run", status_code=202, response_model=schemas.Enqueued, responses=NOT_FOUND)
async def run_schedule(name: str, client: ClientDep, request: Request, response: Response) -> Any:
    """Make its job now, besides its ticks and even if it is paused. One that skips overlaps is answered with the job
    that still lives, and `duplicate`."""
    inserted = await client.run_schedule(name)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/jobs/{inserted.job.id}"
    return schemas.enqueued(inserted.job, duplicate=inserted.duplicate)


@router.get("/schedules/{name}/next", response_model=scheduling.Ticks, responses=NOT_FOUND)
async def next_ticks(name: str, client: ClientDep, count: Annotated[int, Query(ge=1, le=1000)] = 10) -> Any:
    """When it goes next, as if it were not paused."""
    return scheduling.ticks(name, await client.next_ticks(name, count))
