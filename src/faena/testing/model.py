"""A model of a store: the rules of `faena.ports.store` in dicts, for the state machine to compare with.

It shares no code with any store, only the transition table. It keeps what a rule speaks of and nothing else. Where
a store may choose (which of two equals goes first), the machine tells the model what was chosen, and the model
says whether it was allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from faena.events import EventType
from faena.job import FINAL, WAITING, Gate, NewJob, OnConflict, Outcome, Status, Step, advance
from faena.ports.records import CancelResult, Held, Obstacles, Report
from faena.ports.store import StoreOptions
from faena.testing.model_job import ModelJob
from faena.testing.model_lines import ModelLines


@dataclass(frozen=True)
class Answer:
    """What an insert must answer for one job."""

    job_id: str
    duplicate: bool = False
    conflict: bool = False
    replayed: bool = False


class Model:
    """What a store must hold after the calls that were made."""

    def __init__(self, options: StoreOptions) -> None:
        self.jobs: dict[str, ModelJob] = {}
        self.lines = ModelLines(self.jobs)
        self.ever_told = 0
        self._options = options
        self._newest: dict[tuple[str, str], str] = {}
        """Who got a key last."""
        self._requests: dict[str, tuple[str, str, float, bool]] = {}
        """By the sender's key: the digest, who answered, and until when."""

    @property
    def now(self) -> float:
        """The store's time."""
        return self.lines.now

    def may_step_back(self, seconds: float) -> bool:
        """Tell whether the clock can be set back without asking again for a key or request that a store may have
        forgotten, since its time was over."""
        ends = [until for _, _, until, _ in self._requests.values()]
        for job in map(self.jobs.get, self._newest.values()):
            if job is not None:
                ends += [job.created_at + job.new.key_kept, job.created_at + (job.new.key_bound or 0.0)]
        return not any(self.now - seconds < end <= self.lines.latest_now for end in ends)

    # Enqueueing and changing

    def insert(self, new: NewJob) -> Answer:
        """Return the answer to one job."""
        if new.id in self.jobs:
            return Answer(new.id)
        if new.idempotency is None:
            return self._insert_by_key(new)
        digest, job_id, until, duplicate = self._requests.get(new.idempotency.key, ("", "", 0.0, False))
        if job_id in self.jobs and self.now < until:
            same = digest == new.idempotency.digest
            return Answer(job_id, replayed=same, conflict=not same, duplicate=same and duplicate)
        answer = self._insert_by_key(new)
        if not answer.conflict:
            until = self.now + new.idempotency.kept
            said = (new.idempotency.digest, answer.job_id, until, answer.duplicate)
            self._requests[new.idempotency.key] = said
            answering = self.jobs[answer.job_id]
            answering.answers_until = max(answering.answers_until, until)
            answering.expires_at = max(answering.expires_at, until)
        return answer

    def _insert_by_key(self, new: NewJob) -> Answer:
        holder_id = self._newest.get((new.task, new.key or ""), "") if new.key is not None else ""
        holder = self.jobs.get(holder_id)
        if holder is None or not holder.holds_key(self.now):
            return self._create(new)
        if holder.status in WAITING and new.on_conflict is OnConflict.REPLACE:
            holder.expires_at = holder.answers_until  # it has lost its key
            self._end(holder, Step.CANCEL)
            return self._create(new)
        if holder.status in WAITING and new.on_conflict is OnConflict.DEBOUNCE:
            self._move(holder, self.now + new.delay, args=new.args, priority=new.priority, gates=new.gates)
            return Answer(holder_id, duplicate=True)
        same = holder.new.args == new.args and new.on_conflict is not OnConflict.REFUSE
        return Answer(holder_id, duplicate=same, conflict=not same)

    def _create(self, new: NewJob) -> Answer:
        status = advance(None, Step.SCHEDULE if new.delay > 0 else Step.ENQUEUE)
        job = ModelJob(new, status, created_at=self.now, due_at=self.now + new.delay)
        job.expires_at = self.now + new.key_kept
        job.tell(EventType.STATUS)
        self.jobs[new.id] = job
        self._waits(job)
        if new.key is not None:
            self._newest[new.task, new.key] = new.id
        return Answer(new.id)

    def _waits(self, job: ModelJob) -> None:
        """A job may have become pending."""
        if job.status is Status.PENDING:
            job.given_out = not self.lines.is_held_back(job)
            self.lines.join(job)

    def change(self, job_id: str, *, priority: int | None, delay: float | None) -> bool:
        """Return whether a job takes a change over."""
        job = self.jobs.get(job_id)
        if job is None or job.status not in WAITING:
            return False
        changes = {} if priority is None else {"priority": priority}
        self._move(job, None if delay is None else self.now + delay, **changes)
        return True

    def _move(self, job: ModelJob, due_at: float | None, **changes: object) -> None:
        lane = job.lane
        job.new = msgspec.structs.replace(job.new, **changes)
        if due_at is not None:
            later = due_at > self.now
            job.due_at, job.status = due_at, Status.SCHEDULED if later else Status.PENDING
        job.tell(EventType.STATUS)
        job.given_out = None
        if job.status is Status.PENDING:
            aside = job.aside
            if job.lane != lane or due_at is not None:
                self.lines.join(job)
            job.aside = job.aside or aside

    # Taking

    def check_claimed(
        self, ids: Sequence[str], claimed: Sequence[str], *, lease: float, request: str
    ) -> None:
        """Fail unless a claim of ``ids`` may answer ``claimed``, and carry it out."""
        for job_id in dict.fromkeys(ids):
            job = self.jobs.get(job_id)
            if job is None or job.status is not Status.PENDING:
                assert job_id not in claimed
            elif job_id in claimed:
                assert self.lines.may_go(job, surely=False), f"{job} is paused or behind a closed gate"
                self.lines.served_otherwise(job)
                self._claim(job, lease=lease, request=request)
            else:
                assert not self.lines.may_go(job, surely=True), f"{job} may go"
                job.given_out = False
        assert list(claimed) == [job_id for job_id in dict.fromkeys(ids) if job_id in claimed]

    def check_next(
        self, queues: Collection[str], claimed: Sequence[str], *, limit: int, lease: float, request: str
    ) -> None:
        """Fail unless a claim of what is next may answer ``claimed``, and carry it out."""
        assert len(claimed) <= limit
        for job_id in claimed:
            job = self.jobs[job_id]
            assert job.status is Status.PENDING
            self.lines.check_pick(job, queues)
            self._claim(job, lease=lease, request=request)
        if len(claimed) < limit:
            self.lines.check_nothing_more(queues)

    def _claim(self, job: ModelJob, *, lease: float, request: str) -> None:
        job.attempt += 1
        job.token += 1
        job.progress, job.reported, job.message = 0.0, 0, None
        job.request, job.lease_until = request, self.now + lease
        self.lines.enter(job)
        job.take(Step.CLAIM)

    def check_obstacles(self, job_id: str, found: Obstacles | None) -> None:
        """Fail unless the obstacles of a job are true."""
        job = self.jobs.get(job_id)
        if job is None or job.status not in WAITING:
            assert found is None
            return
        assert found is not None
        assert found.queue_paused is ((job.new.queue, None) in self.lines.paused)
        assert found.task_paused is ((None, job.new.task) in self.lines.paused)
        if job.status is Status.SCHEDULED:
            assert found.due_in == max(0.0, job.due_at - self.now)
            return
        if found.gate is None:
            assert all(self.lines.is_open(gate, surely=False) for gate in job.new.gates)
        else:
            self._check_closed(job, found.gate)

    def _check_closed(self, job: ModelJob, gate: Gate) -> None:
        assert not self.lines.is_open(gate, surely=True)
        before = job.new.gates[: job.new.gates.index(gate)]
        assert all(self.lines.is_open(one, surely=False) for one in before)

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

    def started(self, job_id: str, token: int) -> Held:
        """Return the answer to a late start."""
        job = self.holder(job_id, token)
        if job is None:
            return Held(held=False)
        self.lines.enter(job)
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
            job.expires_at = max(job.expires_at, self.now + (default if ttl is None else ttl))
        self._waits(job)

    def promote(self) -> list[str]:
        """Return the jobs to deliver whose time has come."""
        due = [
            job_id
            for job_id, job in self.jobs.items()
            if job.status is Status.SCHEDULED and job.due_at <= self.now
        ]
        for job_id in due:
            self.jobs[job_id].take(Step.PROMOTE)
            self._waits(self.jobs[job_id])
        return [job_id for job_id in due if not self.lines.is_held_back(self.jobs[job_id])]

    def rescue(self) -> list[str]:
        """Return the jobs to deliver that are pending again."""
        expired = [
            job_id
            for job_id, job in self.jobs.items()
            if job.status is Status.PROCESSING and job.lease_until <= self.now
        ]
        for job in map(self.jobs.__getitem__, expired):
            job.crashes += 1
            too_often = job.crashes >= self._options.max_crashes
            self._end(job, Step.CANCEL if job.cancel_requested else Step.CRASH if too_often else Step.RESCUE)
        again = [job_id for job_id in expired if self.jobs[job_id].status is Status.PENDING]
        return [job_id for job_id in again if not self.lines.is_held_back(self.jobs[job_id])]

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
