"""The part of the model that says who may go: gates, pauses, lines and turns.

Where the port leaves an order open, or lets a store forget something while its clock is set back, a pick is allowed
by both readings: what *must* be free to go (by all of them) and what *may* (by one of them).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from faena.job import Gate, Status
from faena.testing.model_job import ModelJob

Lane = tuple[str, int, str, tuple[Gate, ...]]


@dataclass
class Turn:
    """When a lane was served last, at the earliest and at the latest, counted in services."""

    earliest: int
    latest: int


class ModelLines:
    """Who waits where, what is closed, whose turn it is. ``jobs`` are the model's own."""

    def __init__(self, jobs: Mapping[str, ModelJob]) -> None:
        self.now = 0.0
        self.paused: set[tuple[str | None, str | None]] = set()
        self.starts: defaultdict[str, list[float]] = defaultdict(list)
        self._jobs = jobs
        self.latest_now = 0.0
        self._services = 0
        self._turns: dict[Lane, Turn] = {}
        self._alternating: dict[tuple[str, int], bool | None] = {}
        """Of a queue and priority: was a plain job taken last, while both kinds could go (None: can't be told)?"""

    def set_clock(self, now: float) -> None:
        self.now = now
        self.latest_now = max(now, self.latest_now)

    # Pauses

    def pause(self, queue: str | None, task: str | None) -> bool:
        new = (queue, task) not in self.paused
        self.paused.add((queue, task))
        for job in self.pending():
            job.aside = job.aside or self._task_paused(job)
        return new

    def resume(self, queue: str | None, task: str | None) -> bool:
        known = (queue, task) in self.paused
        self.paused.discard((queue, task))
        return known

    def _task_paused(self, job: ModelJob) -> bool:
        return (None, job.new.task) in self.paused

    def is_paused(self, job: ModelJob) -> bool:
        return self._task_paused(job) or (job.new.queue, None) in self.paused

    def is_held_back(self, job: ModelJob) -> bool:
        return bool(job.new.gates) or self.is_paused(job)

    # Waiting

    def pending(self) -> list[ModelJob]:
        return [job for job in self._jobs.values() if job.status is Status.PENDING]

    def join(self, job: ModelJob) -> None:
        """A job is pending, or has moved to another place in line."""
        job.aside = self._task_paused(job)
        if job.new.gates and sum(other.lane == job.lane for other in self.pending()) == 1:
            turn = self._turns.setdefault(job.lane, Turn(self._services, self._services))
            turn.latest = self._services

    # Gates

    def is_open(self, gate: Gate, *, surely: bool, expected: int = 0) -> bool:
        """Tell whether a gate lets one more through. Not ``surely``: starts may be forgotten that no window saw at
        the latest time there was."""
        running = sum(
            job.status is Status.PROCESSING and gate.name in (one.name for one in job.new.gates)
            for job in self._jobs.values()
        )
        if gate.at_once is not None and running + expected >= gate.at_once:
            return False
        now = self.now if surely else self.latest_now
        return all(
            sum(at > now - window.period for at in self.starts[gate.name]) + expected < window.count
            for window in gate.windows
        )

    def may_go(self, job: ModelJob, *, surely: bool, expected: Mapping[str, int] | None = None) -> bool:
        given = expected or {}
        return not self.is_paused(job) and all(
            self.is_open(gate, surely=surely, expected=given.get(gate.name, 0)) for gate in job.new.gates
        )

    def enter(self, job: ModelJob) -> None:
        """A job passes its gates."""
        for gate in job.new.gates:
            if gate.windows:
                starts = self.starts[gate.name]
                starts.append(max([self.now, *starts[-1:]]))

    # Picks

    def check_pick(self, job: ModelJob, queues: Collection[str]) -> None:
        """Fail if it was not the job's turn, then note that its line was served. It must still be pending."""
        order = list(queues)
        assert job.new.queue in order
        assert self.may_go(job, surely=False), f"{job} was taken, and is paused or behind a closed gate"
        able = [other for other in self.pending() if self.may_go(other, surely=True)]
        rank = order.index(job.new.queue), -job.new.priority
        for other in able:
            if other.new.queue in order:
                assert (order.index(other.new.queue), -other.new.priority) >= rank, (
                    f"{other} goes before {job}"
                )
        able = [other for other in able if other.rank == job.rank]
        if job.aside:
            self._alternating[job.rank] = None
            return
        self._check_place(job, [other for other in able if not other.aside])
        self._check_turn(job, able)

    @staticmethod
    def _check_place(job: ModelJob, able: Iterable[ModelJob]) -> None:
        """Within a line the longer due goes first."""
        for other in able:
            if (other.lane == job.lane) if job.new.gates else not other.new.gates:
                assert other.due_at >= job.due_at, f"{other} goes before {job} in its line"

    def _check_turn(self, job: ModelJob, able: Collection[ModelJob]) -> None:
        """Plain jobs and lanes alternate, and of the lanes the one served longest ago goes first."""
        plain = not job.new.gates
        both = any(not other.new.gates and not other.aside for other in able) and any(
            other.new.gates for other in able
        )
        if both:
            assert self._alternating.get(job.rank) is not plain, f"it is not the turn of {job}"
        self._alternating[job.rank] = plain if both else None
        if plain:
            return
        mine = self._turns[job.lane]
        for lane in {other.lane for other in able if other.new.gates} - {job.lane}:
            assert self._turns[lane].latest >= mine.earliest, f"{lane} goes before {job.lane}"
        self._services += 1
        self._turns[job.lane] = Turn(self._services, self._services)

    def served_otherwise(self, job: ModelJob) -> None:
        """A job was given out or claimed by its id: whether that was a turn is the store's business."""
        self._services += 1
        self._alternating[job.rank] = None
        if job.new.gates:
            self._turns[job.lane].latest = self._services

    def check_nothing_more(self, queues: Collection[str]) -> None:
        """Fail if a job may go that nobody took."""
        for job in self.pending():
            assert job.new.queue not in queues or not self.may_go(job, surely=True), f"{job} was left behind"

    # Giving out

    def expected(self, *, at_most: bool) -> Counter[str]:
        """Count, by gate, the jobs that were given out and not yet claimed."""
        return Counter(
            gate.name
            for job in self.pending()
            if job.given_out or (at_most and job.given_out is None)
            for gate in job.new.gates
        )

    def check_admission(self, job: ModelJob) -> None:
        """Fail if a job was given out that is not held back or has no room, then note that it was."""
        assert job.status is Status.PENDING
        assert not job.given_out, f"{job} was given out before"
        room = self.expected(at_most=False)
        assert self.may_go(job, surely=False, expected=room), f"there is no room for {job}"
        job.given_out = True
        self.served_otherwise(job)

    def check_all_admitted(self) -> None:
        """Fail if a job is held back that there is room for."""
        room = self.expected(at_most=True)
        for job in self.pending():
            left = job.given_out is False and self.may_go(job, surely=True, expected=room)
            assert not left, f"{job} was not given out"
