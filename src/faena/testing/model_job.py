"""One job as the model sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from faena.events import EventType
from faena.job import GIVES_BACK, LIVE, Gate, NewJob, Status, Step, advance

Told = tuple[EventType, Status, int, float]
"""What the model knows of an event: its type, and the job's status, attempt and progress."""


@dataclass
class ModelJob:
    """What the rules say of one job. ``new`` is what it is by now, after changes."""

    new: NewJob
    status: Status
    created_at: float
    due_at: float
    attempt: int = 0
    token: int = 0
    crashes: int = 0
    progress: float = 0.0
    message: str | None = None
    checkpoint: bytes | None = None
    result: bytes | None = None
    cancel_requested: bool = False
    lease_until: float = 0.0
    expires_at: float = 0.0
    answers_until: float = 0.0
    """Until then it answers a request that is sent again."""
    request: str | None = None
    reported: int = 0
    accepted: dict[int, Step] = field(default_factory=dict)
    """The outcome that was accepted under each token."""
    events: list[Told] = field(default_factory=list)
    given_out: bool | None = None
    """Was it delivered, or given out by `admit`, since it is pending (None: the store's business)?"""
    aside: bool = False
    """Its task was paused while it waited: the store may have put it into a lane."""

    @property
    def rank(self) -> tuple[str, int]:
        """Its queue and priority."""
        return self.new.queue, self.new.priority

    @property
    def lane(self) -> tuple[str, int, str, tuple[Gate, ...]]:
        """The lane that it waits in, if it bears gates."""
        return self.new.queue, self.new.priority, self.new.task, self.new.gates

    def holds_key(self, now: float) -> bool:
        """Tell whether it holds its key, if it is the newest that got it."""
        age = now - self.created_at
        kept, bound = self.new.key_kept, self.new.key_bound
        lives = self.status in LIVE
        return (kept > 0 and age < kept) or (lives and (bound is None or age < bound))

    def take(self, step: Step) -> None:
        """Take a step and tell it."""
        self.status = advance(self.status, step)
        self.tell(EventType.STATUS)
        if step in GIVES_BACK:
            self.attempt -= 1
        if self.status.final:
            self.cancel_requested = False

    def tell(self, kind: EventType) -> None:
        """Number an event."""
        self.events.append((kind, self.status, self.attempt, self.progress))
