"""The client: how jobs come into the store, and what can be done to them from outside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from user_fakes import KeepingEngine, finish

from faena import Faena
from faena.client import CHUNK, MAX_ARGUMENTS, Client, JobRequest
from faena.errors import (
    Conflict,
    InvalidArguments,
    InvalidOptions,
    KeyConflict,
    NotFound,
    QueueDisabled,
    StoreDown,
    UnknownTask,
    WaitTimeout,
)
from faena.job import NewJob, Status, Step
from faena.ports.records import CancelResult, Inserted
from faena.stores.memory import MemoryStore
from faena.testing.clock import FakeClock

NOW = 1_800_000_000.0
pytestmark = pytest.mark.filterwarnings("error")


class CountingStore(MemoryStore):
    """Counts its calls of `insert`, and can lose one of them."""

    def __init__(self) -> None:
        super().__init__(clock=FakeClock(NOW))
        self.inserts: list[int] = []
        self.fails_at: int | None = None

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        self.inserts.append(len(jobs))
        if self.fails_at == len(self.inserts):
            raise StoreDown("the test took it down")
        await asyncio.sleep(0)
        return await super().insert(jobs)


app = Faena()


@app.task(queue="media", priority=5, max_retries=2, topic="pictures")
async def thumbnail(media_id: int, size: int = 300) -> None: ...


@app.task
def keep(text: str) -> None: ...


@pytest.fixture
async def store() -> AsyncIterator[CountingStore]:
    store = CountingStore()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def engine() -> KeepingEngine:
    return KeepingEngine()


@pytest.fixture
async def client(store: CountingStore, engine: Any) -> AsyncIterator[Client]:
    client = Client(store, engine, app.tasks)
    yield client
    await client.close()


def a_request(**fields: Any) -> JobRequest:
    return JobRequest(**{"task": "thumbnail", "args": {"media_id": 1}, **fields})


async def test_a_job_takes_its_tasks_options(client: Client) -> None:
    job = (await client.enqueue(a_request())).job
    assert job.status is Status.PENDING
    assert job.args == b'{"media_id":1,"size":300}'
    assert (job.queue, job.priority, job.max_attempts, job.topic) == ("media", 5, 3, "pictures")
    assert (job.timeout, job.key, job.user, job.origin) == (None, None, None, None)


async def test_a_job_may_decide_for_itself(client: Client) -> None:
    request = a_request(
        queue="high", priority=0, max_retries=0, topic="t", timeout=timedelta(minutes=2), key="k", user="u"
    )
    job = (await client.enqueue(request)).job
    assert (job.queue, job.priority, job.max_attempts, job.topic) == ("high", 0, 1, "t")
    assert (job.timeout, job.key, job.user) == (120.0, "k", "u")


@pytest.mark.parametrize(
    "due", [{"delay": 60}, {"delay": timedelta(minutes=1)}, {"at": datetime.fromtimestamp(NOW + 60, UTC)}]
)
async def test_a_job_may_be_for_later(client: Client, engine: KeepingEngine, due: dict[str, Any]) -> None:
    job = (await client.enqueue(a_request(**due))).job
    assert job.status is Status.SCHEDULED
    assert job.due_at == NOW + 60
    assert engine.delivered == []


async def test_a_stored_job_is_delivered(client: Client, engine: KeepingEngine) -> None:
    job = (await client.enqueue(a_request())).job
    [delivery] = engine.delivered
    assert (delivery.job_id, delivery.task, delivery.queue, delivery.priority) == (
        job.id,
        "thumbnail",
        "media",
        5,
    )


async def test_an_engine_that_delivers_nothing_is_not_asked(store: CountingStore) -> None:
    from faena.engines.direct import DirectEngine

    class Silent(DirectEngine):
        def deliver(self, deliveries: object) -> None:
            raise AssertionError("asked")

    assert (await Client(store, Silent(), app.tasks).enqueue(a_request())).job.status is Status.PENDING


async def test_a_job_that_was_stored_is_enqueued_although_the_engine_is_down(
    client: Client, engine: KeepingEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.down = True
    with caplog.at_level(logging.WARNING, "faena.client"):
        inserted = await client.enqueue(a_request())
        many = await client.enqueue_many([a_request(), a_request()])
    assert (await client.get(inserted.job.id)).status is Status.PENDING
    assert len(many) == 2
    assert "the engine keeping could not deliver" in caplog.text


async def test_whatever_goes_wrong_in_an_engine_the_job_is_enqueued(client: Client, engine: Any) -> None:
    def broken(deliveries: object) -> None:
        raise ZeroDivisionError

    engine.deliver = broken
    assert (await client.enqueue(a_request())).job.status is Status.PENDING


async def test_calls_that_wait_together_travel_together(client: Client, store: CountingStore) -> None:
    await asyncio.gather(*(client.enqueue(a_request()) for _ in range(50)))
    assert sum(store.inserts) == 50
    assert len(store.inserts) <= 2


async def test_many_jobs_go_in_chunks(client: Client, store: CountingStore, engine: KeepingEngine) -> None:
    inserted = await client.enqueue_many(a_request(args={"media_id": n}) for n in range(CHUNK + 1))
    assert store.inserts == [CHUNK, 1]
    assert [one.job.args for one in inserted[:2]] == [
        b'{"media_id":0,"size":300}',
        b'{"media_id":1,"size":300}',
    ]
    assert [delivery.job_id for delivery in engine.delivered] == [one.job.id for one in inserted]


async def test_of_many_jobs_none_is_stored_when_one_is_wrong(client: Client, store: CountingStore) -> None:
    requests = [a_request() for _ in range(CHUNK)] + [a_request(args={"media_id": "x"})]
    with pytest.raises(InvalidArguments, match="media_id"):
        await client.enqueue_many(requests)
    assert store.inserts == []


async def test_no_jobs_are_no_call(client: Client, store: CountingStore) -> None:
    assert await client.enqueue_many([]) == []
    assert store.inserts == []


async def test_the_same_key_and_arguments_are_the_same_job(client: Client, engine: KeepingEngine) -> None:
    first = await client.enqueue(a_request(key="k", args={"media_id": 1}))
    second = await client.enqueue(a_request(key="k", args={"size": 300, "media_id": 1}))
    third = await client.enqueue(a_request(key="k", args=b'{"media_id": 1}'))
    assert (first.duplicate, second.duplicate, third.duplicate) == (False, True, True)
    assert first.job.id == second.job.id == third.job.id
    assert len(engine.delivered) == 1


async def test_the_same_key_with_other_arguments_is_a_conflict(client: Client) -> None:
    first = await client.enqueue(a_request(key="k"))
    with pytest.raises(KeyConflict) as caught:
        await client.enqueue(a_request(key="k", args={"media_id": 2}))
    assert (caught.value.key, caught.value.job_id) == ("k", first.job.id)
    [one, other] = await client.enqueue_many([a_request(key="k", args={"media_id": 2}), a_request()])
    assert (one.conflict, one.job.id, other.conflict) == (True, first.job.id, False)


async def test_a_store_that_is_down_says_so(client: Client, store: CountingStore) -> None:
    store.fails_at = 1
    with pytest.raises(StoreDown):
        await client.enqueue(a_request())


async def test_an_unknown_task_is_refused_with_the_known_ones(client: Client) -> None:
    with pytest.raises(UnknownTask, match="registered: keep, thumbnail"):
        await client.enqueue(a_request(task="thumb"))


async def test_options_that_make_no_sense_never_become_a_request() -> None:
    with pytest.raises(InvalidOptions, match="exclude one another"):
        a_request(delay=1, at=datetime.now(UTC))


async def test_arguments_that_are_too_large_are_refused_with_what_to_do(
    client: Client, store: CountingStore
) -> None:
    with pytest.raises(InvalidArguments, match=r"4,194,304 are taken: put the data in a file"):
        await client.enqueue(JobRequest(task="keep", args={"text": "x" * MAX_ARGUMENTS}))
    assert store.inserts == []


async def test_a_message_to_ten_thousand_recipients_passes(client: Client) -> None:
    def recipients() -> Iterator[str]:
        for n in range(10_000):
            yield f"a-rather-long-name-{n}@a-rather-long-domain.example.org"

    assert (await client.enqueue(JobRequest(task="keep", args={"text": ",".join(recipients())}))).job.args


async def test_nothing_is_accepted_while_the_queue_is_switched_off(store: CountingStore, engine: Any) -> None:
    client = Client(store, engine, app.tasks, enabled=False)
    with pytest.raises(QueueDisabled, match="QUEUE_ENABLED"):
        await client.enqueue(a_request())
    with pytest.raises(QueueDisabled):
        await client.enqueue_many([a_request()])


async def test_a_waiting_job_is_cancelled_at_once(client: Client) -> None:
    job = (await client.enqueue(a_request())).job
    assert await client.cancel(job.id) is CancelResult.CANCELLED
    assert (await client.get(job.id)).status is Status.CANCELLED
    assert await client.cancel(job.id) is CancelResult.FINAL


async def test_a_running_job_is_asked_to_stop(client: Client, store: CountingStore) -> None:
    job = (await client.enqueue(a_request())).job
    await store.claim([job.id], worker="w", lease=60, request="r")
    assert await client.cancel(job.id) is CancelResult.REQUESTED


async def test_a_job_that_is_not_there_is_not_found(client: Client) -> None:
    for verb in (client.cancel, client.get, client.retry, client.wait):
        with pytest.raises(NotFound):
            await verb("nowhere")


@pytest.mark.parametrize("end", [Step.FAIL, Step.COMPLETE, Step.CANCEL])
async def test_a_job_that_ended_can_be_run_again_as_a_new_one(
    client: Client, store: CountingStore, engine: KeepingEngine, end: Step
) -> None:
    request = a_request(queue="high", priority=9, user="u", topic="t", key="k", timeout=7, max_retries=1)
    old = (await client.enqueue(request)).job
    await finish(store, old.id, end)
    new = (await client.retry(old.id)).job
    assert new.id != old.id
    assert (new.origin, new.status, new.attempt, new.key) == (old.id, Status.PENDING, 0, None)
    for field in ("task", "args", "queue", "priority", "user", "topic", "timeout", "max_attempts"):
        assert getattr(new, field) == getattr(old, field)
    assert engine.delivered[-1].job_id == new.id


async def test_a_live_job_cannot_be_run_again(client: Client) -> None:
    job = (await client.enqueue(a_request())).job
    with pytest.raises(Conflict, match="is pending: only one that has ended"):
        await client.retry(job.id)


async def test_waiting_returns_the_job_once_it_has_ended(client: Client, store: CountingStore) -> None:
    job = (await client.enqueue(a_request())).job
    waiting = asyncio.create_task(client.wait(job.id, timeout=30))
    await asyncio.sleep(0)
    await finish(store, job.id, result=b'{"path":"a"}')
    ended = await waiting
    assert (ended.status, ended.result) == (Status.COMPLETED, b'{"path":"a"}')


async def test_waiting_for_a_job_that_has_ended_returns_at_once(client: Client, store: CountingStore) -> None:
    job = (await client.enqueue(a_request())).job
    await finish(store, job.id, Step.FAIL)
    assert (await client.wait(job.id, timeout=0)).status is Status.FAILED


async def test_waiting_ends_after_its_timeout_and_the_job_goes_on(client: Client) -> None:
    job = (await client.enqueue(a_request())).job
    with pytest.raises(WaitTimeout, match="it goes on") as caught:
        await client.wait(job.id, timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert (await client.get(job.id)).status is Status.PENDING


async def test_waiting_says_when_listening_ended_before_the_job(client: Client) -> None:
    job = (await client.enqueue(a_request())).job
    await client.live.close()
    with pytest.raises(StoreDown, match="wait again"):
        await client.wait(job.id, timeout=30)


async def test_purging_cancels_all_waiting_jobs_of_a_queue(
    client: Client, store: CountingStore, engine: KeepingEngine
) -> None:
    await client.enqueue_many([a_request() for _ in range(CHUNK + 5)])
    other = (await client.enqueue(a_request(queue="high"))).job
    assert await client.purge("media") == CHUNK + 5
    assert engine.purged == ["media"]
    assert (await client.get(other.id)).status is Status.PENDING
    assert {count.status for count in await store.counts() if count.queue == "media"} == {Status.CANCELLED}
