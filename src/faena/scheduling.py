"""The client's verbs for schedules: make, list, run now, pause, resume, drop, and when they go next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from faena import timetable
from faena.durations import Duration
from faena.errors import Conflict, UnknownSchedule
from faena.making import Maker
from faena.ports.records import Inserted
from faena.ports.store import Store
from faena.schedule import CatchUp, Overlap, Schedule
from faena.task import JobRequest


class Scheduling:
    """What `faena.client.Client` can do with schedules."""

    store: Store
    _maker: Maker
    _clock: Callable[[], float]

    async def enqueue(self, request: JobRequest) -> Inserted:
        """Store a job; see `faena.client.Client.enqueue`."""
        raise NotImplementedError

    async def schedules(self) -> list[Schedule]:
        """Return all schedules by name."""
        return await self.store.schedules()

    async def schedule(self, name: str) -> Schedule:
        """Return a schedule; raises `UnknownSchedule`."""
        found = {schedule.name: schedule for schedule in await self.store.schedules()}
        if name not in found:
            raise UnknownSchedule(name, list(found))
        return found[name]

    async def put_schedule(
        self,
        name: str,
        task: str,
        *,
        args: Mapping[str, object] | bytes | None = None,
        cron: str | None = None,
        every: Duration | None = None,
        start: datetime | None = None,
        timezone: str = "UTC",
        catch_up: CatchUp | str = CatchUp.ONE,
        overlap: Overlap | str = Overlap.SKIP,
        queue: str | None = None,
        priority: int | None = None,
    ) -> Schedule:
        """Make a schedule, or give the one of that name another definition; returns it as it is stored. Raises
        `UnknownTask`, `InvalidArguments`, `InvalidOptions`, and `Conflict` for one that an app declares in its code.
        """
        asked = timetable.Declared(
            name=name,
            task=task,
            args=args or {},
            cron=cron,
            every=every,
            start=start,
            timezone=timezone,
            catch_up=catch_up,
            overlap=overlap,
            queue=queue,
            priority=priority,
        )
        schedule = asked.schedule(self._maker, now=self._clock(), source=timetable.API)
        for other in await self.store.schedules():
            if other.name == name and (place := _declared_in(other)) is not None:
                raise Conflict(f"{place}: change it there, or take another name")
        await self.store.put_schedules([schedule])
        return await self.schedule(name)

    async def run_schedule(self, name: str) -> Inserted:
        """Make a schedule's job now, besides its ticks and even if it is paused. One that skips overlaps is answered
        with the job that still lives. Raises `UnknownSchedule`, and as `enqueue`."""
        return await self.enqueue(timetable.request(await self.schedule(name)))

    async def pause_schedule(self, name: str) -> Schedule:
        """Let a schedule's ticks pass without a job; raises `UnknownSchedule`."""
        return _known(name, await self.store.steer_schedule(name, paused=True))

    async def resume_schedule(self, name: str) -> Schedule:
        """Go on with a schedule at its next tick; those that passed meanwhile are not made up for. Raises
        `UnknownSchedule`."""
        schedule = await self.schedule(name)
        if not schedule.paused:
            return schedule
        next_at = timetable.next_tick(schedule, self._clock())
        return _known(name, await self.store.steer_schedule(name, paused=False, next_at=next_at))

    async def drop_schedule(self, name: str, *, force: bool = False) -> None:
        """Forget a schedule; its jobs stay. Raises `UnknownSchedule`, and `Conflict` (but by ``force``) for one that an
        app declares in its code: that app's next worker would bring it back."""
        place = _declared_in(await self.schedule(name))
        if place is not None and not force:
            raise Conflict(
                f"{place}, and would come back when its next worker starts: pause it, or remove it from the code; "
                "if that code is in use no more, remove it by force (--force, ?force=true)"
            )
        if not await self.store.drop_schedules([name]):
            raise UnknownSchedule(name)

    async def next_ticks(self, name: str, count: int = 10) -> list[float]:
        """Return when a schedule goes next, by the wall clock; raises `UnknownSchedule`."""
        return timetable.next_ticks(await self.schedule(name), self._clock(), count)


def _declared_in(schedule: Schedule) -> str | None:
    """Say in whose code a schedule is declared; None: in nobody's."""
    if not schedule.source.startswith(timetable.CODE):
        return None
    app = schedule.source.removeprefix(timetable.CODE) or "an app without a name (FAENA_APP)"
    return f"the schedule {schedule.name!r} is declared in the code of {app}"


def _known(name: str, schedule: Schedule | None) -> Schedule:
    if schedule is None:
        raise UnknownSchedule(name)
    return schedule
