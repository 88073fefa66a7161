"""``/jobs``: enqueue any registered task, list, watch, cancel and retry jobs."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import JSONResponse

from faena.api import schemas
from faena.api.cancelling import cancel_job
from faena.api.deps import ClientDep, JobRequest
from faena.api.idempotency import Once, OnceDep
from faena.api.paths import JobId
from faena.api.sse import event_stream, last_seq
from faena.errors import InvalidArguments, NotFound
from faena.job import Status
from faena.ports.records import Query as JobQuery

router = APIRouter(tags=["jobs"])

MAX_PAGE = 200


@router.post("/jobs", status_code=202, response_model=schemas.Enqueued)
async def enqueue(order: schemas.JobOrder, once: OnceDep, request: Request, response: Response) -> Any:
    """Enqueue a job of any registered task. The answer is the stored job; `Location` is where to watch it.

    With a `key` that a live job of the task holds, that job is the answer and `duplicate` is true; with other
    arguments it is 409. With the header `Idempotency-Key` the same request makes one job, however often it is sent.
    """
    return await enqueue_request(request_of(order), once, request, response)


async def enqueue_request(
    job_request: JobRequest, once: Once, request: Request, response: Response
) -> schemas.Enqueued:
    """Enqueue, and say where the job is."""
    inserted = await once.enqueue(job_request)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/jobs/{inserted.job.id}"
    return schemas.enqueued(inserted.job, duplicate=inserted.duplicate)


def request_of(order: schemas.JobOrder) -> JobRequest:
    """Return what the client is asked for; the arguments stay JSON until the task reads them."""
    return JobRequest(
        task=order.task,
        args=json_bytes(order.task, order.args),
        queue=order.queue,
        priority=order.priority,
        delay=order.delay,
        at=order.at,
        key=order.key,
        keep_key=order.keep_key,
        on_conflict=order.on_conflict,
        timeout=order.timeout,
        max_retries=order.max_retries,
    )


def json_bytes(task: str, args: dict[str, Any]) -> bytes:
    """Return arguments as JSON. Raises `InvalidArguments` for NaN and infinity, which JSON does not have."""
    try:
        return json.dumps(args, allow_nan=False).encode()
    except ValueError as error:
        raise InvalidArguments(task, [{"where": "args", "message": str(error)}]) from None


@router.get("/jobs", response_model=schemas.JobList)
async def list_jobs(
    client: ClientDep,
    status: Annotated[list[Status] | None, Query(description="May be given several times.")] = None,
    task: Annotated[list[str] | None, Query(description="May be given several times.")] = None,
    queue: Annotated[list[str] | None, Query(description="May be given several times.")] = None,
    q: Annotated[
        str | None, Query(description="Part of the id, task, key or message.", max_length=200)
    ] = None,
    origin: Annotated[str | None, Query(description="The jobs that run this one again.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: Annotated[str | None, Query(description="`cursor` of the page before.", max_length=200)] = None,
) -> Any:
    """List jobs, newest first."""
    query = JobQuery(
        statuses=tuple(status or ()),
        tasks=tuple(task or ()),
        queues=tuple(queue or ()),
        search=q or None,
        origin=origin,
        limit=limit,
        cursor=cursor,
    )
    page = await client.store.find(query)
    return schemas.JobList.model_construct(jobs=schemas.summaries(page.jobs), cursor=page.cursor)


@router.get("/jobs/{job_id}", response_model=schemas.JobAnswer)
async def get_job(job_id: JobId, client: ClientDep) -> Any:
    """A job as it stands."""
    return schemas.answer(await client.get(job_id))


@router.delete("/jobs/{job_id}", response_model=schemas.Cancellation)
async def cancel(job_id: JobId, client: ClientDep, response: Response) -> Any:
    """Cancel a job: a waiting one at once (200), a running one by asking its worker (202). 409 if it has ended."""
    return await cancel_job(job_id, client, response)


@router.post("/jobs/{job_id}/retry", status_code=202, response_model=schemas.Enqueued)
async def retry(job_id: JobId, client: ClientDep, request: Request, response: Response) -> Any:
    """Run an ended job again: a new job with the same arguments, which names this one as its `origin`."""
    inserted = await client.retry(job_id)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/jobs/{inserted.job.id}"
    return schemas.enqueued(inserted.job, duplicate=inserted.duplicate)


@router.get(
    "/jobs/{job_id}/events",
    response_model=schemas.EventList,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "The events, or a stream of them"},
        204: {"description": "The stream is over: everything was told (an EventSource then stops)"},
    },
)
async def events(
    job_id: JobId,
    client: ClientDep,
    accept: Annotated[str, Header()] = "application/json",
    last_event_id: Annotated[
        str | None, Header(description="The last `seq` seen; wins over `after`.")
    ] = None,
    after: Annotated[int | None, Query(ge=0, le=2**53, description="The last `seq` seen.")] = None,
) -> Response:
    """The events of a job. With `Accept: text/event-stream` a live stream: a `snapshot` (unless you name the last
    `seq` you saw and what followed is still kept), then every later event, to the final one."""
    seen = last_seq(last_event_id, after)
    if "text/event-stream" in accept:
        return await event_stream(client.live, job_id, after=seen)
    story = await client.store.story(job_id, after=seen or 0)
    if story is None:
        raise NotFound(job_id)
    told = schemas.EventList(
        task_id=job_id,
        job_id=job_id,
        seq=story.job.seq,
        gap=story.gap,
        events=[schemas.event_of(job_id, event) for event in story.events],
    )
    return JSONResponse(told.model_dump(mode="json"))
