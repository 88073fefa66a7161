"""The three ways to say what a stream yields: Faena's own, seed 000's notifications and seed 003's progress."""

from __future__ import annotations

from typing import Any

from faena.api import schemas
from faena.errors import NotFound
from faena.events import EventType, Told
from faena.streams import Item, Lagged, Snapshot

CHANNEL = "ws_channel:"


def own(item: Item) -> dict[str, Any]:
    """``snapshot``, ``event`` and ``lagged`` messages, with everything in them."""
    if isinstance(item, Snapshot):
        job = schemas.answer(item.job).model_dump(mode="json")
        return {"type": "snapshot", "task_id": item.job.id, "seq": item.job.seq, "job": job}
    if isinstance(item, Lagged):
        return lagged(item)
    event = schemas.event_of_told(item).model_dump(mode="json")
    return {
        "type": "event",
        "task_id": item.task_id,
        "seq": item.event.seq,
        "task": item.task,
        "queue": item.queue,
        "event": event,
    }


def progress(item: Item) -> dict[str, Any] | None:
    """Seed 003: ``{task_id, progress, status, message}``, for the snapshot and at each change of these."""
    if isinstance(item, Snapshot):
        job = item.job
        return _progress(job.id, job.progress, job.status, job.message)
    if isinstance(item, Lagged):
        return lagged(item)
    if item.event.type not in (EventType.STATUS, EventType.PROGRESS):
        return None
    return _progress(item.task_id, item.event.progress, item.event.status, item.event.message)


def notification(item: Item) -> dict[str, Any] | None:
    """Seed 000: ``{"type": "task_notification", "event", "data"}``. A task's own events go by their names; progress
    is ``task_progress``, a change of status ``task_completed`` and so on; ``data`` always has the ``task_id``."""
    if isinstance(item, Lagged):
        return lagged(item)
    if isinstance(item, Snapshot) or item.event.type is EventType.LOG:
        return None
    name, data = _named(item)
    return {"type": "task_notification", "event": name, "data": {**data, "task_id": item.task_id}}


def lagged(item: Lagged) -> dict[str, Any]:
    """This listener was too slow and lost something: read the jobs again (``GET /jobs``)."""
    return {"type": "lagged", "lost": item.lost}


def read_channel(channel: str) -> tuple[str, str]:
    """Return the user and the job that a seed-003 channel names. Raises `NotFound` for any other channel."""
    user, separator, job_id = channel.removeprefix(CHANNEL).rpartition(":")
    if not channel.startswith(CHANNEL) or not separator:
        raise NotFound(channel)
    return user, job_id


def _progress(task_id: str, progress: float, status: str, message: str | None) -> dict[str, Any]:
    return {"task_id": task_id, "progress": progress, "status": status, "message": message}


def _named(told: Told) -> tuple[str, dict[str, Any]]:
    event = told.event
    if event.type is EventType.EVENT:
        data = event.data if isinstance(event.data, dict) else {"value": event.data}
        return event.event or "event", {} if event.data is None else data
    name = "progress" if event.type is EventType.PROGRESS else str(event.status)
    return f"task_{name}", {"status": event.status, "progress": event.progress, "message": event.message}
