"""The client and what waits: limits, keys, pauses, changes, and failed jobs that are run again."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from user_fakes import KeepingEngine

from faena import AtOnce, Faena, JobRequest, Rate, Unique
from faena.client import Client
from faena.engines.direct import DirectEngine
from faena.errors import Conflict, InvalidOptions, KeyConflict, NotFound, UnknownSchedule
from faena.job import Failure, Idempotency, Job, Outcome, Status, Step
from faena.ports.records import Query
from faena.stores.memory import MemoryStore
from faena.testing.clock import FakeClock

NOW = 1_800_000_000.0
app = Faena("limited")
app.queue("press", at_once=1)


@app.task(rate="2/m")
def post(number: int = 0) -> None: ...


@app.task(at_once=AtOnce(1, per="tenant"))
def export(tenant: str) -> None: ...


@app.task(unique=Unique(by=("page",), on_conflict="replace"))
def index(page: int, deep: bool = False) -> None: ...


@app.task
def plain(number: int = 0) -> None: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
async def store(clock: FakeClock) -> AsyncIterator[MemoryStore]:
    store = MemoryStore(clock=clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def engine() -> KeepingEngine:
    return KeepingEngine()


@pytest.fixture
async def client(store: MemoryStore, engine: Any, clock: FakeClock) -> AsyncIterator[Client]:
    client = Client(store, engine, app.tasks, queues=app.queues, clock=clock)
    yield client
    await client.close()


def a_request(task: str = "plain", **fields: Any) -> JobRequest:
    return JobRequest(task=task, **fields)


async def some(client: Client, task: str, count: int, **fields: Any) -> list[Job]:
    requests = [a_request(task, args={"number": number}, **fields) for number in range(count)]
    return [inserted.job for inserted in await client.enqueue_many(requests)]


async def finish(store: MemoryStore, job: Job, step: Step = Step.COMPLETE) -> None:
    (claim,) = await store.claim([job.id], worker="w", lease=60, request=f"r-{job.id}-{step}")
    error = Failure(type="ValueError", message="boom") if step is Step.FAIL else None
    await store.finish([Outcome(job_id=job.id, token=claim.job.token, step=step, error=error)])


async def failed(client: Client, count: int, **fields: Any) -> list[Job]:
    jobs = await some(client, "plain", count, **fields)
    for job in jobs:
        await finish(client.store, job, Step.FAIL)  # type: ignore[arg-type]
    return jobs


async def test_only_what_may_go_is_delivered(client: Client, engine: KeepingEngine) -> None:
    jobs = await some(client, "post", 5)
    assert engine.ids == [job.id for job in jobs[:2]]
    later = (await client.enqueue(a_request("post"))).job
    assert later.id not in engine.ids


async def test_each_tenant_has_its_own_slot(client: Client, engine: KeepingEngine) -> None:
    jobs = [
        (await client.enqueue(a_request("export", args={"tenant": tenant}))).job.id
        for tenant in ("ada", "ada", "bob")
    ]
    assert engine.ids == [jobs[0], jobs[2]]


async def test_a_paused_job_is_delivered_when_it_is_resumed(client: Client, engine: KeepingEngine) -> None:
    assert await client.pause(queue="default")
    assert not await client.pause(queue="default")
    job = (await client.enqueue(a_request())).job
    assert engine.ids == []
    assert [paused.queue for paused in await client.paused()] == ["default"]
    assert await client.resume(queue="default")
    assert engine.ids == [job.id]
    assert not await client.resume(queue="default")


async def test_a_queue_or_a_task_is_paused_one_of_them(client: Client) -> None:
    for names in ({}, {"queue": "a", "task": "b"}):
        with pytest.raises(InvalidOptions, match="one of them"):
            await client.pause(**names)
        with pytest.raises(InvalidOptions, match="one of them"):
            await client.resume(**names)


async def test_a_conflict_says_who_holds_the_key_and_until_when(client: Client, store: MemoryStore) -> None:
    job = (await client.enqueue(a_request(args={"number": 1}, key="k", keep_key=600))).job
    with pytest.raises(
        KeyConflict, match=rf"'k' is held by job {job.id} with other arguments, which is pending"
    ):
        await client.enqueue(a_request(args={"number": 2}, key="k"))
    await finish(store, job)
    with pytest.raises(
        KeyConflict, match=r"which is completed and keeps it, until .* UTC .* at the latest: "
    ):
        await client.enqueue(a_request(args={"number": 2}, key="k"))
    with pytest.raises(KeyConflict, match="wait till then or take another key") as told:
        await client.enqueue(a_request(args={"number": 1}, key="k", on_conflict="refuse"))
    assert "other arguments" not in str(told.value)
    assert (told.value.key, told.value.job_id, told.value.task) == ("k", job.id, job.task)
    kept = (await client.get(job.id)).expires_at
    assert (told.value.status, told.value.held_until) == (Status.COMPLETED, kept)


async def test_a_key_that_is_kept_for_ever_says_so(client: Client, store: MemoryStore) -> None:
    job = (await client.enqueue(a_request(args={"number": 1}, key="k", keep_key="forever"))).job
    await finish(store, job)
    with pytest.raises(KeyConflict, match="is completed and keeps it for ever: take another key") as told:
        await client.enqueue(a_request(args={"number": 2}, key="k"))
    assert told.value.held_until is None


@pytest.mark.parametrize(
    ("unique", "named"),
    [
        ("args", "the key of task 'u' for page=1, deep=true is held by job "),
        (("page",), "the key of task 'u' for page=1 is held by job "),
        ("page", "the key of task 'u' for page=1 is held by job "),
        (lambda args: f"page-{args['page']}", "the key 'page-1' of task 'u' is held by job "),
        (lambda args: "x" * 500, "the key of task 'u', made of page=1, deep=true, is held by job "),
    ],
)
async def test_a_conflict_over_a_unique_job_tells_what_the_key_is_made_of(
    store: MemoryStore, unique: Any, named: str
) -> None:
    app = Faena()

    @app.task(name="u", unique=unique)
    async def task(page: int, deep: bool = False) -> None: ...

    client = Client(store, DirectEngine(), app.tasks)
    order = a_request("u", args={"page": 1, "deep": True}, on_conflict="refuse")
    job = (await client.enqueue(order)).job
    with pytest.raises(KeyConflict) as told:
        await client.enqueue(order)
    assert str(told.value) == (
        f"{named}{job.id}, which is pending and holds it at least until it ends: wait for it or cancel it"
    )
    await client.enqueue(a_request("u", args={"page": 2}, key="own"))
    with pytest.raises(KeyConflict, match=r"the key 'own' is held by .* or take another key"):
        await client.enqueue(a_request("u", args={"page": 3}, key="own"))


async def test_long_arguments_are_cut_in_what_a_conflict_tells(store: MemoryStore) -> None:
    app = Faena()

    @app.task(unique="args")
    async def task(text: str) -> None: ...

    client = Client(store, DirectEngine(), app.tasks)
    order = a_request("task", args={"text": "long" * 1000}, on_conflict="refuse")
    await client.enqueue(order)
    with pytest.raises(KeyConflict, match="…") as told:
        await client.enqueue(order)
    assert len(str(told.value)) < 300


@pytest.mark.parametrize("options", [{"keep_key": 60}, {"on_conflict": "replace"}])
async def test_what_a_key_does_is_refused_where_there_is_none(
    client: Client, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidOptions, match="this job has none: give it one"):
        await client.enqueue(a_request(args={"number": 1}, **options))


async def test_a_unique_job_takes_the_place_of_the_one_that_waits(client: Client, store: MemoryStore) -> None:
    old = (await client.enqueue(a_request("index", args={"page": 1}))).job
    new = (await client.enqueue(a_request("index", args={"page": 1, "deep": True}))).job
    assert (await client.get(old.id)).status is Status.CANCELLED
    assert new.status is Status.PENDING


async def test_a_debounced_job_waits_anew(client: Client, clock: FakeClock) -> None:
    request = a_request(key="k", on_conflict="debounce", delay=10)
    first = await client.enqueue(request)
    clock.advance(5)
    again = await client.enqueue(a_request(key="k", on_conflict="debounce", delay=10, args={"number": 9}))
    assert (again.job.id, again.duplicate) == (first.job.id, True)
    assert (again.job.due_at, again.job.args) == (NOW + 15, b'{"number":9}')


async def test_a_debounced_job_that_is_due_by_that_is_delivered(
    client: Client, engine: KeepingEngine
) -> None:
    first = await client.enqueue(a_request(key="k", delay=10))
    await client.enqueue(a_request(key="k", on_conflict="debounce"))
    assert engine.ids == [first.job.id]
    many = await client.enqueue_many([a_request(key="k", on_conflict="debounce", args={"number": 5})])
    assert (many[0].job.id, engine.ids) == (first.job.id, [first.job.id] * 2)


async def test_a_request_that_is_sent_again_is_answered_as_before(
    client: Client, engine: KeepingEngine
) -> None:
    same = Idempotency(key="i", digest="d", kept=60)
    first = await client.enqueue(a_request(idempotency=same))
    again = await client.enqueue(a_request(idempotency=same))
    assert (again.job.id, again.replayed) == (first.job.id, True)
    assert engine.ids == [first.job.id]
    other = Idempotency(key="i", digest="other", kept=60)
    with pytest.raises(KeyConflict, match=f"'i' was used for another request, which made job {first.job.id}"):
        await client.enqueue(a_request(idempotency=other))


async def test_a_bound_frees_the_key_of_a_job_that_lives_on(client: Client, clock: FakeClock) -> None:
    first = await client.enqueue(a_request(key="k", key_bound=timedelta(seconds=310)))
    assert (await client.enqueue(a_request(key="k"))).duplicate
    clock.advance(311)
    assert (await client.enqueue(a_request(key="k"))).job.id != first.job.id


async def test_a_waiting_job_gets_another_time_and_priority(client: Client, engine: KeepingEngine) -> None:
    job = (await client.enqueue(a_request(delay=60))).job
    assert (await client.change(job.id, priority=5)).priority == 5
    assert (await client.change(job.id, at=datetime.fromtimestamp(NOW + 90, UTC))).due_at == NOW + 90
    assert engine.ids == []
    assert (await client.change(job.id, delay=0)).status is Status.PENDING
    assert engine.ids == [job.id]


async def test_a_changed_job_that_is_limited_is_not_delivered(client: Client, engine: KeepingEngine) -> None:
    await some(client, "post", 3)
    job = (await client.enqueue(a_request("post", delay=60))).job
    await client.change(job.id, delay=0)
    assert job.id not in engine.ids


async def test_only_what_waits_can_be_changed(client: Client, store: MemoryStore) -> None:
    job = (await client.enqueue(a_request())).job
    with pytest.raises(InvalidOptions, match="nothing to change"):
        await client.change(job.id)
    with pytest.raises(InvalidOptions, match="priority=5000"):
        await client.change(job.id, priority=5000)
    await finish(store, job)
    with pytest.raises(Conflict, match="is completed: only one that waits"):
        await client.change(job.id, priority=1)
    with pytest.raises(NotFound):
        await client.change("nowhere", priority=1)


async def test_a_unique_job_is_run_again_without_its_key(client: Client, store: MemoryStore) -> None:
    job = (await client.enqueue(a_request("index", args={"page": 1}, keep_key=math.inf))).job
    await finish(store, job, Step.FAIL)
    again = (await client.retry(job.id)).job
    assert (again.key, again.origin) == (None, job.id)


async def test_failed_jobs_are_run_again_once(client: Client) -> None:
    jobs = await failed(client, 5)
    await some(client, "plain", 2)
    retried = await client.retry_many(Query())
    assert {job.origin for job in retried.jobs} == {job.id for job in jobs}
    assert retried.left == 0
    assert (await client.retry_many(Query())).jobs == ()


async def test_what_a_unique_task_does_with_a_conflict_is_not_done_to_jobs_that_are_run_again(
    client: Client, store: MemoryStore
) -> None:
    job = (await client.enqueue(a_request("index", args={"page": 1}))).job
    await finish(store, job, Step.FAIL)
    (again,) = (await client.retry_many(Query())).jobs
    assert (await client.retry_many(Query())).jobs == ()
    assert (await client.get(again.id)).status is Status.PENDING


async def test_failed_jobs_stay_run_again_when_the_new_ones_are_gone(
    client: Client, store: MemoryStore, clock: FakeClock
) -> None:
    await failed(client, 2)
    for job in (await client.retry_many(Query())).jobs:
        await finish(store, job)
    clock.advance(7200)  # beyond RESULT_TTL: not beyond FAILURE_TTL
    await store.prune(limit=100)
    assert (await client.retry_many(Query())).jobs == ()


async def test_a_canary_goes_first(client: Client, store: MemoryStore) -> None:
    await failed(client, 6)
    canary = await client.retry_many(Query(), canary=2)
    assert (len(canary.jobs), canary.left) == (2, 4)
    ids = [job.id for job in canary.jobs]
    with pytest.raises(Conflict, match=r"nothing was run again: job .* is pending"):
        await client.retry_many(Query(), after=ids)
    for job in canary.jobs:
        await finish(store, job)
    rest = await client.retry_many(Query(), after=ids)
    assert (len(rest.jobs), rest.left) == (4, 0)
    with pytest.raises(NotFound):
        await client.retry_many(Query(), after=["nowhere"])


async def test_only_failed_jobs_of_the_filter_are_run_again(client: Client) -> None:
    await failed(client, 2, queue="low")
    await failed(client, 3, queue="high")
    retried = await client.retry_many(Query(queues=("low",), statuses=(Status.COMPLETED,)), limit=1)
    assert ([job.queue for job in retried.jobs], retried.left) == (["low"], 1)
    with pytest.raises(InvalidOptions, match="canary=0"):
        await client.retry_many(Query(), canary=0)


async def test_failed_jobs_that_nobody_takes_any_more_are_left(client: Client, store: MemoryStore) -> None:
    jobs = await failed(client, 2)
    gone, changed = Faena(), Faena()

    @changed.task(name="plain")
    def takes_something_else(what: str) -> None: ...

    for other in (gone, changed):
        elsewhere = Client(store, client.engine, other.tasks)  # type: ignore[arg-type]
        retried = await elsewhere.retry_many(Query())
        assert (retried.jobs, retried.left) == ((), len(jobs))
        await elsewhere.close()


async def test_a_schedule_is_put_listed_run_and_dropped(client: Client, engine: KeepingEngine) -> None:
    schedule = await client.put_schedule("hourly", "plain", every=3600, args={"number": 1})
    assert (schedule.source, schedule.next_at) == ("api", NOW + 3600 - NOW % 3600)
    assert [one.name for one in await client.schedules()] == ["hourly"]
    first = await client.run_schedule("hourly")
    assert engine.ids == [first.job.id]
    assert (await client.run_schedule("hourly")).duplicate
    assert await client.next_ticks("hourly", 2) == [schedule.next_at, schedule.next_at + 3600]
    await client.drop_schedule("hourly")
    assert await client.schedules() == []


async def test_a_schedule_that_is_not_there_is_named(client: Client) -> None:
    await client.put_schedule("hourly", "plain", every=3600)
    with pytest.raises(UnknownSchedule, match="no schedule is named 'daily'; there are: hourly"):
        await client.run_schedule("daily")
    for verb in (client.pause_schedule, client.resume_schedule, client.drop_schedule):
        with pytest.raises(UnknownSchedule):
            await verb("daily")


async def test_ticks_that_pass_while_a_schedule_is_paused_are_not_made_up_for(
    client: Client, clock: FakeClock
) -> None:
    schedule = await client.put_schedule("hourly", "plain", every=3600)
    assert (await client.pause_schedule("hourly")).paused
    clock.advance(36000)
    resumed = await client.resume_schedule("hourly")
    assert schedule.next_at is not None
    assert (resumed.paused, resumed.next_at) == (False, schedule.next_at + 36000)


async def test_a_schedule_that_code_declares_is_not_put_by_hand(client: Client, store: MemoryStore) -> None:
    from faena.making import Maker
    from faena.timetable import Declared

    declared = Declared(name="nightly", task="plain", cron="@daily")
    made = declared.schedule(Maker(app.tasks, {}), now=NOW, source="code:shop:app")
    await store.put_schedules([made])
    with pytest.raises(Conflict, match="declared in the code of shop:app"):
        await client.put_schedule("nightly", "plain", every=60)


async def test_why_is_told(client: Client) -> None:
    jobs = await some(client, "post", 3)
    assert (await client.why(jobs[2].id)).job_id == jobs[2].id


def test_public_limits_are_values() -> None:
    assert Rate("10/m", per="host") == Rate("10/m", per="host")
    assert AtOnce(2) != AtOnce(3)
