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

from faena.events import Event
from faena.job import LIVE, Job, NewJob, Outcome, Status
from faena.ports.store import CancelResult, Claim, Inserted, Lease, Report, Store
from faena.testing.clock import FakeClock
from faena.testing.desk import as_dict
from faena.testing.factories import JobFactory, a_schedule
from faena.testing.histories import (
    ALL,
    AT_MOST,
    BACK,
    FORWARD,
    OPTIONS,
    leases,
    new_jobs,
    numbers,
    outcomes,
    pauses,
    reports,
    several,
)
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


class StoreMachine(RuleBasedStateMachine):
    """A store and the model side by side. Use `drive`."""

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
        self._check_inserted(new, self._run(self._store.insert(new)))

    def _check_inserted(self, new: list[NewJob], inserted: list[Inserted]) -> list[Answer]:
        expected = [self._model.insert(one) for one in new]
        assert [
            Answer(one.job.id, one.duplicate, one.conflict, one.replayed, one.held_back) for one in inserted
        ] == expected
        return expected

    @precondition(lambda self: self._made)
    @rule(several=several, lease=leases, repeat=st.booleans())
    def claim(self, several: list[int], lease: int, repeat: bool) -> None:
        ids, request = [self._id(number) for number in several], self._jobs.id()
        claims = self._run(self._store.claim(ids, worker="w", lease=lease, request=request))
        claimed = [claim.job.id for claim in claims]
        self._model.check_claimed(ids, claimed, lease=lease, request=request)
        self._took(claims)
        if repeat:
            again = self._run(self._store.claim(claimed, worker="w", lease=lease, request=request))
            assert again == claims

    @rule(
        queues=st.sampled_from([("high", "default"), ("default",), ("default", "high")]),
        limit=st.integers(1, 6),
        lease=leases,
        repeat=st.booleans(),
    )
    def claim_next(self, queues: tuple[str, ...], limit: int, lease: int, repeat: bool) -> None:
        request = self._jobs.id()
        wanted: dict[str, Any] = {"worker": "w", "lease": lease, "limit": limit, "request": request}
        claims = self._run(self._store.claim_next(queues, **wanted))
        claimed = [claim.job.id for claim in claims]
        self._model.check_next(queues, claimed, limit=limit, lease=lease, request=request)
        self._took(claims)
        if repeat and claims:
            again = self._run(self._store.claim_next(queues, **wanted))
            assert {claim.job.id: claim for claim in again} == {claim.job.id: claim for claim in claims}

    def _took(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._leases.append((claim.job.id, claim.job.token))
            for gate in self._model.jobs[claim.job.id].new.gates:
                starts = self._starts.setdefault(gate.name, [])
                starts.append(max([self._clock.now, *starts[-1:]]))

    # Steering

    @rule(what=pauses, resume=st.booleans())
    def pause_or_resume(self, what: dict[str, str], resume: bool) -> None:
        queue, task = what.get("queue"), what.get("task")
        if resume:
            assert self._run(self._store.resume(**what)) is self._model.lines.resume(queue, task)
        else:
            assert self._run(self._store.pause(**what)) is self._model.lines.pause(queue, task)
        listed = {(one.queue, one.task) for one in self._run(self._store.paused())}
        assert listed == self._model.lines.paused

    @precondition(lambda self: self._model.lines.paused)
    @rule()
    def resume_all(self) -> None:
        for queue, task in sorted(self._model.lines.paused, key=str):
            assert self._run(self._store.resume(queue=queue, task=task))
            self._model.lines.resume(queue, task)

    @precondition(lambda self: self._made)
    @rule(
        number=numbers, priority=st.sampled_from([None, 0, 5]), delay=st.sampled_from([None, None, 0, 5, 30])
    )
    def change(self, number: int, priority: int | None, delay: float | None) -> None:
        job_id = self._id(number)
        answer = self._run(self._store.change(job_id, priority=priority, delay=delay))
        assert answer.changed is self._model.change(job_id, priority=priority, delay=delay)
        assert answer.job == self._run(self._store.get([job_id]))[0]

    @rule(limit=st.sampled_from([1, 3, ALL]))
    def admit(self, limit: int) -> None:
        admitted = self._run(self._store.admit(limit=limit)).deliveries
        assert len(admitted) <= limit
        for delivery in admitted:
            self._model.lines.check_admission(self._model.jobs[delivery.job_id])
        if len(admitted) < limit:
            self._model.lines.check_all_admitted()

    @precondition(lambda self: self._made)
    @rule(number=numbers)
    def ask_why(self, number: int) -> None:
        job_id = self._id(number)
        self._model.check_obstacles(job_id, self._run(self._store.obstacles(job_id)))

    @rule(
        late=st.sampled_from([0, 0, 0, 60]), options=st.lists(new_jobs, max_size=2), missed=st.integers(0, 1)
    )
    def tick(self, late: int, options: list[dict[str, Any]], missed: int) -> None:
        new = [self._jobs.new(**one) for one in options]
        (before,) = self._run(self._store.schedules())
        assert before.next_at is not None
        at = before.next_at + late
        inserted = self._run(self._store.tick(before.name, at=at, next_at=at + 60, jobs=new, missed=missed))
        (after,) = self._run(self._store.schedules())
        if late:
            assert inserted is None
            assert after == before
            return
        assert inserted is not None
        self._made += new
        answers = self._check_inserted(new, inserted)
        created = [one for one in answers if not (one.duplicate or one.conflict or one.replayed)]
        assert after.runs == before.runs + len(created)
        assert after.skipped == before.skipped + len(new) - len(created) + missed
        assert (after.next_at, after.last_at) == (at + 60, at)

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
        self._model.lines.set_clock(self._clock.now)

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
        async def wait() -> Result:
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
