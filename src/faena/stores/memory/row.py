"""One job as the memory store keeps it."""

from __future__ import annotations

from collections import deque

from faena.events import Event
from faena.job import LIVE, Gate, Job, NewJob, Step

LaneName = tuple[str, int, str, tuple[Gate, ...]]
"""Queue, priority, task and gates: what the jobs of a lane have in common."""


class Row:
    """A job, its events, and what only the store knows of it."""

    __slots__ = (
        "answers_until",
        "delivered_at",
        "ended",
        "events",
        "gates",
        "job",
        "key_bound",
        "key_kept",
        "number",
        "reported",
        "request",
        "turn",
    )

    def __init__(self, job: Job, new: NewJob, *, number: int, max_events: int) -> None:
        self.job = job
        self.events: deque[Event] = deque(maxlen=max_events)
        self.gates = new.gates
        self.key_kept = new.key_kept
        self.key_bound = new.key_bound
        self.number = number
        """Which of all jobs that ever came."""
        self.answers_until = 0.0
        """Until then the job answers a request that is sent again."""
        self.delivered_at: float | None = None
        """When it was last given out for delivery; None: it is held back."""
        self.request: str | None = None
        """The request of the claim that holds the job."""
        self.reported = 0
        """The number of the attempt's last report."""
        self.ended: tuple[int, Step] | None = None
        """Token and step of the last outcome that was accepted."""
        self.turn: float | None = None
        """When the job was due that was claimed last."""

    @property
    def lane(self) -> LaneName:
        """In which lane it waits, if it bears gates."""
        return self.job.queue, self.job.priority, self.job.task, self.gates

    @property
    def place(self) -> tuple[float, int]:
        """Where it stands in its line."""
        return self.job.due_at, self.number

    @property
    def kept_until(self) -> float:
        """The job is not deleted before."""
        return max(self.answers_until, self.job.created_at + self.key_kept)

    def holds_key(self, now: float) -> bool:
        """Tell whether the job, if it is the newest with its key, holds it now."""
        age = now - self.job.created_at
        lives = self.job.status in LIVE
        kept = self.key_kept > 0 and age < self.key_kept
        return kept or (lives and (self.key_bound is None or age < self.key_bound))
