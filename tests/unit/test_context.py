"""What a running function tells, and what it is told."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

import pytest

from faena import Context
from faena.attempt import Attempt
from faena.context import MAX_DATA, MAX_MESSAGE, Rehearsal
from faena.errors import Cancelled, Rejected, SoftTimeout, Stale, Unavailable
from faena.job import Job, Status
from faena.ports.records import Held, Report
from faena.reports import ROOM, STEPS, Reports


def a_context(**flags: bool) -> tuple[Context, Rehearsal]:
    line = Rehearsal()
    for name, value in flags.items():
        setattr(line, name, value)
    return Context(line, job_id="j"), line


CALLS: list[Callable[[Context], None]] = [
    lambda ctx: ctx.progress(1),
    lambda ctx: ctx.emit("event"),
    lambda ctx: ctx.log("line"),
    lambda ctx: ctx.save(1),
    lambda ctx: ctx.check(),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("flag", "error"), [("cancelled", Cancelled), ("stale", Stale), ("overdue", SoftTimeout)]
)
def test_every_call_raises_what_came_up(
    call: Callable[[Context], None], flag: str, error: type[Exception]
) -> None:
    context, line = a_context(**{flag: True})
    with pytest.raises(error):
        call(context)
    assert line.told == []


def test_the_end_of_the_time_is_told_once() -> None:
    context, line = a_context(overdue=True)
    with pytest.raises(SoftTimeout):
        context.progress(1)
    context.log("cleaning up")
    assert len(line.told) == 1


def test_progress_is_held_between_nothing_and_all() -> None:
    context, line = a_context()
    context.progress(-5)
    context.progress(1000)
    assert [item.progress for item in line.told] == [0.0, 100.0]
    with pytest.raises(Rejected, match="not a number"):
        context.progress(float("nan"))


def test_data_is_told_as_it_was_at_the_call() -> None:
    context, line = a_context()
    data = {"list": [1]}
    context.emit("event", data)
    data["list"].append(2)
    assert line.told[0].events[0].data == {"list": [1]}


def test_data_that_is_no_json_or_too_much_is_refused() -> None:
    context, line = a_context()
    with pytest.raises(Rejected, match="'event' must fit in JSON"):
        context.emit("event", object())
    with pytest.raises(Rejected, match="65,536 bytes"):
        context.emit("event", "x" * MAX_DATA)
    with pytest.raises(Rejected, match="not 'loud'"):
        context.log("line", level="loud")
    assert line.told == []


def test_long_messages_are_cut() -> None:
    context, line = a_context()
    context.log("x" * 10_000)
    assert len(line.told[0].events[0].message or "") == MAX_MESSAGE


def test_a_checkpoint_comes_back() -> None:
    context, _ = a_context()
    assert context.checkpoint is None
    context.save({"page": 3})
    assert context.checkpoint == {"page": 3}
    assert Context(checkpoint=b'{"page":2}').checkpoint == {"page": 2}


JOB = Job(
    id="j",
    task="t",
    args=b"{}",
    queue="default",
    priority=0,
    status=Status.PROCESSING,
    attempt=1,
    max_attempts=1,
    crashes=0,
    token=1,
    seq=1,
    created_at=0,
    due_at=0,
)


@dataclasses.dataclass
class Wire:
    """Where reports go in a test: kept, and let through when the test says so."""

    reports: list[Report] = dataclasses.field(default_factory=list)
    held: list[Held] = dataclasses.field(default_factory=list)
    through: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    async def send(self, report: Report) -> Held:
        self.reports.append(report)
        await self.through.wait()
        return Held(held=True)

    def context(self) -> tuple[Context, Reports]:
        attempt = Attempt(JOB, lease_until=0)
        reports = Reports(attempt, send=self.send, on_held=lambda attempt, held: self.held.append(held))
        return attempt.context(reports, None), reports


async def test_progress_that_comes_fast_is_told_once_and_the_last_of_it_always() -> None:
    wire = Wire()
    wire.through.set()
    context, reports = wire.context()
    for percent in range(50):
        context.progress(percent, f"step {percent}")
        await asyncio.sleep(0)
    await reports.flush()
    assert len(wire.reports) == 2  # the first at once, the latest of the rest at the end
    assert (wire.reports[-1].progress, wire.reports[-1].message) == (49.0, "step 49")
    assert [report.number for report in wire.reports] == [1, 2]


async def test_progress_does_not_overtake_events_nor_swallow_what_was_told_between_them() -> None:
    wire = Wire()
    context, reports = wire.context()
    context.progress(10)
    await asyncio.sleep(0)
    for percent in (30, 60, 100):
        context.progress(percent - 1)
        context.progress(percent)
        context.emit(f"at {percent}")
    wire.through.set()
    await reports.flush()
    told = [(report.progress, [event.event for event in report.events]) for report in wire.reports]
    assert told == [(10.0, []), (30.0, ["at 30"]), (60.0, ["at 60"]), (100.0, ["at 100"])]


async def test_a_function_that_tells_events_and_progress_in_turns_fills_few_reports() -> None:
    wire = Wire()
    context, reports = wire.context()
    for number in range(1000):
        context.progress(number / 10)
        context.emit("event", number)
    wire.through.set()
    await reports.flush()
    assert len(wire.reports) <= STEPS + 1
    assert [event.data for report in wire.reports for event in report.events] == list(range(1000))
    assert wire.reports[-1].progress == 99.9


async def test_events_that_come_while_a_report_is_under_way_travel_together() -> None:
    wire = Wire()
    context, reports = wire.context()
    for number in range(100):
        context.emit("event", number)
        await asyncio.sleep(0)
    wire.through.set()
    await reports.flush()
    assert len(wire.reports) == 2
    assert [event.data for report in wire.reports for event in report.events] == list(range(100))


async def test_an_async_function_is_told_when_the_store_can_not_follow() -> None:
    wire = Wire()
    context, _ = wire.context()
    with pytest.raises(Unavailable, match="await something"):
        for _ in range(2 * ROOM // MAX_DATA):
            context.emit("event", "x" * (MAX_DATA - 2))
    wire.through.set()


async def test_a_thread_waits_while_the_store_can_not_follow() -> None:
    wire = Wire()
    context, reports = wire.context()
    events = 2 * ROOM // MAX_DATA

    def tell() -> None:
        for _ in range(events):
            context.emit("event", "x" * (MAX_DATA - 2))

    telling = asyncio.create_task(asyncio.to_thread(tell))
    async with asyncio.timeout(20):
        while sum(len(report.events) for report in wire.reports) == 0:
            await asyncio.sleep(0)
        wire.through.set()
        await telling
        await reports.flush()
    assert sum(len(report.events) for report in wire.reports) == events


async def test_after_the_end_nothing_more_is_taken() -> None:
    wire = Wire()
    wire.through.set()
    context, reports = wire.context()
    await reports.flush()
    with pytest.raises(Stale):
        context.emit("late")
    assert wire.reports == []


def test_text_that_is_no_unicode_is_told_in_escapes() -> None:
    line = Rehearsal()
    ctx = Context(line)
    ctx.progress(1, "reading \udcff.jpg")
    ctx.emit("read \udcff")
    ctx.log("read \udcff.jpg")
    assert line.told[0].message == "reading \\udcff.jpg"
    assert line.told[1].events[0].event == "read \\udcff"
    assert line.told[2].events[0].message == "read \\udcff.jpg"
