"""Cron: a job is made at each tick of a schedule. Any number of processes may; the store lets one take a tick."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from faena.job import Job, NewJob, Status
from faena.loops.promote import Deliver
from faena.making import Maker
from faena.ports.engine import Delivery
from faena.ports.records import Inserted
from faena.ports.store import Store
from faena.schedule import Schedule
from faena.timetable import CODE, Declared, Due, due

logger = logging.getLogger("faena.loops")

LONGEST: Final = 1.0
"""Seconds between two looks: so late may a schedule be that was put meanwhile."""
SOON: Final = 0.02


class Cron:
    """Puts the schedules that an app declares, and makes the jobs of all those whose tasks it knows."""

    def __init__(
        self,
        store: Store,
        deliver: Deliver,
        *,
        maker: Maker,
        declared: Sequence[Declared] = (),
        app_ref: str = "",
        clock: Callable[[], float] = time.time,
        on_held_back: Callable[[], None] = lambda: None,
    ) -> None:
        """``clock`` is the wall clock; ``on_held_back`` is called when jobs were made that are not to be delivered yet.
        Raises `UnknownTask` and `InvalidArguments` for what was declared."""
        self._store = store
        self._deliver = deliver
        self._maker = maker
        self._declared = tuple(declared)
        self._source = CODE + app_ref
        self._clock = clock
        self._on_held_back = on_held_back
        self._put = False
        self._faulty: set[tuple[str, str]] = set()
        """Schedules, and what was wrong with them when it was logged."""
        self._made()

    async def __call__(self) -> float:
        """Take the ticks that have come; returns the seconds until the next, `LONGEST` at most."""
        if not self._put:
            await self._put_declared()
            self._put = True
        next_at: float | None = None
        for schedule in await self._store.schedules():
            if schedule.paused or schedule.next_at is None or schedule.task not in self._maker.tasks:
                continue
            left = await self._go(schedule)
            if left is not None:
                next_at = left if next_at is None else min(left, next_at)
        return LONGEST if next_at is None else min(max(next_at - self._clock(), 0.0), LONGEST)

    def _made(self) -> list[Schedule]:
        now = self._clock()
        return [one.schedule(self._maker, now=now, source=self._source) for one in self._declared]

    async def _put_declared(self) -> None:
        """Store what the code declares, and drop what it declared once and does not any more."""
        if self._declared:
            await self._store.put_schedules(self._made())
        names = {one.name for one in self._declared}
        old = [one.name for one in await self._store.schedules() if one.source == self._source]
        gone = [name for name in old if name not in names]
        if gone:
            logger.info("schedules that the code has no more are dropped: %s", ", ".join(gone))
            await self._store.drop_schedules(gone)

    async def _go(self, schedule: Schedule) -> float | None:
        """Take the ticks of a schedule that have come; returns when it goes next, None if that is not known."""
        try:
            found = due(schedule, self._clock())
        except (
            Exception
        ) as error:  # a zone that this machine does not know, fields that this release does not read
            self._log(schedule, error, "it is left to other workers")
            return None
        if found is None:
            return schedule.next_at
        jobs = self._jobs(schedule, found)
        missed = found.missed + found.jobs - len(jobs)
        answers = await self._store.tick(
            schedule.name, at=found.at, next_at=found.next_at, jobs=jobs, missed=missed
        )
        if answers is None:  # another worker was first: see what it made of it
            return self._clock() + SOON
        await self._hand_on(answers)
        return found.next_at

    def _jobs(self, schedule: Schedule, found: Due) -> list[NewJob]:
        try:
            return found.make(schedule, self._maker)
        except Exception as error:  # its arguments do not fit any more, or the task's own functions raise
            self._log(schedule, error, "its ticks are skipped")
            return []

    async def _hand_on(self, answers: Sequence[Inserted]) -> None:
        fresh = [one for one in answers if not (one.duplicate or one.conflict or one.replayed)]
        ready = [one.job for one in fresh if one.job.status is Status.PENDING and not one.held_back]
        if ready:
            await self._deliver([_delivery(job) for job in ready])
        if len(ready) < len(fresh):
            self._on_held_back()

    def _log(self, schedule: Schedule, error: Exception, then: str) -> None:
        """Once for each fault of a schedule."""
        fault = (schedule.name, str(error))
        if fault not in self._faulty:
            self._faulty.add(fault)
            logger.error("the schedule %s is at fault, and %s: %s", schedule.name, then, error)


def _delivery(job: Job) -> Delivery:
    return Delivery(job_id=job.id, task=job.task, queue=job.queue, priority=job.priority)
