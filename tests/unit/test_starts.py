"""Functions of limited jobs that are called late: their start is counted anew, and nobody starves for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

import crew_kit
from faena import starts as starts_module
from faena.errors import StoreDown
from faena.executor import Executor
from faena.isolation.pool import Child, Pool
from faena.job import Gate, Job, Status
from faena.ports.records import Claim, Held, Lease
from faena.starts import BACK_IN_A_ROW, KNOWN_AFTER, TRIES, RoundTrips, Start, Timing
from faena.stores.memory import MemoryStore
from faena.testing.factories import JobFactory, at_once, rate

LONG = rate((1000, 60))
SHORT = rate((1000, 1.04))


class Clock:
    """The monotonic clock of what counts starts; it stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched(MemoryStore):
    """Notes what is counted anew."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.anew: list[str] = []
        self.takes = 0.0
        self.answer: Held | StoreDown | None = None

    async def started(self, leases: Sequence[Lease]) -> list[Held]:
        self.anew += [lease.job_id for lease in leases]
        held = await super().started(leases)
        self.clock.now += self.takes
        if isinstance(self.answer, StoreDown):
            raise self.answer
        return held if self.answer is None else [self.answer]


class SlowPool(Pool):
    """Its children take half a second to start."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("crew_kit:app")
        self._clock = clock

    async def take(self) -> Child:
        child = await super().take()
        self._clock.now += 0.5
        return child


class Bench:
    """An executor, and a clock that only the test moves."""

    def __init__(self, clock: Clock, store: Watched, pool: Pool) -> None:
        self.clock, self.store = clock, store
        self.released: list[Job] = []
        self.executor = Executor(
            tasks=crew_kit.app.tasks,
            store=store,
            settings=None,
            pool=pool,
            slots=4,
            on_change=lambda: None,
            on_released=self.released.append,
        )
        self._jobs = JobFactory()

    async def run(
        self,
        *gates: Gate,
        late: float = 0.0,
        task: str = "add",
        args: bytes = b'{"a": 1}',
        trips: RoundTrips | None = None,
    ) -> Job:
        """Claim a job, and have it run when so many seconds have passed since the claim was asked for."""
        job = self._jobs.new(task=task, args=args, gates=gates)
        await self.store.insert([job])
        (claim,) = await self.claim(job.id)
        timing = Timing(asked=self.clock.now, lease_until=self.clock.now + 60, trips=trips or RoundTrips())
        self.clock.now += late
        await self.executor.execute(claim, timing)
        (stored,) = await self.store.get([job.id])
        assert stored is not None
        return stored

    async def claim(self, job_id: str) -> list[Claim]:
        return await self.store.claim([job_id], worker="w", lease=60, request=job_id)


@pytest_asyncio.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    clock = Clock()
    monkeypatch.setattr(starts_module, "monotonic", clock)
    store, pool = Watched(clock), SlowPool(clock)
    await store.open()
    bench = Bench(clock, store, pool)
    yield bench
    bench.executor.close()
    await pool.close()
    await store.close()


@pytest.mark.parametrize("task", ["add", "plain_add"])
async def test_a_prompt_call_is_not_counted_anew(bench: Bench, task: str) -> None:
    job = await bench.run(LONG, late=0.2, task=task)
    assert (job.status, bench.store.anew) == (Status.COMPLETED, [])


@pytest.mark.parametrize("task", ["add", "plain_add"])
async def test_a_late_call_is_counted_anew_once(bench: Bench, task: str) -> None:
    job = await bench.run(LONG, late=0.3, task=task)
    assert (job.status, bench.store.anew) == (Status.COMPLETED, [job.id])


@pytest.mark.parametrize("gates", [(), (at_once(2),)])
async def test_a_job_without_a_rate_may_be_called_at_any_time(bench: Bench, gates: tuple[Gate, ...]) -> None:
    job = await bench.run(*gates, late=30)
    assert (job.status, bench.store.anew) == (Status.COMPLETED, [])


