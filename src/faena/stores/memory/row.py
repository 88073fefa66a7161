"""One job as the memory store keeps it."""

from __future__ import annotations

from collections import deque

from faena.events import Event
from faena.job import Job, Step


class Row:
    """A job, its events, and what only the store knows of it."""

    __slots__ = ("delivered_at", "ended", "events", "job", "reported", "request", "turn")

    def __init__(self, job: Job, *, delivered_at: float, max_events: int) -> None:
        self.job = job
        self.events: deque[Event] = deque(maxlen=max_events)
        self.delivered_at = delivered_at
        self.request: str | None = None
        """The request of the claim that holds the job."""
        self.reported = 0
        """The number of the attempt's last report."""
        self.ended: tuple[int, Step] | None = None
        """Token and step of the last outcome that was accepted."""
        self.turn: float | None = None
        """When the job was due that was claimed last."""
