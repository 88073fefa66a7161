"""Schedules from their declaration to the jobs of their ticks. When the ticks are is `faena.ticks`' business."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Final

from faena.durations import Duration, seconds
from faena.errors import InvalidOptions
from faena.job import NewJob, Record
from faena.making import Maker
from faena.options import JobOptions, moment_faults
from faena.schedule import CatchUp, Overlap, Schedule
from faena.task import JobRequest
from faena.ticks import next_tick, tick_faults, ticks

__all__ = ["API", "CODE", "Declared", "Due", "due", "next_tick", "next_ticks", "request"]

API: Final = "api"
CODE: Final = "code:"
"""Comes before the reference of the app that declares a schedule."""
AT_ONCE: Final = 100
"""Ticks that are made up for in one step."""
COUNTED: Final = 1000
"""How far missed ticks are counted."""
ON_TIME: Final = 30.0
"""Seconds that a tick may be late before it counts as missed (catch_up="none")."""
_NAME: Final = re.compile(r"[\w.:-]{1,100}")


class Declared(Record, frozen=True):
    """A schedule as its author writes it; see `Schedule`. Raises `InvalidOptions` with all faults."""

    name: str
    task: str
    args: Mapping[str, object] | bytes = {}
    cron: str | None = None
    every: Duration | None = None
    start: datetime | None = None
    timezone: str = "UTC"
    catch_up: CatchUp | str = CatchUp.ONE
    overlap: Overlap | str = Overlap.SKIP
    queue: str | None = None
    priority: int | None = None

    def __post_init__(self) -> None:
        faults = _faults(self)
        if faults:
            raise InvalidOptions(f"the schedule {self.name!r} makes no sense: " + "; ".join(faults))

    def schedule(self, maker: Maker, *, now: float, source: str) -> Schedule:
        """Return what is stored of it; raises `UnknownTask`, `InvalidArguments`."""
        plain = _unchecked(self)
        made = maker.make(
            JobRequest(task=self.task, args=self.args, queue=self.queue, priority=self.priority)
        )
        next_at = next_tick(plain, now)
        return Schedule(
            name=self.name,
            task=self.task,
            args=made.args,
            cron=plain.cron,
            every=plain.every,
            start=plain.start,
            timezone=plain.timezone,
            catch_up=CatchUp(self.catch_up),
            overlap=Overlap(self.overlap),
            queue=self.queue,
            priority=self.priority,
            source=source,
            next_at=next_at,
        )


class Due(Record, frozen=True):
    """What is to be done for the ticks of a schedule that have come."""

    at: float
    """The first of them."""
    next_at: float | None
    """The first that is left."""
    jobs: int
    missed: int

    def make(self, schedule: Schedule, maker: Maker) -> list[NewJob]:
        """Return the jobs; raises `Rejected` when the task or its arguments are no longer right."""
        return [maker.make(request(schedule)) for _ in range(self.jobs)]


def due(schedule: Schedule, now: float) -> Due | None:
    """Return what to do at ``now``; None: nothing, or the schedule is paused."""
    if schedule.paused or schedule.next_at is None or schedule.next_at > now:
        return None
    most = AT_ONCE if schedule.catch_up is CatchUp.ALL else COUNTED
    passed = [schedule.next_at]
    next_at: float | None = None
    for tick in ticks(schedule, schedule.next_at):
        if tick > now or len(passed) == most:
            next_at = tick
            break
        passed.append(tick)
    if next_at is not None and next_at <= now and schedule.catch_up is not CatchUp.ALL:
        next_at = next_tick(schedule, now)
    jobs = _jobs(schedule.catch_up, passed, now)
    return Due(at=passed[0], next_at=next_at, jobs=jobs, missed=len(passed) - jobs)


def request(schedule: Schedule) -> JobRequest:
    """Return the job of a tick. One that must not overlap holds a key as long as it lives."""
    return JobRequest(
        task=schedule.task,
        args=schedule.args,
        queue=schedule.queue,
        priority=schedule.priority,
        key=f"schedule:{schedule.name}" if schedule.overlap is Overlap.SKIP else None,
        keep_key=0.0 if schedule.overlap is Overlap.SKIP else None,
        on_conflict="return" if schedule.overlap is Overlap.SKIP else None,
    )


def next_ticks(schedule: Schedule, now: float, count: int) -> list[float]:
    """Return a schedule's next ticks, beginning with the one that it waits for; none while it is paused for good."""
    first = now if schedule.next_at is None else schedule.next_at
    begin = [] if schedule.next_at is None or schedule.next_at <= now else [first]
    return [*begin, *islice(ticks(schedule, max(first, now)), max(count - len(begin), 0))][:count]


def _jobs(catch_up: CatchUp, passed: list[float], now: float) -> int:
    if catch_up is CatchUp.ALL:
        return len(passed)
    if catch_up is CatchUp.ONE:
        return 1
    return 1 if now - passed[-1] <= ON_TIME else 0


def _faults(declared: Declared) -> list[str]:
    faults = []
    if not isinstance(declared.name, str) or not _NAME.fullmatch(declared.name):
        faults.append(f"name={declared.name!r} must be 1 to 100 letters, digits or . : _ -")
    faults += tick_faults(_unchecked(declared))
    if declared.start is not None and declared.every is None:
        faults.append("start goes with every only")
    if declared.start is not None:
        faults += moment_faults("start", declared.start)
    if declared.catch_up not in (*CatchUp,):
        faults.append(f"catch_up={declared.catch_up!r} must be one of {', '.join(CatchUp)}")
    if declared.overlap not in (*Overlap,):
        faults.append(f"overlap={declared.overlap!r} must be one of {', '.join(Overlap)}")
    elif declared.catch_up == CatchUp.ALL and declared.overlap == Overlap.SKIP:
        faults.append("catch_up='all' needs overlap='allow', for its jobs are there at the same time")
    try:
        JobOptions(queue=declared.queue, priority=declared.priority)
    except InvalidOptions as error:
        faults.append(str(error).partition(": ")[2])
    return faults


def _unchecked(declared: Declared) -> Schedule:
    """Return a schedule that has the ticks, for those to be checked and counted."""
    try:
        every = None if declared.every is None else seconds(declared.every)
    except (TypeError, ValueError):
        every = -1.0
    aware = isinstance(declared.start, datetime) and declared.start.utcoffset() is not None
    start = declared.start.timestamp() if declared.start is not None and aware else 0.0
    return Schedule(
        name=declared.name,
        task=declared.task,
        cron=declared.cron,
        every=every,
        start=start,
        timezone=declared.timezone,
    )
