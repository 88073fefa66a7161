"""Any history of calls, in any order, late, stale and repeated: a store must do what the model does.

    def test_my_store_agrees_with_the_model(tmp_path):
        numbers = itertools.count()
        drive(lambda *, options, clock: MyStore(tmp_path / str(next(numbers)), options=options, clock=clock))

``FAENA_HISTORIES=5000`` in the environment makes a deep run, of other histories each time; without it a run is
short and always the same.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from faena.job import Outcome
from faena.ports.records import CancelResult, Lease, Report
from faena.testing.histories import (
    ALL,
    BACK,
    FORWARD,
    crowds,
    leases,
    new_jobs,
    numbers,
    outcomes,
    pauses,
    queues,
    reports,
    several,
)
from faena.testing.side_by_side import SideBySide
from faena.testing.stores.base import MakeStore


class StoreMachine(SideBySide):
    """A store and the model side by side. Use `drive`."""

    # Enqueueing and taking

    @initialize(likes=st.lists(crowds, min_size=1, max_size=4), several=st.lists(new_jobs, max_size=3))
    def begin(self, likes: list[dict[str, Any]], several: list[dict[str, Any]]) -> None:
        for like in likes:
            self._insert(self._jobs.several(5, **like))
        self._insert([self._jobs.new(**options) for options in several])

    @rule(several=st.lists(new_jobs, min_size=1, max_size=4))
    def insert(self, several: list[dict[str, Any]]) -> None:
        self._insert([self._jobs.new(**options) for options in several])

    @rule(count=st.integers(3, 8), like=crowds)
    def insert_a_crowd(self, count: int, like: dict[str, Any]) -> None:
        self._insert(self._jobs.several(count, **like))

    @precondition(lambda self: self._made)
    @rule(number=numbers, options=new_jobs)
    def insert_again(self, number: int, options: dict[str, Any]) -> None:
        self._insert([self._made[-1 - number % len(self._made)], self._jobs.new(**options)])

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

    @rule(queues=queues, limit=st.sampled_from([1, 2, 3, 5, 20]), lease=leases, repeat=st.booleans())
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

    @rule(queues=queues, times=st.integers(2, 8))
    def claim_one_by_one(self, queues: tuple[str, ...], times: int) -> None:
        for _ in range(times):
            self.claim_next(queues=queues, limit=1, lease=60, repeat=False)

    @rule(queues=queues, limit=st.sampled_from([2, 5]), parts=outcomes)
    def claim_and_finish(self, queues: tuple[str, ...], limit: int, parts: dict[str, Any]) -> None:
        before = len(self._leases)
        self.claim_next(queues=queues, limit=limit, lease=60, repeat=False)
        if taken := len(self._leases) - before:
            self.finish(ended=[(number, parts) for number in range(taken)], repeat=False)

    # Steering

    @rule(what=pauses, resume=st.sampled_from([True, True, False]))
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
    @rule(several=st.lists(numbers, min_size=1, max_size=3, unique=True))
    def start_late(self, several: list[int]) -> None:
        asked = list(dict.fromkeys(self._lease(number) for number in several))
        held = self._run(self._store.started([Lease(job_id=job_id, token=token) for job_id, token in asked]))
        assert held == [self._model.started(job_id, token) for job_id, token in asked]

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
        if seconds in BACK and not self._model.may_step_back(seconds):
            return
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


def drive(make_store: MakeStore, *, histories: int = 60, shrink: bool = True) -> None:
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
