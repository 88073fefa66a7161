"""A store and the model side by side, and what must hold after each call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from faena.events import Event
from faena.job import LIVE, Job, NewJob, Status
from faena.ports.records import Claim, Inserted
from faena.ports.store import Store
from faena.testing.clock import FakeClock
from faena.testing.desk import as_dict
from faena.testing.factories import JobFactory, a_schedule
from faena.testing.histories import AT_MOST, OPTIONS
from faena.testing.model import Answer, Model
from faena.testing.stores.base import MakeStore

Result = TypeVar("Result")

SAME = (
    "status",
    "attempt",
    "token",
    "crashes",
    "progress",
    "message",
    "cancel_requested",
    "due_at",
    "checkpoint",
    "result",
)
"""What a job and its model have in common."""


class SideBySide(RuleBasedStateMachine):
    """The base of the state machine: it has no rules of its own."""

    make_store: ClassVar[MakeStore]

    def __init__(self) -> None:
        super().__init__()
        self._clock = FakeClock()
        self._runner = asyncio.Runner()
        self._model = Model(OPTIONS)
        self._model.lines.set_clock(self._clock.now)
        self._jobs = JobFactory()
        self._made: list[NewJob] = []
        self._leases: list[tuple[str, int]] = []
        self._starts: dict[str, list[float]] = {}
        self._store: Store = type(self).make_store(options=OPTIONS, clock=self._clock)
        self._run(self._store.open())
        self._run(self._store.put_schedules([a_schedule()]))
        self._position = self._run(self._store.published(None, wait=0)).position
        self._told: dict[str, list[Event]] = {}

    def teardown(self) -> None:
        """Compare all that was told, then close."""
        try:
            self._read_log()
            self._check_stories()
        finally:
            self._run(self._store.close())
            self._runner.close()

    # What the rules share

    def _insert(self, new: list[NewJob]) -> None:
        self._made += new
        self._check_inserted(new, self._run(self._store.insert(new)))

    def _check_inserted(self, new: list[NewJob], inserted: list[Inserted]) -> list[Answer]:
        expected = [self._model.insert(one) for one in new]
        assert [Answer(one.job.id, one.duplicate, one.conflict, one.replayed) for one in inserted] == expected
        for one in inserted:
            back = self._model.lines.is_held_back(self._model.jobs[one.job.id])
            assert one.held_back is (one.job.status is Status.PENDING and back)
        return expected

    def _took(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._leases.append((claim.job.id, claim.job.token))
            for gate in self._model.jobs[claim.job.id].new.gates:
                starts = self._starts.setdefault(gate.name, [])
                starts.append(max([self._clock.now, *starts[-1:]]))

    # What must hold after each call

    @invariant()
    def jobs_are_as_the_model_says(self) -> None:
        ids = [new.id for new in self._made]
        jobs = self._run(self._store.get(ids))
        for job_id, job in zip(ids, jobs, strict=True):
            model = self._model.jobs.get(job_id)
            assert (job is None) == (model is None), f"{job_id}: the store has {job}, the model {model}"
            if job is not None and model is not None:
                for name in SAME:
                    assert getattr(job, name) == getattr(model, name), f"{name} of {job}, the model: {model}"
                assert (job.args, job.priority) == (model.new.args, model.new.priority)
                assert job.seq == len(model.events)
                assert job.attempt <= job.max_attempts
        self._check_limits({job.id: job for job in jobs if job is not None})

    def _check_limits(self, jobs: dict[str, Job]) -> None:
        """No gate lets more through than any of its rules, and no key has two holders: without the model's help."""
        gates = {new.id: new.gates for new in self._made}
        running = [job_id for job_id, job in jobs.items() if job.status is Status.PROCESSING]
        for name, gate in AT_MOST.items():
            behind = sum(name in (one.name for one in gates[job_id]) for job_id in running)
            assert gate.at_once is None or behind <= gate.at_once, f"{behind} run behind {name}"
            starts = self._starts.get(name, [])
            for window in gate.windows:
                for first, later in zip(starts, starts[window.count :], strict=False):
                    assert later - first >= window.period, f"{name} let more than {window} through"
        unbound = {new.id for new in self._made if new.key is not None and new.key_bound is None}
        live = [job for job in jobs.values() if job.id in unbound and job.status in LIVE]
        assert len({(job.task, job.key) for job in live}) == len(live), "a key has two holders"

    @invariant()
    def counts_are_as_the_model_says(self) -> None:
        assert as_dict(self._run(self._store.counts())) == self._model.counts()

    def _read_log(self) -> None:
        while (part := self._run(self._store.published(self._position, wait=0))).told:
            assert not part.gap
            self._position = part.position
            for one in part.told:
                self._told.setdefault(one.task_id, []).append(one.event)

    def _check_stories(self) -> None:
        """The stories and the log tell what the model tells, each event once and in order."""
        assert sum(map(len, self._told.values())) == self._model.ever_told + sum(
            len(model.events) for model in self._model.jobs.values()
        )
        for job_id, model in self._model.jobs.items():
            story = self._run(self._store.story(job_id))
            assert story is not None
            events = [(event.type, event.status, event.attempt, event.progress) for event in story.events]
            assert events == model.events
            assert [event.seq for event in story.events] == list(range(1, len(events) + 1))
            life = self._told[job_id][-len(events) :]  # an id that was pruned may have come back
            assert life == list(story.events)

    def _id(self, number: int) -> str:
        return self._made[-1 - number % len(self._made)].id

    def _lease(self, number: int) -> tuple[str, int]:
        return self._leases[-1 - number % len(self._leases)]

    def _run(self, call: Awaitable[Result]) -> Result:
        return self._runner.get_loop().run_until_complete(call)
