"""Jobs of a store, run by a worker in this process: whatever the transport does, each job ends as it should, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from faena.job import Status
from faena.ports.engine import Delivery
from faena.task import JobRequest
from faena.testing.engines.base import EngineSuite, Transport
from faena.testing.engines.bench import LEASE, Bench, opened_bench
from faena.testing.witness import VARIABLE, Witness


class WorkerSuite(EngineSuite):
    """What both worker parts stand on."""

    @pytest.fixture
    def witness(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Witness:
        path = tmp_path / "witness.jsonl"
        monkeypatch.setenv(VARIABLE, str(path))
        return Witness(path)

    @pytest_asyncio.fixture
    async def bench(self, transport: Transport, tmp_path: Path, witness: Witness) -> AsyncIterator[Bench]:
        async with opened_bench(transport, tmp_path, witness) as bench:
            yield bench


class WorkerConformance(WorkerSuite):
    """Cases 3, 4, 7, 8, 9, 11, 13 and 17."""

    pytestmark = pytest.mark.asyncio

    async def test_an_enqueued_job_is_run_and_its_result_comes_back(self, bench: Bench) -> None:
        async with bench.worker():
            job = await bench.completed(await bench.enqueue(name="job"))
        assert job.result == b"1"
        assert len(bench.witness.sights("job", "end")) == 1

    async def test_every_kind_of_function_is_run(self, bench: Bench) -> None:
        async with bench.worker():
            jobs = [await bench.enqueue(task, name=task) for task in ("note", "plain", "isolated")]
            assert [(await bench.completed(job)).result for job in jobs] == [b"1"] * 3

    async def test_a_message_that_comes_fifty_times_runs_its_job_once(self, bench: Bench) -> None:
        _needs_messages(bench)
        async with bench.worker(threads=8):
            job = await bench.enqueue(name="job", seconds=0.2)
            bench.engine.deliver([_delivery(job.id)] * 50)
            await bench.completed(job)
            await bench.until(lambda: bench.engine.depth("default") == 0, "the messages to be taken")
            await bench.completed(await bench.enqueue(name="next"))
        assert len(bench.witness.sights("job")) == 1

    async def test_a_message_for_a_job_that_has_ended_changes_nothing(self, bench: Bench) -> None:
        _needs_messages(bench)
        async with bench.worker(threads=1):
            before = await bench.completed(await bench.enqueue(name="job"))
            bench.engine.deliver([_delivery(before.id)])
            await bench.completed(await bench.enqueue(name="next"))
            assert await bench.client.get(before.id) == before
        assert len(bench.witness.sights("job")) == 1

    async def test_a_message_for_a_job_that_never_was_changes_nothing(self, bench: Bench) -> None:
        _needs_messages(bench)
        async with bench.worker(threads=1):
            bench.engine.deliver(
                [_delivery("01890000-0000-7000-8000-000000000000"), _delivery("x' or 1=1 --")]
            )
            await bench.completed(await bench.enqueue(name="next"))

    async def test_a_task_that_fails_is_tried_again_by_faena_and_not_by_the_engine(
        self, bench: Bench
    ) -> None:
        async with bench.worker():
            job = await bench.ended(await bench.enqueue("fail", name="job"))
            await bench.completed(await bench.enqueue(name="next"))
        assert (job.status, job.attempt) == (Status.FAILED, 3)
        assert [sight.attempt for sight in bench.witness.sights("job")] == [1, 2, 3]

    async def test_a_job_longer_than_its_lease_begins_once(self, bench: Bench) -> None:
        async with bench.worker(lease=LEASE / 2):
            await bench.completed(await bench.enqueue("plain", name="long", seconds=2.5 * LEASE / 2))
        assert len(bench.witness.sights("long")) == 1

    async def test_three_thousand_jobs_for_later_do_not_delay_the_next_one(self, bench: Bench) -> None:
        later = [JobRequest(task="note", args={"name": "later"}, delay=3600) for _ in range(3000)]
        await bench.client.enqueue_many(later)
        async with bench.worker():
            soon = await bench.completed(await bench.enqueue(name="soon", delay=0.5))
        assert soon.started_at is not None
        assert soon.started_at - soon.due_at < 2.0
        assert bench.witness.sights("later") == []

    async def test_queues_are_served_in_order_through_the_worker(self, bench: Bench) -> None:
        if not bench.engine.capabilities.queue_order:
            pytest.skip(f"{bench.engine.name} serves its queues in no strict order")
        async with bench.worker(threads=1):
            busy = await bench.enqueue(name="busy", seconds=0.5)
            await bench.begun("busy")
            wanted = [
                JobRequest(task="note", args={"name": f"{queue}-{number}"}, queue=queue)
                for queue in ("low", "default", "high")
                for number in (1, 2)
            ]
            inserted = await bench.client.enqueue_many(wanted)  # at once: while the only slot is busy
            await asyncio.gather(*(bench.completed(job) for job in (busy, *(one.job for one in inserted))))
        order = [sight.name for sight in bench.witness.everything() if sight.what == "begin"]
        assert order == ["busy", "high-1", "high-2", "default-1", "default-2", "low-1", "low-2"]

    async def test_an_enqueue_while_the_transport_is_down_is_kept_and_run_later(self, bench: Bench) -> None:
        _needs_messages(bench)
        async with bench.worker():
            await bench.completed(await bench.enqueue(name="before"))
            bench.transport.break_down()
            job = await bench.enqueue(name="meanwhile")
            bench.transport.restore()
            await bench.completed(job)
        assert len(bench.witness.sights("meanwhile")) == 1

    async def test_jobs_under_way_do_not_notice_that_the_transport_is_down(self, bench: Bench) -> None:
        _needs_messages(bench)
        async with bench.worker():
            job = await bench.enqueue(name="job", seconds=1.0)
            await bench.begun("job")
            bench.transport.break_down()
            await bench.completed(job)
            bench.transport.restore()
            await bench.completed(await bench.enqueue(name="next"))
        assert len(bench.witness.sights("job")) == 1

    async def test_jobs_whose_messages_were_wiped_are_delivered_again(self, bench: Bench) -> None:
        _needs_messages(bench)
        jobs = [await bench.enqueue(name=f"job-{number}") for number in range(20)]
        bench.transport.wipe()
        async with bench.worker():
            await asyncio.gather(*(bench.completed(job) for job in jobs))
        assert len([sight for sight in bench.witness.everything() if sight.what == "begin"]) == 20

    async def test_two_workers_share_the_jobs_and_none_is_run_twice(self, bench: Bench) -> None:
        lease = 30 * LEASE  # what outlives its lease on a busy machine may be run twice
        async with bench.worker(lease=lease), bench.worker(lease=lease):
            inserted = await bench.client.enqueue_many(
                JobRequest(task="note", args={"name": f"job-{number}"}) for number in range(300)
            )
            await asyncio.gather(*(bench.completed(one.job) for one in inserted))
        names = [sight.name for sight in bench.witness.everything() if sight.what == "begin"]
        assert len(names) == len(set(names)) == 300


def _needs_messages(bench: Bench) -> None:
    if not bench.engine.capabilities.delivers:
        pytest.skip(f"{bench.engine.name} has no messages that could be lost or repeated")


def _delivery(job_id: str) -> Delivery:
    return Delivery(job_id=job_id, task="note", queue="default")
