"""One attempt while it runs: what the executor, the heartbeat and the context know of it together.

It is touched from three sides: the loop, which owns it; the heartbeat's thread, which may take its flags up and
moves its lease; and the function's own thread, which reads the flags through its context.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from faena.context import Context, Item
from faena.errors import Stale
from faena.job import Job, Outcome

if TYPE_CHECKING:
    from faena.reports import Reports
    from faena.settings import Settings
    from faena.starts import Start
    from faena.task import Task


class Why(enum.Enum):
    """Why a running function is being stopped; the later in this list wins."""

    TIMEOUT = 1
    CANCEL = 2
    RELEASE = 3  # the worker stops: hand the job back
    STALE = 4  # the lease is lost: record nothing


class Runner(Protocol):
    """A place where functions run. It calls ``started`` when a function begins, and sets `Attempt.handle` while it
    can be stopped."""

    async def run(self, attempt: Attempt) -> Outcome | bytes:
        """Run the function; return its result as JSON, or the outcome if that is known already. Raises what the
        function raises, and `asyncio.CancelledError` when it was stopped (`Attempt.why` says why)."""
        ...

    def notice(self, attempt: Attempt) -> None:
        """Pass on that somebody asked to cancel the job (`Attempt.cancelled`)."""
        ...

    def ask(self, attempt: Attempt) -> None:
        """Tell the function that its time is up, so that it may clean up."""
        ...

    def kill(self, attempt: Attempt, why: Why) -> bool:
        """End the function, or leave it behind. False: it has been told to end, and may ignore that."""
        ...


class Attempt:
    """One attempt, from its claim to its finish. It is the `Line` of its context."""

    __slots__ = (
        "asked",
        "cancel_at",
        "cancelled",
        "concluded",
        "due",
        "ended",
        "freed",
        "handle",
        "job",
        "kill_at",
        "lease_until",
        "limit_at",
        "lost",
        "noticed",
        "over",
        "overdue",
        "reports",
        "runner",
        "start",
        "started",
        "task",
        "why",
    )

    def __init__(self, job: Job, *, lease_until: float) -> None:
        self.job = job
        self.lease_until = lease_until
        """When the lease is over at the latest, by the monotonic clock."""
        self.start: Start | None = None
        """What its rates counted; None: it has none."""
        self.started = monotonic()
        self.task: Task[Any, Any] | None = None
        self.runner: Runner | None = None
        self.handle: Any = None
        """What the runner stops the function by; None while no function runs."""
        self.reports: Reports | None = None
        self.why: Why | None = None
        self.cancelled = False
        """Somebody asked to cancel the job."""
        self.lost = False
        """The lease is gone: nothing more can be recorded."""
        self.over = False
        """The function has ended or was left behind: nothing more is heard of it."""
        self.overdue = False
        self.noticed = False
        """The function was told of the cancellation."""
        self.asked = False
        """The function was told that its time is up."""
        self.freed = False
        self.ended: Callable[[], None] | None = None
        self.concluded = False
        self.limit_at = self.cancel_at = self.kill_at = math.inf
        self.due = math.inf
        """The loop time of the next thing to do about it: the least of the three above."""

    def __repr__(self) -> str:
        return f"<Attempt {self.job.attempt} of job {self.job.id} ({self.job.task})>"

    @property
    def stale(self) -> bool:
        """What the function tells is not heard any more."""
        return self.lost or self.over

    @property
    def about(self) -> dict[str, object]:
        """What log records say of it."""
        job = self.job
        return {"job_id": job.id, "task_name": job.task, "queue": job.queue, "attempt": job.attempt}

    def stop(self, why: Why) -> None:
        """Note why the function is stopped, unless a weightier reason stands already."""
        if self.why is None or why.value > self.why.value:
            self.why = why
        self.lost = self.lost or why is Why.STALE

    def context(self, reports: Reports, settings: Settings | None) -> Context:
        """Return what the function sees of its job."""
        self.reports = reports
        return Context.of(self.job, self, settings)

    def tell(self, item: Item) -> None:
        """Pass it on to the reports."""
        if self.reports is None or self.over:
            raise Stale(f"job {self.job.id}: this attempt is over; nothing it tells is kept")
        self.reports.add(item)
