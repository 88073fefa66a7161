"""What the API answers. Times are ISO 8601 in UTC; every answer about a job names it by ``task_id`` and ``job_id``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from faena.events import Event, Told
from faena.job import WAITING, Failure, Job, OnConflict, Status
from faena.ports.records import Count, WorkerInfo
from faena.words import END_OF_CALENDAR, START_OF_CALENDAR


def _encodable(text: str) -> str:
    """Refuse half of a surrogate pair, which JSON can spell and UTF-8 can't."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("the text has a lone surrogate, which is no character") from None
    return text


Text = Annotated[str, AfterValidator(_encodable)]
MAX_DELAY = 10 * 365 * 86400.0
KeepKey = Annotated[float, Field(ge=0, le=MAX_DELAY, allow_inf_nan=False)] | Literal["forever"]


class JobOrder(BaseModel):
    """A request to run a task."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    task: Text = Field(description="The name of a registered task.", max_length=200)
    args: dict[str, Any] = Field(default_factory=dict, description="The task's arguments by name.")
    queue: Text | None = Field(None, description="Instead of the task's own.")
    priority: int | None = Field(None, description="Higher goes first within a queue.")
    delay: float | None = Field(None, ge=0, le=MAX_DELAY, description="Seconds until the job is due.")
    at: datetime | None = Field(None, description="When the job is due, with a time zone; excludes `delay`.")
    key: Text | None = Field(None, description="Unique among the task's live jobs.")
    keep_key: KeepKey | None = Field(
        None,
        description='Seconds for which the key is held even if the job ends sooner, or "forever".',
        examples=[86400, "forever"],
    )
    on_conflict: OnConflict | None = Field(
        None, description="What becomes of the job when another one holds its key."
    )
    timeout: float | None = Field(None, gt=0, description="Seconds for one attempt.")
    max_retries: int | None = Field(None, ge=0, description="Attempts after the first.")


class Error(BaseModel):
    """Why an attempt did not succeed."""

    type: str
    message: str
    traceback: str | None = None


class JobSummary(BaseModel):
    """A job without its arguments and its result."""

    task_id: str
    job_id: str
    task: str
    queue: str
    status: Status
    progress: float = Field(description="0 to 100.")
    message: str | None
    priority: int
    attempt: int
    max_attempts: int
    crashes: int
    cancel_requested: bool
    error: Error | None
    key: str | None
    user: str | None
    topic: str | None
    origin: str | None = Field(description="The job that this one runs again.")
    worker: str | None
    seq: int = Field(description="The number of the job's last event.")
    created_at: datetime
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(
        description="When the ended job may be forgotten; null: it has not ended, or its key is kept for ever."
    )


class JobAnswer(JobSummary):
    """A job as it stands."""

    args: Any
    result: Any = Field(description="What the function returned; null until it has.")


class Enqueued(JobAnswer):
    """A job that was enqueued, or the live one that holds the key."""

    duplicate: bool = False


class JobList(BaseModel):
    """Jobs, newest first; `cursor` asks for the next page (null: this was the last)."""

    jobs: list[JobSummary]
    cursor: str | None


class Cancellation(BaseModel):
    """What a cancellation came to: done at once (a waiting job), or asked of the worker (a running one)."""

    task_id: str
    job_id: str
    status: Status
    cancelled: bool
    cancel_requested: bool
    message: str


class TaskStatus(BaseModel):
    """The short form of a job."""

    task_id: str
    job_id: str
    status: Status
    progress: float
    message: str | None
    result: Any
    error: Error | None


class EventAnswer(BaseModel):
    """One numbered event of a job."""

    seq: int
    task_id: str
    type: str
    status: Status
    progress: float
    attempt: int
    at: datetime
    event: str | None = None
    message: str | None = None
    data: Any = None


class EventList(BaseModel):
    """The events of a job after a `seq`; `gap`: some of them are no longer kept."""

    task_id: str
    job_id: str
    seq: int
    gap: bool
    events: list[EventAnswer]


class Tally(BaseModel):
    """How many jobs there are of each status; `count` is what waits."""

    count: int = 0
    paused: bool = Field(False, description="No job of it is taken until it is resumed.")
    scheduled: int = 0
    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


class TaskAnswer(Tally):
    """A registered task, and how many jobs of it there are."""

    name: str
    description: str | None
    queue: str
    priority: int
    max_retries: int
    timeout: float | None
    isolation: str
    arguments: dict[str, Any] = Field(description="The JSON schema of the arguments.")


class TaskList(BaseModel):
    """The registered tasks."""

    tasks: list[TaskAnswer]


class QueueAnswer(Tally):
    """A queue, and how many jobs of it there are."""

    name: str


class QueueList(BaseModel):
    """The queues that have jobs or tasks."""

    queues: list[QueueAnswer]


class Purged(BaseModel):
    """How many waiting jobs of a queue were cancelled."""

    queue: str
    purged: int


class WorkerAnswer(BaseModel):
    """A worker process, as of its last heartbeat."""

    id: str
    host: str
    pid: int
    engine: str
    queues: list[str]
    tasks: list[str]
    slots: int
    running: list[str]
    memory: int = Field(description="Bytes, resident.")
    version: str
    started_at: datetime
    beat_at: datetime


class WorkerList(BaseModel):
    """The live workers."""

    workers: list[WorkerAnswer]


def tally(counts: Iterable[Count]) -> dict[str, int]:
    """Add up how many jobs have each status, and how many wait."""
    by_status = dict.fromkeys(Status, 0)
    for one in counts:
        by_status[one.status] += one.count
    return {
        "count": sum(by_status[status] for status in WAITING),
        **{str(of): n for of, n in by_status.items()},
    }


def iso(at: float | None) -> datetime | None:
    """Return seconds since the epoch as an aware UTC time; None for what has no time, or lies beyond the calendar (on
    either side)."""
    return datetime.fromtimestamp(at, UTC) if at is not None and _in_calendar(at) else None


def _in_calendar(at: float) -> bool:
    return START_OF_CALENDAR <= at < END_OF_CALENDAR


def summary(job: Job) -> JobSummary:
    """Tell a job in short; its error comes without the traceback."""
    return JobSummary.model_construct(**_common(job), error=_error(job.error, traceback=False))


def answer(job: Job) -> JobAnswer:
    """Tell a job in full."""
    return JobAnswer.model_construct(**_full(job))


def enqueued(job: Job, *, duplicate: bool = False) -> Enqueued:
    """Tell what an enqueue came to."""
    return Enqueued.model_construct(**_full(job), duplicate=duplicate)


def status(job: Job) -> TaskStatus:
    """Tell where a job stands."""
    return TaskStatus.model_construct(
        task_id=job.id,
        job_id=job.id,
        status=job.status,
        progress=job.progress,
        message=job.message,
        result=decode(job.result),
        error=_error(job.error),
    )


def event_of(task_id: str, event: Event) -> EventAnswer:
    """Tell an event of a job."""
    return EventAnswer.model_construct(
        seq=event.seq,
        task_id=task_id,
        type=str(event.type),
        status=event.status,
        progress=event.progress,
        attempt=event.attempt,
        at=datetime.fromtimestamp(event.at, UTC),
        event=event.event,
        message=event.message,
        data=event.data,
    )


def event_of_told(told: Told) -> EventAnswer:
    """Tell an event that the log told."""
    return event_of(told.task_id, told.event)


def worker_answer(worker: WorkerInfo) -> WorkerAnswer:
    """Tell a worker."""
    fields = msgspec.structs.asdict(worker)
    fields["started_at"], fields["beat_at"] = iso(worker.started_at), iso(worker.beat_at)
    for name in ("queues", "tasks", "running"):
        fields[name] = list(fields[name])
    return WorkerAnswer.model_construct(**fields)


def summaries(jobs: Iterable[Job]) -> list[JobSummary]:
    """Tell jobs in short."""
    return [summary(job) for job in jobs]


def decode(body: bytes | None) -> Any:
    """Return stored JSON as values; None for nothing stored."""
    return None if body is None else msgspec.json.decode(body)


def _error(failure: Failure | None, *, traceback: bool = True) -> Error | None:
    if failure is None:
        return None
    trace = failure.traceback if traceback else None
    return Error(type=failure.type, message=failure.message, traceback=trace)


def _full(job: Job) -> dict[str, Any]:
    return {
        **_common(job),
        "error": _error(job.error),
        "args": decode(job.args),
        "result": decode(job.result),
    }


_SAME = (
    "task", "queue", "status", "progress", "message", "priority", "attempt", "max_attempts", "crashes",
    "cancel_requested", "key", "user", "topic", "origin", "worker", "seq",
)  # fmt: skip
_TIMES = ("created_at", "due_at", "started_at", "finished_at", "expires_at")


def _common(job: Job) -> dict[str, Any]:
    fields: dict[str, Any] = {"task_id": job.id, "job_id": job.id}
    fields |= {name: getattr(job, name) for name in _SAME}
    fields |= {name: iso(getattr(job, name)) for name in _TIMES}
    return fields
