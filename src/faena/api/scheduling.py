"""What the routes about schedules take and answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from faena.api.schemas import Text, decode, iso
from faena.schedule import CatchUp, Overlap, Schedule

Name = Annotated[Text, Field(min_length=1, max_length=200)]


class ScheduleOrder(BaseModel):
    """Make a job of a task at each tick: of a cron line, or every so many seconds."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Name = Field(description="Its name; a schedule of that name is replaced.")
    task: Name = Field(description="The name of a registered task.")
    args: dict[str, Any] = Field(default_factory=dict, description="The task's arguments by name.")
    cron: Text | None = Field(
        None, max_length=200, description="Five cron fields, or six with seconds first; excludes `every`."
    )
    every: float | None = Field(None, gt=0, description="Seconds between two ticks.")
    start: datetime | None = Field(
        None, description="Where the ticks of `every` are counted from, with a time zone."
    )
    timezone: Text = Field("UTC", max_length=100, description="In which `cron` is meant: an IANA name.")
    catch_up: CatchUp = Field(
        CatchUp.ONE, description="For ticks that passed while no worker ran: one job, all of them, none."
    )
    overlap: Overlap = Field(
        Overlap.SKIP,
        description="While the job of an earlier tick still lives: skip the tick, or allow both.",
    )
    queue: Text | None = Field(None, description="Instead of the task's own.")
    priority: int | None = Field(None, ge=-1000, le=1000, description="Instead of the task's own.")

    @model_validator(mode="after")
    def _has_one_rhythm(self) -> Self:
        if (self.cron is None) == (self.every is None):
            raise ValueError("give cron or every, one of them")
        return self


class ScheduleAnswer(BaseModel):
    """A schedule as it stands."""

    name: str
    task: str
    args: Any
    cron: str | None
    every: float | None
    start: datetime | None
    timezone: str
    catch_up: CatchUp
    overlap: Overlap
    queue: str | None
    priority: int | None
    source: str = Field(description="`api`, or `code:` and the app that declares it.")
    paused: bool
    next_at: datetime | None = Field(description="The next tick; null: there is none any more.")
    created_at: datetime
    last_at: datetime | None = Field(description="The last tick that was taken.")
    last_job: str | None
    runs: int = Field(description="Jobs made.")
    skipped: int = Field(description="Ticks that made none: overlapped or missed.")


class ScheduleList(BaseModel):
    """The schedules by name."""

    schedules: list[ScheduleAnswer]


class Ticks(BaseModel):
    """When a schedule goes next."""

    name: str
    next: list[datetime]


class Dropped(BaseModel):
    """A schedule that was forgotten."""

    name: str
    dropped: bool


_SAME = (
    "name", "task", "cron", "every", "timezone", "catch_up", "overlap", "queue", "priority", "source", "paused",
    "last_job", "runs", "skipped",
)  # fmt: skip
_TIMES = ("next_at", "created_at", "last_at")


def schedule_answer(schedule: Schedule) -> ScheduleAnswer:
    """Tell a schedule."""
    fields: dict[str, Any] = {name: getattr(schedule, name) for name in _SAME}
    fields |= {name: iso(getattr(schedule, name)) for name in _TIMES}
    start = iso(schedule.start) if schedule.every is not None else None
    return ScheduleAnswer.model_construct(**fields, args=decode(schedule.args), start=start)


def schedule_list(schedules: Iterable[Schedule]) -> ScheduleList:
    """Tell schedules."""
    return ScheduleList.model_construct(schedules=[schedule_answer(one) for one in schedules])


def ticks(name: str, times: Iterable[float]) -> Ticks:
    """Tell when a schedule goes next."""
    return Ticks(name=name, next=[at for at in map(iso, times) if at is not None])
