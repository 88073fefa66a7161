"""Server-sent events: a job's stream as ``text/event-stream``, resumed by ``Last-Event-ID``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import Response, StreamingResponse

from faena.api import schemas
from faena.errors import FaenaError
from faena.live import Live
from faena.streams import Item, JobStream, Snapshot

KEEP_ALIVE: Final = 15.0
"""Seconds of silence after which a comment shows that the line still stands."""
HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def last_seq(last_event_id: str | None, after: int | None) -> int | None:
    """Return the seq that a client saw last. A ``Last-Event-ID`` that is no seq counts as none: a snapshot follows."""
    if last_event_id and last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 16:
        return int(last_event_id)
    return after


async def event_stream(live: Live, job_id: str, *, after: int | None) -> Response:
    """Answer with a job's stream; 204 when the job has ended and the client saw its end. Raises `NotFound`."""
    job = await live.read_job(job_id)
    if job.status.final and after == job.seq:
        return Response(status_code=204)
    lines = _lines(live.job(job_id, after=after))
    return StreamingResponse(lines, media_type="text/event-stream", headers=HEADERS)


async def _lines(stream: JobStream) -> AsyncIterator[bytes]:
    waiting: asyncio.Future[Item] | None = None
    try:
        await stream.__aenter__()
        while True:
            waiting = waiting or asyncio.ensure_future(anext(stream))
            done, _ = await asyncio.wait([waiting], timeout=KEEP_ALIVE)
            if not done:
                yield KEEPALIVE_COMMENT
                continue
            item, waiting = await waiting, None
            yield _line(item)
    except (StopAsyncIteration, FaenaError):
        return  # the end, or a store that is down: the client comes back with the last id
    finally:
        if waiting is not None:
            waiting.cancel()
        await stream.__aexit__(None, None, None)


def _line(item: Item) -> bytes:
    if isinstance(item, Snapshot):
        body = schemas.answer(item.job).model_dump_json()
        return format_sse_event(data_str=body, event="snapshot", id=str(item.job.seq))
    event = schemas.event_of_told(item)  # type: ignore[arg-type]  # a job's stream never lags
    return format_sse_event(data_str=event.model_dump_json(), event=event.type, id=str(event.seq))
