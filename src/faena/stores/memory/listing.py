"""Listing the memory store's jobs: filters, order and pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from faena.errors import InvalidCursor
from faena.job import Job
from faena.ports.records import Page, Query


def page_of(jobs: Iterable[Job], query: Query) -> Page:
    """Return the jobs that match, newest first, after the query's cursor."""
    found = sorted((job for job in jobs if _matches(job, query)), key=_age, reverse=True)
    if query.cursor is not None:
        last = _read(query.cursor)
        found = [job for job in found if _age(job) < last]
    page = tuple(found[: query.limit])
    more = len(found) > len(page) > 0
    return Page(jobs=page, cursor=_cursor(*_age(page[-1])) if more else None)


def _cursor(created_at: float, job_id: str) -> str:
    return f"{created_at!r}/{job_id}"


def _read(cursor: str) -> tuple[float, str]:
    """Return where a page ended; a text that `_cursor` would not write is refused."""
    created_at, _, job_id = cursor.partition("/")
    try:
        last = float(created_at), str(uuid.UUID(job_id))
    except ValueError:
        raise InvalidCursor(cursor) from None
    if _cursor(*last) != cursor:
        raise InvalidCursor(cursor)
    return last


def _age(job: Job) -> tuple[float, str]:
    return job.created_at, job.id


def _matches(job: Job, query: Query) -> bool:
    wanted = (
        (not query.statuses or job.status in query.statuses)
        and (not query.tasks or job.task in query.tasks)
        and (not query.queues or job.queue in query.queues)
        and (query.user is None or job.user == query.user)
        and (query.origin is None or job.origin == query.origin)
    )
    return wanted and (query.search is None or _mentions(job, query.search.lower()))


def _mentions(job: Job, text: str) -> bool:
    return any(text in field.lower() for field in (job.id, job.task, job.key or "", job.message or ""))
