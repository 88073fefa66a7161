"""What the routes about steering take and answer: why a job waits, pauses, changes, retries by filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from faena.api.schemas import MAX_DELAY, JobSummary, Text, iso, summaries, tally
from faena.errors import InvalidOptions
from faena.insights import Why
from faena.job import Job, Status
from faena.ports.records import Count, Paused, Query

Name = Annotated[Text, Field(min_length=1, max_length=200)]


class WhyAnswer(BaseModel):
    """Why a job is not running: one reason, and what it was taken from."""

    task_id: str
    job_id: str
    status: Status
    reason: str = Field(description="A word for programs; docs/guides/why lists all of them.")
    text: str = Field(description="The reason as a sentence.")
    until: datetime | None = Field(description="When the reason ends, where that is known.")
    facts: dict[str, Any] = Field(description="What the answer was taken from.")


class Change(BaseModel):
    """Another priority or another time for a waiting job."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    priority: int | None = Field(None, ge=-1000, le=1000, description="Higher goes first within a queue.")
    delay: float | None = Field(None, ge=0, le=MAX_DELAY, description="Seconds from now; 0: at once.")
    at: datetime | None = Field(None, description="When it is due, with a time zone; excludes `delay`.")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.priority is None and self.delay is None and self.at is None:
            raise ValueError("say what to change: priority, delay or at")
        if self.delay is not None and self.at is not None:
            raise ValueError("delay and at exclude each other")
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError("at needs a time zone, such as 2026-01-31T09:00:00+01:00")
        return self


class Filter(BaseModel):
    """Which failed jobs; all that is given must hold."""

    model_config = ConfigDict(extra="forbid")

    task: list[Name] = Field(default=[], description="Of one of these tasks.")
    queue: list[Name] = Field(default=[], description="Of one of these queues.")
    user: Name | None = None
    q: Name | None = Field(default=None, description="Part of the id, task, key or message.")

    @property
    def empty(self) -> bool:
        """True when it names nothing."""
        return not (self.task or self.queue or self.user or self.q)


class RetryOrder(BaseModel):
    """Run failed jobs again: those of a filter, or all; with a canary, only that many of them for now."""

    model_config = ConfigDict(extra="forbid")

    filter: Filter = Filter()
    all: bool = Field(default=False, description="All that failed; excludes `filter`.")
    canary: int | None = Field(default=None, ge=1, le=1000, description="Run only so many of them.")
    after: list[Text] = Field(
        default=[],
        max_length=1000,
        description="Jobs of the canary: the others run only if all of these completed (else 409).",
    )
    limit: int = Field(default=1000, ge=1, le=1000, description="At most so many in one call.")

    def query(self) -> Query:
        """Return which jobs, as the store understands it. Raises `InvalidOptions` when nothing says so: to run all of
        them is never meant by saying nothing."""
        which = self.filter
        if which.empty and not self.all:
            raise InvalidOptions(
                'say which failed jobs: {"filter": {"task": ["…"]}} (or by queue, user, q), or {"all": true}'
            )
        if self.all and not which.empty:
            raise InvalidOptions("filter and all exclude each other")
        return Query(
            statuses=(Status.FAILED,),
            tasks=tuple(which.task),
            queues=tuple(which.queue),
            user=which.user,
            search=which.q,
        )


RETRIES: Final[dict[str, Any]] = {
    "filter": {"summary": "Of one task", "value": {"filter": {"task": ["mail"]}}},
    "canary": {"summary": "One of them first", "value": {"filter": {"task": ["mail"]}, "canary": 1}},
    "all": {"summary": "All that failed", "value": {"all": True}},
}
"""What ``POST /jobs/retry`` may be asked, for the reader of ``/docs``."""


class RetriedAnswer(BaseModel):
    """The new jobs, each naming as its `origin` the one that it runs again, and how many failed ones are left."""

    jobs: list[JobSummary]
    left: int


class Target(BaseModel):
    """A queue, or a task."""

    model_config = ConfigDict(extra="forbid")

    queue: Name | None = None
    task: Name | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.queue is None) == (self.task is None):
            raise ValueError("name a queue or a task, one of them")
        return self


class Steered(BaseModel):
    """Whether it is paused now; `changed` is false when it was so before."""

    queue: str | None
    task: str | None
    paused: bool
    changed: bool


class PausedAnswer(BaseModel):
    """A queue or a task whose jobs are not taken."""

    queue: str | None
    task: str | None
    since: datetime
    waiting: int = Field(
        description="How many of its jobs wait, those included that are scheduled for later."
    )


class PausedList(BaseModel):
    """What is paused, longest first."""

    paused: list[PausedAnswer]


def why_answer(why: Why) -> WhyAnswer:
    """Tell why a job waits."""
    return WhyAnswer(
        task_id=why.job_id,
        job_id=why.job_id,
        status=why.status,
        reason=str(why.reason),
        text=why.text,
        until=iso(why.until),
        facts=why.facts,
    )


def paused_list(paused: Iterable[Paused], counts: Sequence[Count]) -> PausedList:
    """Tell what is paused."""
    return PausedList(paused=[_paused(one, counts) for one in paused])


def retried(jobs: Iterable[Job], left: int) -> RetriedAnswer:
    """Tell what a retry by filter came to."""
    return RetriedAnswer.model_construct(jobs=summaries(jobs), left=left)


def _paused(one: Paused, counts: Sequence[Count]) -> PausedAnswer:
    behind = (count for count in counts if one.queue == count.queue or one.task == count.task)
    return PausedAnswer.model_construct(
        queue=one.queue, task=one.task, since=iso(one.at), waiting=tally(behind)["count"]
    )
