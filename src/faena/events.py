"""The events that tell a job's story, each numbered within its job."""

from __future__ import annotations

import enum
from typing import Any

from faena.job import Record, Status


class EventType(enum.StrEnum):
    """What an event tells."""

    STATUS = "status"
    PROGRESS = "progress"
    EVENT = "event"  # a task's own, from `Context.emit`
    LOG = "log"


class NewEvent(Record, frozen=True, omit_defaults=True):
    """An event that a running job asks to be recorded (PROGRESS is made by the store, from `Report.progress`)."""

    type: EventType
    event: str | None = None
    """The name of a task's own event (``thumbnail_generated``); the level of a log line."""
    message: str | None = None
    data: Any = None


class Event(Record, frozen=True, omit_defaults=True):
    """One numbered event of a job: ``seq`` counts 1, 2, 3, … without a gap."""

    seq: int
    type: EventType
    status: Status
    at: float
    progress: float = 0.0
    attempt: int = 0
    event: str | None = None
    message: str | None = None
    data: Any = None


class Told(Record, frozen=True, omit_defaults=True):
    """An event as it is told to listeners: with the job that it belongs to and the channels that it goes to."""

    task_id: str
    task: str
    queue: str
    event: Event
    topic: str | None = None
    user: str | None = None


class Published(Record, frozen=True):
    """A stretch of the store's event log."""

    position: int
    """Where the next reading goes on."""
    told: tuple[Told, ...] = ()
    gap: bool = False
    """True when events between the given position and ``told`` are no longer in the log: resume from the jobs."""