async def test_a_thread_that_begins_late_has_the_start_counted_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = bench.executor.threads
    start, begun = threads.start, 0

    def start_late(function: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun == 1:
            bench.clock.now += 0.3
        return start(function)

    monkeypatch.setattr(threads, "start", start_late)
    job = await bench.run(LONG, task="plain_add")
    assert (job.result, bench.store.anew, begun) == (b"3", [job.id], 2)


async def test_the_time_that_a_child_process_takes_to_start_counts(bench: Bench) -> None:
    job = await bench.run(LONG, task="child_async_add")
    assert (job.result, bench.store.anew) == (b"3", [job.id])


async def test_a_slow_way_to_the_store_makes_no_call_late(bench: Bench) -> None:
    trips = RoundTrips()
    for _ in range(KNOWN_AFTER):
        trips.note(0.5)
    prompt = await bench.run(LONG, late=0.7, trips=trips)
    assert (prompt.status, bench.store.anew) == (Status.COMPLETED, [])
    late = await bench.run(LONG, late=0.8, trips=trips)
    assert (late.status, bench.store.anew) == (Status.COMPLETED, [late.id])


def test_the_first_round_trips_of_a_process_may_be_long_by_chance() -> None:
    trips = RoundTrips()
    for _ in range(KNOWN_AFTER - 1):
        trips.note(0.5)
        assert trips.shortest == 0
    trips.note(0.01)
    assert trips.shortest == 0.01


def test_a_store_that_moved_away_is_known_to_be_there_after_a_while() -> None:
    trips = RoundTrips()
    for took in [0.001] * KNOWN_AFTER + [0.05] * 500:
        trips.note(took)
    assert trips.shortest == 0.05


async def test_a_call_that_is_late_again_and_again_takes_place_in_the_end(bench: Bench) -> None:
    bench.store.takes = 0.3
    job = await bench.run(LONG, late=0.3)
    assert (job.status, bench.store.anew) == (Status.COMPLETED, [job.id] * TRIES)


async def test_an_attempt_that_lost_its_lease_meanwhile_is_not_called(bench: Bench) -> None:
    bench.store.answer = Held(held=False)
    job = await bench.run(LONG, late=0.3)
    assert (job.status, job.token) == (Status.PROCESSING, 1)
    assert not bench.executor.running


async def test_a_late_call_is_handed_back_while_the_store_is_down(bench: Bench) -> None:
    bench.store.answer = StoreDown("it is being restarted")
    job = await bench.run(LONG, late=0.3)
    assert (job.status, job.attempt) == (Status.PENDING, 0)
    assert [one.id for one in bench.released] == [job.id]


async def test_a_cancellation_that_is_told_with_it_reaches_the_function(bench: Bench) -> None:
    bench.store.answer = Held(held=True, cancel_requested=True)
    job = await bench.run(LONG, late=0.3, task="heeds_cancellation", args=b"{}")
    assert job.status is Status.CANCELLED


async def test_a_call_after_its_period_is_handed_back(bench: Bench) -> None:
    job = await bench.run(SHORT, late=1.1)
    assert (job.status, job.attempt, bench.store.anew) == (Status.PENDING, 0, [])
    assert [one.id for one in bench.released] == [job.id]


async def test_a_machine_that_is_always_too_slow_calls_all_the_same(bench: Bench) -> None:
    for _ in range(BACK_IN_A_ROW):
        assert (await bench.run(SHORT, late=1.1)).status is Status.PENDING
    job = await bench.run(SHORT, late=1.1)
    assert (job.status, bench.store.anew) == (Status.COMPLETED, [job.id])


def test_a_start_of_a_long_period_lapses_never(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(starts_module, "monotonic", clock)
    start = Start(Timing(asked=clock.now, lease_until=clock.now + 60), 0.25)
    clock.now += 59
    assert start.late
    assert not start.lapsed
