"""Questions: `get`, `find`, `counts`."""

from __future__ import annotations

from typing import Any

import pytest

from faena.errors import InvalidCursor
from faena.job import Job, Status, Step
from faena.ports.records import Query
from faena.testing.clock import FakeClock
from faena.testing.desk import BOOM, Desk, as_dict
from faena.testing.stores.base import StoreSuite


async def found(desk: Desk, **filters: Any) -> list[str]:
    page = await desk.store.find(Query(**filters))
    return [job.id for job in page.jobs]


def newest(*jobs: Job) -> list[str]:
    return [job.id for job in reversed(jobs)]


class Listing(StoreSuite):
    async def test_get_answers_in_order_with_none_where_there_is_nothing(self, desk: Desk) -> None:
        one, two = await desk.enqueue(), await desk.enqueue()
        assert await desk.store.get([two.id, "no-such-job", one.id, two.id]) == [two, None, one, two]
        assert await desk.store.get([]) == []

    async def test_the_newest_jobs_come_first(self, desk: Desk, clock: FakeClock) -> None:
        jobs = []
        for _ in range(5):
            clock.advance(1)
            jobs.append(await desk.enqueue())
        assert await found(desk) == newest(*jobs)

    async def test_find_returns_the_jobs_as_they_stand(self, desk: Desk) -> None:
        jobs = [await desk.in_status(status) for status in Status]
        page = await desk.store.find(Query())
        assert list(page.jobs) == jobs[::-1]

    async def test_each_filter_lets_only_its_own_through(self, desk: Desk) -> None:
        plain = await desk.enqueue()
        media = await desk.enqueue(queue="media")
        resize = await desk.enqueue(task="resize")
        users = await desk.enqueue(user="u1")
        again = await desk.enqueue(origin=plain.id)
        assert await found(desk, queues=("media",)) == [media.id]
        assert await found(desk, tasks=("resize",)) == [resize.id]
        assert await found(desk, user="u1") == [users.id]
        assert await found(desk, origin=plain.id) == [again.id]
        assert await found(desk, queues=("no-such-queue",)) == []

    async def test_a_filter_by_status_follows_the_job(self, desk: Desk) -> None:
        jobs = {status: await desk.in_status(status) for status in Status}
        for status, job in jobs.items():
            assert await found(desk, statuses=(status,)) == [job.id]
        await desk.store.cancel([jobs[Status.PENDING].id])
        assert await found(desk, statuses=(Status.PENDING,)) == []

    async def test_several_values_of_a_filter_are_alternatives(self, desk: Desk) -> None:
        one, two, three = [await desk.enqueue(queue=queue) for queue in ("one", "two", "three")]
        assert await found(desk, queues=("one", "two")) == newest(one, two)
        assert await found(desk, statuses=(Status.PENDING, Status.FAILED)) == newest(one, two, three)

    async def test_filters_hold_together(self, desk: Desk) -> None:
        both = await desk.enqueue(queue="media", task="resize", user="u")
        await desk.enqueue(queue="media", task="crop", user="u")
        await desk.enqueue(queue="other", task="resize", user="u")
        filters = {"queues": ("media",), "tasks": ("resize",), "user": "u", "statuses": (Status.PENDING,)}
        assert await found(desk, **filters) == [both.id]

    async def test_search_looks_into_id_task_key_and_message(self, desk: Desk) -> None:
        by_task = await desk.enqueue(task="make_thumbnail")
        by_key = await desk.enqueue(key="invoice-2031")
        by_message = await desk.running()
        await desk.report(by_message, message="Reading the page")
        assert await found(desk, search="thumb") == [by_task.id]
        assert await found(desk, search="2031") == [by_key.id]
        assert await found(desk, search="the page") == [by_message.id]
        assert await found(desk, search=by_key.id) == [by_key.id]
        assert await found(desk, search="nothing like it") == []

    async def test_search_disregards_case(self, desk: Desk) -> None:
        job = await desk.enqueue(key="Invoice-A")
        assert await found(desk, search="iNVOICE-a") == [job.id]

    @pytest.mark.parametrize("sign", ["%", "_", "*", "?", "\\", "'", '"', "[a]"])
    async def test_search_takes_every_sign_as_it_is(self, desk: Desk, sign: str) -> None:
        job = await desk.enqueue(key=f"a{sign}b")
        await desk.enqueue(key="axb")
        await desk.enqueue(key="ab")
        assert await found(desk, search=f"a{sign}b") == [job.id]

    async def test_pages_follow_one_another_to_the_end(self, desk: Desk, clock: FakeClock) -> None:
        jobs = []
        for _ in range(4):
            jobs += await desk.insert(*desk.jobs.several(3))
            clock.advance(1)
        query, seen, sizes = Query(limit=5), list[str](), list[int]()
        while True:
            page = await desk.store.find(query)
            seen += [job.id for job in page.jobs]
            sizes.append(len(page.jobs))
            if page.cursor is None:
                break
            query = Query(limit=5, cursor=page.cursor)
        assert seen == newest(*jobs)
        assert sizes == [5, 5, 2]

    @pytest.mark.parametrize("search", [None, "task"])
    async def test_pages_keep_the_order_over_many_queues_and_tasks(
        self, desk: Desk, search: str | None
    ) -> None:
        places = [(f"queue{n % 7}", f"task{n % 5}", n % 3) for n in range(60)]
        new = [desk.jobs.new(queue=queue, task=task, delay=delay) for queue, task, delay in places]
        new += desk.jobs.several(30, queue="queue1", task="task1")
        await desk.insert(*new)
        assert len(await desk.next_ids("queue1", "queue2")) > 30
        query, seen = Query(limit=7, search=search), list[str]()
        while True:
            page = await desk.store.find(query)
            seen += [job.id for job in page.jobs]
            if page.cursor is None:
                break
            query = Query(limit=7, search=search, cursor=page.cursor)
        assert seen == [one.id for one in reversed(new)]

    async def test_a_page_that_holds_everything_is_the_last(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(5))
        assert (await desk.store.find(Query(limit=5))).cursor is None
        assert (await desk.store.find(Query(limit=4))).cursor is not None

    async def test_a_cursor_stays_valid_while_jobs_come_and_go(self, desk: Desk, clock: FakeClock) -> None:
        jobs = await desk.insert(*desk.jobs.several(6))
        page = await desk.store.find(Query(limit=3))
        clock.advance(1)
        await desk.enqueue()
        await desk.finish(await desk.take(jobs[3]), ttl=0)
        await desk.finish(await desk.take(jobs[1]), ttl=0)
        clock.advance(1)
        assert await desk.store.prune(limit=10) == 2
        rest = await desk.store.find(Query(limit=10, cursor=page.cursor))
        assert [job.id for job in rest.jobs] == [jobs[2].id, jobs[0].id]

    async def test_a_cursor_keeps_to_the_filters(self, desk: Desk) -> None:
        mine = []
        for _ in range(4):
            mine.append(await desk.enqueue(queue="media"))
            await desk.enqueue()
        first = await desk.store.find(Query(queues=("media",), limit=2))
        second = await desk.store.find(Query(queues=("media",), limit=10, cursor=first.cursor))
        assert [job.id for job in (*first.jobs, *second.jobs)] == newest(*mine)
        assert second.cursor is None

    async def test_an_empty_store_has_an_empty_page(self, desk: Desk) -> None:
        page = await desk.store.find(Query())
        assert (page.jobs, page.cursor) == ((), None)

    @pytest.mark.parametrize(
        "cursor",
        ["garbage", "", "/", "1/2/3", "-1", "0x10", "1e999", "nan", "9" * 50, "be\x00fore", "💥", "1/\ud800"],
    )
    async def test_a_cursor_that_no_page_gave_out_is_refused(self, desk: Desk, cursor: str) -> None:
        await desk.enqueue()
        with pytest.raises(InvalidCursor) as caught:
            await desk.store.find(Query(cursor=cursor))
        assert caught.value.cursor == cursor

    @pytest.mark.parametrize("change", ["x", " ", "\n"])
    async def test_a_cursor_with_something_added_is_refused(self, desk: Desk, change: str) -> None:
        await desk.insert(*desk.jobs.several(3))
        cursor = (await desk.store.find(Query(limit=2))).cursor
        assert cursor is not None
        for spoilt in (change + cursor, cursor + change):
            with pytest.raises(InvalidCursor):
                await desk.store.find(Query(cursor=spoilt))

    # counts

    async def test_counts_tell_queue_task_and_status(self, desk: Desk) -> None:
        await desk.insert(*desk.jobs.several(3), *desk.jobs.several(2, queue="media", task="resize"))
        await desk.running()
        assert as_dict(await desk.store.counts()) == {
            ("default", "add", Status.PENDING): 3,
            ("media", "resize", Status.PENDING): 2,
            ("default", "add", Status.PROCESSING): 1,
        }

    async def test_counts_equal_a_recount_after_everything_that_can_happen(self, desk: Desk) -> None:
        for status in Status:
            await desk.in_status(status, queue="one", task="first")
            await desk.in_status(status, queue="two", task="second")
            await desk.check_counts()
        for step in (Step.RETRY, Step.SNOOZE, Step.RELEASE):
            await desk.finish(await desk.running(max_attempts=2), step, error=BOOM)
            await desk.check_counts()
        await desk.crash(await desk.running())
        await desk.store.promote(limit=100)
        await desk.check_counts()
        await desk.store.purge("two", limit=1)
        await desk.check_counts()
        desk.clock.advance(10_000_000)
        await desk.store.prune(limit=2)
        await desk.check_counts()
        await desk.store.prune(limit=100)
        await desk.check_counts()

    async def test_nothing_is_counted_when_nothing_is_there(self, desk: Desk) -> None:
        await desk.in_status(Status.COMPLETED)
        desk.clock.advance(10_000_000)
        await desk.store.prune(limit=10)
        assert await desk.store.counts() == []
