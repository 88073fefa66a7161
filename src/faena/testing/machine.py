"""Any history of calls, in any order, late, stale and repeated: a store must do what the model does.

    def test_my_store_agrees_with_the_model(tmp_path):
        numbers = itertools.count()
        drive(lambda *, options, clock: MyStore(tmp_path / str(next(numbers)), options=options, clock=clock))

``FAENA_HISTORIES=5000`` in the environment makes a deep run, of other histories each time; without it a run is
short and always the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from faena.events import Event, EventType, NewEvent
from faena.job import OUTCOMES, Failure, NewJob, Outcome
from faena.ports.store import CancelResult, Claim, Lease, Report, Store, StoreOptions
from faena.testing.clock import FakeClock
from faena.testing.desk import as_dict
from faena.testing.factories import JobFactory
from faena.testing.model import Model
from faena.testing.stores.base import MakeStore

Answer = TypeVar("Answer")

ALL = 10_000
OPTIONS = StoreOptions(result_ttl=100, failure_ttl=500, max_crashes=2, max_events=ALL)
LOG = NewEvent(type=EventType.LOG, event="info", message="line")

# Delays and leases are whole seconds and clock steps never sum up to whole ones, so that nothing hangs on whether
# a time that is exactly now has come.
FORWARD = (0.001, 6.001, 31.001, 101.001, 600.001)
BACK = (2.0317, 45.0317)

numbers = st.integers(0, 30)
"""Which of the jobs, or leases, that there have been (counted from the latest)."""
several = st.lists(numbers, min_size=1, max_size=3)
new_jobs = st.fixed_dictionaries(
    {
        "task": st.sampled_from(["add", "resize"]),
        "args": st.sampled_from([b"1", b"2"]),
        "queue": st.sampled_from(["default", "high"]),
        "priority": st.sampled_from([0, 0, 5]),
        "delay": st.sampled_from([0, 0, 0, 5, 30]),
        "max_attempts": st.integers(1, 3),
        "key": st.sampled_from([None, None, "a", "b"]),
    }
)
reports = st.fixed_dictionaries(
    {
        "number": st.integers(1, 4),
        "progress": st.sampled_from([None, 0, 10, 50, 100]),
        "message": st.sampled_from([None, "one", "two"]),
        "events": st.sampled_from([(), (LOG,), (LOG, LOG)]),
        "checkpoint": st.sampled_from([None, b"1", b"2"]),
    }
)
outcomes = st.fixed_dictionaries(
    {
        "step": st.sampled_from(sorted(OUTCOMES)),
        "result": st.sampled_from([None, b"1"]),
        "error": st.sampled_from([None, Failure(type="ValueError", message="boom")]),
        "delay": st.sampled_from([0, 7, 40]),
        "ttl": st.sampled_from([None, 20]),
    }
)
leases = st.sampled_from([10, 60])


class StoreMachine(RuleBasedStateMachine):
    """A store and the model side by side. Use `drive`."""

    make_store: ClassVar[MakeStore]

    def __init__(self) -> None:
        super().__init__()
        self._clock = FakeClock()
        self._runner = asyncio.Runner()
        self._model = Model(OPTIONS)
        self._model.now = self._clock.now
        self._jobs = JobFactory()
        self._made: list[NewJob] = []
        self._leases: list[tuple[str, int]] = []
        self._store: Store = type(self).make_store(options=OPTIONS, clock=self._clock)
        self._run(self._store.open())
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

    # Enqueueing and taking

    @rule(several=st.lists(new_jobs, min_size=1, max_size=4))
    def insert(self, several: list[dict[str, Any]]) -> None:
        self._insert([self._jobs.new(**options) for options in several])

    @precondition(lambda self: self._made)
    @rule(number=numbers, options=new_jobs)
    def insert_again(self, number: int, options: dict[str, Any]) -> None:
        self._insert([self._made[-1 - number % len(self._made)], self._jobs.new(**options)])

    def _insert(self, new: list[NewJob]) -> None:
        self._made += new
        inserted = self._run(self._store.insert(new))
        answers = [(one.job.id, one.duplicate, one.conflict) for one in inserted]
        assert answers == [self._model.insert(one) for one in new]

    @precondition(lambda self: self._made)
    @rule(several=several, lease=leases, repeat=st.booleans())
    def claim(self, several: list[int], lease: int, repeat: bool) -> None:
        ids, request = [self._id(number) for number in several], self._jobs.id()
        expected = self._model.claimable(ids, request)
        claims = self._run(self._store.claim(ids, worker="w", lease=lease, request=request))
        assert [claim.job.id for claim in claims] == expected
        self._took(claims, lease, request)
        if repeat:
            assert self._run(self._store.claim(ids, worker="w", lease=lease, request=request)) == claims

    @rule(
        queues=st.sampled_from([("high", "default"), ("default",), ("default", "high")]),
        limit=st.integers(1, 4),
        lease=leases,
        repeat=st.booleans(),
    )
    def claim_next(self, queues: tuple[str, ...], limit: int, lease: int, repeat: bool) -> None:
        request = self._jobs.id()
        wanted: dict[str, Any] = {"worker": "w", "lease": lease, "limit": limit, "request": request}
        expected = self._model.next_turns(queues, limit)
        claims = self._run(self._store.claim_next(queues, **wanted))
        turns = [(queues.index(claim.job.queue), self._model.jobs[claim.job.id].turn) for claim in claims]
        assert turns == expected
        self._took(claims, lease, request)
        if repeat and claims:
            again = self._run(self._store.claim_next(queues, **wanted))
            assert {claim.job.id: claim for claim in again} == {claim.job.id: claim for claim in claims}

    def _took(self, claims: list[Claim], lease: int, request: str) -> None:
        for claim in claims:
            self._model.claim(claim.job.id, lease=lease, request=request)
            self._leases.append((claim.job.id, claim.job.token))

    # Writing, by holders old and new

    @precondition(lambda self: self._leases)
    @rule(several=several, lease=leases)
    def extend(self, several: list[int], lease: int) -> None:
        asked = [self._lease(number) for number in several]
        held = self._run(
            self._store.extend([Lease(job_id=job_id, token=token) for job_id, token in asked], lease=lease)
        )
        assert held == [self._model.extend(job_id, token, lease=lease) for job_id, token in asked]

    @precondition(lambda self: self._leases)
    @rule(told=st.lists(st.tuples(numbers, reports), min_size=1, max_size=3))
    def report(self, told: list[tuple[int, dict[str, Any]]]) -> None:
        made = []
        for number, parts in told:
            job_id, token = self._lease(number)
            made.append(Report(job_id=job_id, token=token, **parts))
        assert self._run(self._store.report(made)) == [self._model.report(one) for one in made]

    @precondition(lambda self: self._leases)
    @rule(ended=st.lists(st.tuples(numbers, outcomes), min_size=1, max_size=3), repeat=st.booleans())
    def finish(self, ended: list[tuple[int, dict[str, Any]]], repeat: bool) -> None:
        made = []
        for number, parts in ended:
            job_id, token = self._lease(number)
            made.append(Outcome(job_id=job_id, token=token, **parts))
        for _ in range(1 + repeat):
            accepted = self._run(self._store.finish(made))
            for answer, expected in zip(accepted, map(self._model.finish, made), strict=True):
                assert expected is None or answer is expected

    # Calling off and upkeep

    @precondition(lambda self: self._made)
    @rule(several=several)
    def cancel(self, several: list[int]) -> None:
        ids = [self._id(number) for number in several]
        answers: list[CancelResult] = self._run(self._store.cancel(ids))
        assert answers == [self._model.cancel(job_id) for job_id in ids]

    @rule(queue=st.sampled_from(["default", "high"]))
    def purge(self, queue: str) -> None:
        assert self._run(self._store.purge(queue, limit=ALL)) == self._model.purge(queue)

    @rule(seconds=st.sampled_from(FORWARD + BACK))
    def set_the_clock(self, seconds: float) -> None:
        self._clock.advance(-seconds if seconds in BACK else seconds)
        self._model.now = self._clock.now

    @precondition(lambda self: self._leases)
    @rule()
    def let_leases_expire(self) -> None:
        self.set_the_clock(101.001)
        self.rescue()

    @rule()
    def rescue(self) -> None:
        rescued = self._run(self._store.rescue(limit=ALL))
        assert sorted(one.job_id for one in rescued) == sorted(self._model.rescue())

    @rule()
    def promote(self) -> None:
        promoted = self._run(self._store.promote(limit=ALL))
        assert sorted(one.job_id for one in promoted.deliveries) == sorted(self._model.promote())

    @rule()
    def prune(self) -> None:
        self._read_log()  # a store may forget old parts of its log now
        assert self._run(self._store.prune(limit=ALL)) == self._model.prune()

    # What must hold after each call

    @invariant()
    def jobs_are_as_the_model_says(self) -> None:
        ids = [new.id for new in self._made]
        for job_id, job in zip(ids, self._run(self._store.get(ids)), strict=True):
            model = self._model.jobs.get(job_id)
            assert (job is None) == (model is None), f"{job_id}: the store has {job}, the model {model}"
            if job is not None and model is not None:
                for name in (
                    "status",
                    "attempt",
                    "token",
                    "crashes",
                    "progress",
                    "message",
                    "cancel_requested",
                ):
                    assert getattr(job, name) == getattr(model, name), f"{name} of {job}, the model: {model}"
                assert (job.seq, job.due_at) == (len(model.events), model.due_at)
                assert (job.checkpoint, job.result) == (model.checkpoint, model.result)
                assert job.attempt <= job.max_attempts

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

    def _run(self, call: Awaitable[Answer]) -> Answer:
        async def wait() -> Answer:
            return await call

        return self._runner.run(wait())


def drive(make_store: MakeStore, *, histories: int = 150, shrink: bool = True) -> None:
    """Compare a store with the model over random histories; raises with the shortest history that differs.

    ``make_store`` returns a store that is not open, on new and empty data, at each call. Without ``shrink`` the
    first history that differs is told as it was found.
    """

    class Machine(StoreMachine):
        pass

    Machine.make_store = staticmethod(make_store)
    run_state_machine_as_test(Machine, settings=_settings(histories, shrink))


def _settings(histories: int, shrink: bool) -> settings:
    deep = os.environ.get("FAENA_HISTORIES")
    return settings(
        max_examples=int(deep) if deep else histories,
        derandomize=not deep,
        stateful_step_count=40,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        print_blob=bool(deep),
    )
