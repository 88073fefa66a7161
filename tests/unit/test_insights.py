"""Why a job is not running: every answer, from real stores."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.redis_kit import empty_redis, redis_server

from faena.api.steering import why_answer
from faena.engines.direct import DirectEngine
from faena.errors import EngineDown, JobCancelled, NotFound
from faena.insights import Reason, Why, unlisted_tasks, why
from faena.job import Failure, Job, Status, Step
from faena.outcomes import unknown
from faena.ports.engine import Capabilities
from faena.ports.records import Count
from faena.ports.store import Store
from faena.stores.memory import MemoryStore
from faena.stores.sqlite.store import SQLiteStore
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.factories import JobFactory, a_worker, at_once, rate

__all__ = ["empty_redis", "redis_server"]


class Transport(DirectEngine):
    """An engine that delivers, is up or down, and holds so many messages."""

    name = "transport"
    capabilities = Capabilities(delivers=True, queue_order=True, priority=True, separate_processes=True)

    def __init__(self, *, messages: int = 0, down: bool = False) -> None:
        self.messages = messages
        self.down = down

    def ping(self) -> None:
        if self.down:
            raise EngineDown("connection refused")

    def depth(self, queue: str) -> int:
        return self.messages


def make_store(kind: str, request: pytest.FixtureRequest, clock: FakeClock) -> Store:
    if kind == "memory":
        return MemoryStore(clock=clock)
    if kind == "sqlite":
        path: Path = request.getfixturevalue("tmp_path")
        return SQLiteStore(path / "faena.db", clock=clock)
    from faena.stores.redis.store import RedisStore

    return RedisStore(request.getfixturevalue("empty_redis").socket_url, clock=clock)


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    clock = FakeClock(time.time())
    store = make_store(request.param, request, clock)
    await store.open()
    yield Desk(store, clock, JobFactory())
    await store.close()


Ask = Callable[..., Any]


@pytest.fixture
def ask(desk: Desk) -> Ask:
    async def asker(
        job: Job, *, engine: DirectEngine | None = None, tasks: tuple[str, ...] = ("add",)
    ) -> Why:
        told = await why(desk.store, engine or DirectEngine(), dict.fromkeys(tasks), job.id)
        assert (
            json.loads(why_answer(told).model_dump_json())["facts"] == told.facts
        )  # as HTTP and --json tell it
        return told

    return asker


async def hire(desk: Desk, **fields: Any) -> None:
    """Let a worker be alive, with room and with the task of these tests."""
    await desk.store.beat(a_worker(**{"tasks": ("add",), **fields}), ttl=60)


async def test_a_job_that_is_not_there_is_not_found(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await why(desk.store, DirectEngine(), {}, "018f0000-0000-7000-8000-00000000ffff")


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
async def test_a_job_that_has_ended_says_how_and_when(desk: Desk, ask: Ask, status: Status) -> None:
    job = await desk.in_status(status)
    told = await ask(job)
    assert (told.reason, told.status) == (Reason.ENDED, status)
    assert f"it has ended: {status} " in told.text
    assert told.facts["finished_at"] == job.finished_at
    assert ("ValueError: boom" in told.text) == (status is Status.FAILED)


async def test_a_running_job_names_its_worker(desk: Desk, ask: Ask) -> None:
    job = await desk.running()
    await hire(desk, id="w", running=(job.id,))
    told = await ask(job)
    assert told.reason is Reason.RUNNING
    assert told.text.startswith("it is running, on worker w, since ")
    assert "heard" not in told.text
    await desk.store.cancel([job.id])
    assert "has been asked to stop it" in (await ask(job)).text


async def test_a_job_whose_worker_is_gone_says_what_becomes_of_it(desk: Desk, ask: Ask) -> None:
    job = await desk.running()
    told = await ask(job)
    assert "that worker has not been heard of lately" in told.text
    assert told.text.endswith("it waits for one that takes queue default")
    assert told.facts["worker_alive"] is False
    await hire(desk, id="another")
    assert (await ask(job)).text.endswith("another one takes the job")


async def test_a_job_for_later_says_when(desk: Desk, ask: Ask) -> None:
    job = await desk.enqueue(delay=90.0)
    told = await ask(job)
    assert told.reason is Reason.SCHEDULED
    assert told.text.startswith("it is scheduled for ")
    assert told.until == job.due_at
    assert told.facts["due_in"] == pytest.approx(90, abs=1)


async def test_a_retry_names_its_number_and_the_failure(desk: Desk, ask: Ask) -> None:
    job = await desk.running(max_attempts=4)
    error = Failure(type="ConnectionError", message="refused")
    await desk.finish(job, Step.RETRY, error=error, delay=30.0)
    told = await ask(job)
    assert told.reason is Reason.RETRY
    assert told.text.startswith("it waits for retry 1 of 3 until ")
    assert told.text.endswith("after it failed with ConnectionError: refused")
    await desk.store.change(job.id, delay=60.0)
    assert (await ask(job)).reason is Reason.RETRY


async def test_a_failure_without_words_is_told_by_its_type_alone(desk: Desk, ask: Ask) -> None:
    job = await desk.running(max_attempts=2)
    await desk.finish(job, Step.RETRY, error=Failure(type="Retry", message=""), delay=30.0)
    assert (await ask(job)).text.endswith("failed with Retry")


async def test_a_job_that_asked_to_run_later_is_no_retry(desk: Desk, ask: Ask) -> None:
    job = await desk.running(max_attempts=4)
    await desk.finish(job, Step.RETRY, error=Failure(type="ValueError", message="no"), delay=0.0)
    await desk.store.promote(limit=1)
    job = await desk.take(job)
    await desk.finish(job, Step.SNOOZE, message="the printer warms up", delay=30.0)
    told = await ask(job)
    assert told.reason is Reason.SCHEDULED
    assert told.text.startswith("it asked to run later and waits until ")
    assert told.text.endswith("(the printer warms up)")


async def test_a_job_that_no_worker_knew_says_so(desk: Desk, ask: Ask) -> None:
    job = await desk.running(task="renamed")
    await desk.finish(job, Step.SNOOZE, message=str(unknown(job)), delay=30.0)
    told = await ask(job)
    assert told.reason is Reason.UNKNOWN_TASK
    assert "knows no task named renamed, so it was put off until " in told.text
    await hire(desk, id="new", tasks=("renamed",))
    assert "by now new knows it" in (await ask(job)).text


async def test_a_paused_queue_says_since_when(desk: Desk, ask: Ask) -> None:
    job = await desk.enqueue(gates=(at_once(1),))
    await desk.store.pause(queue="default")
    told = await ask(job)
    assert told.reason is Reason.QUEUE_PAUSED
    assert told.text.startswith("the queue default is paused since ")
    assert told.facts["since"] == pytest.approx(desk.clock.now, abs=1)


async def test_a_paused_task_says_since_when(desk: Desk, ask: Ask) -> None:
    job = await desk.enqueue()
    await desk.store.pause(task="add")
    told = await ask(job)
    assert told.reason is Reason.TASK_PAUSED
    assert told.text.startswith("the task add is paused since ")


async def test_a_limit_says_its_rule_and_until_when(desk: Desk, ask: Ask) -> None:
    gate = rate((1, 60.25), name="task:add")  # as `rate="1/m"` comes to
    await desk.running(gates=(gate,))
    job = await desk.enqueue(gates=(gate,))
    told = await ask(job)
    assert told.reason is Reason.RATE
    assert told.text.startswith("the limit task:add (1 per 60 s) is used up until ")
    assert told.until == pytest.approx(time.time() + 60, abs=2)
    assert told.facts["gate"] == "task:add"


async def test_a_slot_names_the_jobs_that_hold_it(desk: Desk, ask: Ask) -> None:
    gate = at_once(1, name="task:add[tenant=a]")
    holder = await desk.running(gates=(gate,))
    job = await desk.enqueue(gates=(gate,))
    told = await ask(job)
    assert told.reason is Reason.AT_ONCE
    assert f"its slot is held by job {holder.id}" in told.text
    assert told.facts["holders"] == [holder.id]


async def test_a_job_behind_a_limit_says_who_goes_first_when_it_opens(desk: Desk, ask: Ask) -> None:
    for gate in (rate((1, 60.0), name="rated"), at_once(1, name="slots")):
        await desk.running(gates=(gate,))
        _, second, third = await desk.insert(*desk.jobs.several(3, gates=(gate,)))
        assert (await ask(second)).text.endswith("; 1 job of its line goes first")
        assert (await ask(third)).text.endswith("; 2 jobs of its line go first")


async def test_a_cancelled_job_says_so_once(desk: Desk, ask: Ask) -> None:
    job = await desk.running()
    await desk.finish(job, Step.CANCEL, message=str(JobCancelled(job.id)))
    assert (await ask(job)).text.count("was cancelled") == 0


async def test_without_a_worker_for_the_queue_the_others_are_named(desk: Desk, ask: Ask) -> None:
    job = await desk.enqueue(queue="media")
    told = await ask(job)
    assert told.reason is Reason.NO_WORKER
    assert told.text == "no live worker takes the queue media: there is no live worker"
    await hire(desk)
    told = await ask(job)
    assert told.text == "no live worker takes the queue media: the live workers take default, high"


async def test_without_a_worker_that_knows_the_task_it_is_named(desk: Desk, ask: Ask) -> None:
    job = await desk.enqueue()
    await hire(desk, tasks=("other",))
    told = await ask(job)
    assert told.reason is Reason.NO_WORKER_KNOWS
    assert told.text == "no live worker that takes the queue default knows a task named add"
    assert "was it renamed" in (await ask(job, tasks=())).text


async def test_busy_workers_are_named_with_what_they_run(desk: Desk, ask: Ask) -> None:
    busy = await desk.running()
    job = await desk.enqueue()
    await hire(desk, id="w", slots=1, running=(busy.id,))
    told = await ask(job)
    assert told.reason is Reason.BUSY
    assert told.text == f"the only worker that takes it is busy (1 slot) with {busy.id}"
    await hire(desk, id="v", slots=2)
    assert (await ask(job)).reason is Reason.READY


async def test_an_engine_that_is_down_is_named_with_its_error(desk: Desk, ask: Ask) -> None:
    job = await desk.enqueue()
    await hire(desk)
    told = await ask(job, engine=Transport(down=True))
    assert told.reason is Reason.ENGINE_DOWN
    assert told.text.startswith("the engine transport does not answer: connection refused")


@pytest.mark.parametrize(
    ("messages", "said"),
    [(0, "whose queue default is empty"), (1, "the one message"), (12, "12 messages are in its queue")],
)
async def test_a_delivered_job_says_when_and_what_waits_at_the_engine(
    desk: Desk, ask: Ask, messages: int, said: str
) -> None:
    job = await desk.enqueue()
    await hire(desk)
    desk.clock.advance(3)
    told = await ask(job, engine=Transport(messages=messages))
    assert told.reason is Reason.AT_ENGINE
    assert told.text.startswith("it was given to the engine transport 3.0 s ago")
    assert said in told.text
    assert told.facts["depth"] == messages


async def test_a_job_that_was_not_delivered_yet_says_so(desk: Desk, ask: Ask) -> None:
    job = await desk.enqueue(gates=(at_once(5),))  # held back until somebody admits it
    await hire(desk)
    assert (await ask(job, engine=Transport())).reason is Reason.NOT_DELIVERED


async def test_a_job_that_is_held_back_behind_others_says_how_many_go_first(desk: Desk, ask: Ask) -> None:
    jobs = await desk.insert(*desk.jobs.several(3, gates=(at_once(5),)))
    await hire(desk)
    told = await ask(jobs[-1], engine=Transport())
    assert (told.reason, told.facts["ahead"]) == (Reason.IN_LINE, 2)


async def test_a_job_in_line_says_how_many_go_first(desk: Desk, ask: Ask) -> None:
    jobs = await desk.insert(*desk.jobs.several(3))
    await hire(desk)
    told = await ask(jobs[-1])
    assert (told.reason, told.facts["ahead"]) == (Reason.IN_LINE, 2)
    assert told.text == "2 jobs of its line go first"


async def test_a_job_with_nothing_in_its_way_says_that(desk: Desk, ask: Ask) -> None:
    job = await desk.enqueue()
    await hire(desk)
    told = await ask(job)
    assert told.reason is Reason.READY
    assert told.text == "nothing is in its way: it may start at any moment"


def test_every_reason_is_reached_by_a_test_of_this_file() -> None:
    text = Path(__file__).read_text("utf-8")
    assert [reason.name for reason in Reason if f"Reason.{reason.name}" not in text] == []


def test_every_reason_is_in_the_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "why.md").read_text("utf-8")
    told = guide.partition("| `reason` |")[2]
    assert [reason for reason in Reason if f"`{reason}`" not in told] == []


def test_waiting_tasks_that_no_worker_lists_are_named() -> None:
    counts = [
        Count(queue="default", task=task, status=status, count=number)
        for task, status, number in [
            ("add", Status.PENDING, 5),
            ("old", Status.PENDING, 1),
            ("old", Status.SCHEDULED, 2),
            ("gone", Status.COMPLETED, 9),
        ]
    ]
    assert list(unlisted_tasks([a_worker(tasks=("add",))], counts)) == [
        "3 jobs of the task old wait in the queue default, and no live worker that takes it knows that task"
    ]
    assert list(unlisted_tasks([a_worker()], counts)) == []  # it does not say what it knows
    assert list(unlisted_tasks([], counts)) == []
