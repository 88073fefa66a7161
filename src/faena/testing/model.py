"""A model of a store: the rules of `faena.ports.store` in dicts, for the state machine to compare with.

It shares no code with any store, only the transition table. It keeps what a rule speaks of and nothing else. Where
a store may choose (which of two equals goes first), the machine tells the model what was chosen, and the model
says whether it was allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from faena.events import EventType
from faena.job import FINAL, GIVES_BACK, LIVE, WAITING, NewJob, Outcome, Status, Step, advance
from faena.ports.store import CancelResult, Held, Report, StoreOptions

Told = tuple[EventType, Status, int, float]
"""What the model knows of an event: its type, and the job's status, attempt and progress."""


@dataclass
class ModelJob:
    """What the rules say of one job."""

    new: NewJob
    status: Status
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
    request: str | None = None
    reported: int = 0
    accepted: dict[int, Step] = field(default_factory=dict)
    """The outcome that was accepted under each token."""
    events: list[Told] = field(default_factory=list)

    @property
    def turn(self) -> tuple[int, float]:
        """Where the job stands among those of its queue."""
        return -self.new.priority, self.due_at

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


class Model:
    """What a store must hold after the calls that were made."""

    def __init__(self, options: StoreOptions) -> None:
        self.now = 0.0
        self.jobs: dict[str, ModelJob] = {}
        self.ever_told = 0
        self._options = options

    def insert(self, new: NewJob) -> tuple[str, bool, bool]:
        """Return the id of the job that answers, whether it is a duplicate, whether it is a conflict."""
        if new.id in self.jobs:
            return new.id, False, False
        for job_id, job in self.jobs.items():
            if (
                new.key is not None
                and job.status in LIVE
                and (job.new.task, job.new.key) == (new.task, new.key)
            ):
                return job_id, job.new.args == new.args, job.new.args != new.args
        later = new.delay > 0
        job = ModelJob(new, advance(None, Step.SCHEDULE if later else Step.ENQUEUE), self.now + new.delay)
        job.tell(EventType.STATUS)
        self.jobs[new.id] = job
        return new.id, False, False

    def claimable(self, ids: Sequence[str], request: str) -> list[str]:
        """Return what a claim of ``ids`` must answer."""
        if held := self.held_by(request):
            return held
        known = dict.fromkeys(job_id for job_id in ids if job_id in self.jobs)
        return [job_id for job_id in known if self.jobs[job_id].status is Status.PENDING]

    def next_turns(self, queues: Sequence[str], limit: int) -> list[tuple[int, tuple[int, float]]]:
        """Return the turns (queue by queue) of the jobs that a claim of the next ones must take."""
        pending = [
            job for job in self.jobs.values() if job.status is Status.PENDING and job.new.queue in queues
        ]
        return sorted((queues.index(job.new.queue), job.turn) for job in pending)[:limit]

    def held_by(self, request: str) -> list[str]:
        """Return the jobs that a request took and still holds."""
        return [
            job_id
            for job_id, job in self.jobs.items()
            if job.request == request and job.status is Status.PROCESSING
        ]

    def claim(self, job_id: str, *, lease: float, request: str) -> None:
        """A job was taken."""
        job = self.jobs[job_id]
        job.attempt += 1
        job.token += 1
        job.progress, job.reported, job.message = 0.0, 0, None
        job.request, job.lease_until = request, self.now + lease
        job.take(Step.CLAIM)

    def holder(self, job_id: str, token: int) -> ModelJob | None:
        """Return the job if that token may write."""
        job = self.jobs.get(job_id)
        return job if job and job.token == token and job.status is Status.PROCESSING else None

    def extend(self, job_id: str, token: int, *, lease: float) -> Held:
        """Return the answer to an extension."""
        job = self.holder(job_id, token)
        if job is None:
            return Held(held=False)
        job.lease_until = self.now + lease
        return Held(held=True, cancel_requested=job.cancel_requested)

    def report(self, report: Report) -> Held:
        """Return the answer to a report."""
        job = self.holder(report.job_id, report.token)
        if job is None:
            return Held(held=False)
        if report.number > job.reported:
            job.reported = report.number
            self._record(job, report)
        return Held(held=True, cancel_requested=job.cancel_requested)

    @staticmethod
    def _record(job: ModelJob, report: Report) -> None:
        before = job.progress, job.message
        job.progress = max(job.progress, report.progress or 0.0)
        job.message = job.message if report.message is None else report.message
        job.checkpoint = job.checkpoint if report.checkpoint is None else report.checkpoint
        if (job.progress, job.message) != before:
            job.tell(EventType.PROGRESS)
        for event in report.events:
            job.tell(event.type)

    def finish(self, outcome: Outcome) -> bool | None:
        """Return the answer to an outcome; None: a repeat from before the last claim, which may be either."""
        job = self.holder(outcome.job_id, outcome.token)
        if job is None:
            return self._repeated(outcome)
        job.accepted[outcome.token] = outcome.step
        step = outcome.step
        if job.cancel_requested and step in (Step.RETRY, Step.SNOOZE, Step.RELEASE):
            step = Step.CANCEL
        elif step is Step.RETRY and job.attempt >= job.new.max_attempts:
            step = Step.FAIL
        if step is Step.COMPLETE:
            job.progress, job.result = 100.0, outcome.result
        self._end(job, step, ttl=outcome.ttl, delay=outcome.delay)
        return True

    def _repeated(self, outcome: Outcome) -> bool | None:
        job = self.jobs.get(outcome.job_id)
        if job is None or job.accepted.get(outcome.token) is not outcome.step:
            return False
        return True if job.token == outcome.token else None

    def _end(self, job: ModelJob, step: Step, *, ttl: float | None = None, delay: float = 0.0) -> None:
        if step in (Step.RETRY, Step.SNOOZE):
            job.due_at = self.now + delay
        job.take(step)
        if job.status.final:
            failed = job.status is Status.FAILED
            default = self._options.failure_ttl if failed else self._options.result_ttl
            job.expires_at = self.now + (default if ttl is None else ttl)

    def promote(self) -> list[str]:
        """Return the jobs whose time has come."""
        due = [
            job_id
            for job_id, job in self.jobs.items()
            if job.status is Status.SCHEDULED and job.due_at <= self.now
        ]
        for job_id in due:
            self.jobs[job_id].take(Step.PROMOTE)
        return due

    def rescue(self) -> list[str]:
        """Return the jobs that are pending again."""
        expired = [
            job_id
            for job_id, job in self.jobs.items()
            if job.status is Status.PROCESSING and job.lease_until <= self.now
        ]
        for job in map(self.jobs.__getitem__, expired):
            job.crashes += 1
            too_often = job.crashes >= self._options.max_crashes
            self._end(job, Step.CANCEL if job.cancel_requested else Step.CRASH if too_often else Step.RESCUE)
        return [job_id for job_id in expired if self.jobs[job_id].status is Status.PENDING]

    def cancel(self, job_id: str) -> CancelResult:
        """Return the answer to a cancellation."""
        job = self.jobs.get(job_id)
        if job is None:
            return CancelResult.UNKNOWN
        if job.status.final:
            return CancelResult.FINAL
        if job.status in WAITING:
            self._end(job, Step.CANCEL)
            return CancelResult.CANCELLED
        if not job.cancel_requested:
            job.cancel_requested = True
            job.tell(EventType.STATUS)
        return CancelResult.REQUESTED

    def purge(self, queue: str) -> int:
        """Return how many were cancelled."""
        waiting = [job for job in self.jobs.values() if job.status in WAITING and job.new.queue == queue]
        for job in waiting:
            self._end(job, Step.CANCEL)
        return len(waiting)

    def prune(self) -> int:
        """Return how many were deleted."""
        over = [
            job_id for job_id, job in self.jobs.items() if job.status in FINAL and job.expires_at <= self.now
        ]
        for job_id in over:
            self.ever_told += len(self.jobs.pop(job_id).events)
        return len(over)

    def counts(self) -> dict[tuple[str, str, Status], int]:
        """Count the jobs by queue, task and status."""
        return dict(Counter((job.new.queue, job.new.task, job.status) for job in self.jobs.values()))
