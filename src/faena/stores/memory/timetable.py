"""The schedules of a memory store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

import msgspec

from faena.ports.records import Inserted
from faena.schedule import Schedule

COUNTED = ("paused", "created_at", "last_at", "last_job", "runs", "skipped")
"""What stays when a schedule gets another definition."""


class Timetable:
    """Schedules by name."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._schedules: dict[str, Schedule] = {}

    def put(self, schedules: Sequence[Schedule]) -> None:
        for new in schedules:
            known = self._schedules.get(new.name)
            if known is None:
                new = msgspec.structs.replace(new, created_at=self._clock())
            elif known.definition == new.definition:
                continue
            else:
                new = msgspec.structs.replace(new, **{name: getattr(known, name) for name in COUNTED})
            self._schedules[new.name] = new

    def all(self) -> list[Schedule]:
        return sorted(self._schedules.values(), key=attrgetter("name"))

    def due(self, name: str, at: float) -> bool:
        """Tell whether a schedule's next tick is ``at`` and may be taken."""
        schedule = self._schedules.get(name)
        return schedule is not None and schedule.next_at == at and not schedule.paused

    def ticked(self, name: str, *, next_at: float | None, inserted: Sequence[Inserted], missed: int) -> None:
        """Count a tick that was taken."""
        known = self._schedules[name]
        created = [one.job.id for one in inserted if not (one.duplicate or one.conflict or one.replayed)]
        self._schedules[name] = msgspec.structs.replace(
            known,
            next_at=next_at,
            last_at=known.next_at,
            last_job=created[-1] if created else known.last_job,
            runs=known.runs + len(created),
            skipped=known.skipped + len(inserted) - len(created) + missed,
        )

    def steer(self, name: str, paused: bool | None, next_at: float | None) -> Schedule | None:
        known = self._schedules.get(name)
        if known is None:
            return None
        steered = msgspec.structs.replace(
            known,
            paused=known.paused if paused is None else paused,
            next_at=known.next_at if next_at is None else next_at,
        )
        self._schedules[name] = steered
        return steered

    def drop(self, names: Sequence[str]) -> int:
        return sum(self._schedules.pop(name, None) is not None for name in names)
