"""What a running function sees of its job.

A function asks for it by annotation, ``def thumbnail(ctx: Context, path: str)``. The same class serves an async
function on the loop, a plain one in a thread and one in a child process: what differs is the `Line` behind it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import msgspec

from faena.errors import Cancelled, Rejected, SoftTimeout, Stale
from faena.events import EventType, NewEvent
from faena.job import Job, Record
from faena.text import storable

if TYPE_CHECKING:
    from faena.settings import Settings

MAX_DATA: Final = 64 * 1024
"""Bytes of JSON that one event or log line may carry."""
MAX_CHECKPOINT: Final = 1024 * 1024
"""Bytes of JSON that a checkpoint may be."""
MAX_MESSAGE: Final = 4000
"""Characters of a message; a longer one is cut."""

LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class Item(Record, frozen=True):
    """What a function told: at one call, or gathered."""

    progress: float | None = None
    message: str | None = None
    events: tuple[NewEvent, ...] = ()
    checkpoint: bytes | None = None
    size: int = 0
    """About how many bytes the events take."""


class Line(Protocol):
    """Between a running function and who runs it. The flags may be set from any thread."""

    cancelled: bool
    """Somebody asked to cancel the job."""
    overdue: bool
    """The time is up and the function has not been told yet; telling it takes the flag down."""

    @property
    def stale(self) -> bool:
        """The attempt may not write any more."""
        ...

    def tell(self, item: Item) -> None:
        """Pass something on to the store. Any thread."""
        ...


class Rehearsal:
    """The line of a context that no worker made: it keeps what it is told, for tests and direct calls."""

    def __init__(self) -> None:
        self.cancelled = False
        self.stale = False
        self.overdue = False
        self.told: list[Item] = []

    def tell(self, item: Item) -> None:
        """Keep it."""
        self.told.append(item)


class Context:
    """One attempt, from inside. Every call is plain (nothing to await) and may be made from any thread.

    `progress`, `emit`, `log` and `save` raise `Cancelled` once a cancellation is known, `Stale` when the attempt
    lost its lease or was given up, and (once, in plain functions) `SoftTimeout` when the time is up.
    ``Context()`` without a worker keeps what it is told: call your function with one in a test.
    """

    __slots__ = (
        "_checkpoint",
        "_line",
        "attempt",
        "job_id",
        "max_attempts",
        "settings",
        "task",
        "topic",
        "user",
    )

    def __init__(
        self,
        line: Line | None = None,
        *,
        job_id: str = "",
        task: str = "",
        attempt: int = 1,
        max_attempts: int = 1,
        user: str | None = None,
        topic: str | None = None,
        settings: Settings | None = None,
        checkpoint: bytes | None = None,
    ) -> None:
        self._line: Line = Rehearsal() if line is None else line
        self._checkpoint = checkpoint
        self.job_id = job_id
        self.task = task
        self.attempt = attempt
        """1 for the first; attempts that were given back (Snooze, a stopped worker) do not count."""
        self.max_attempts = max_attempts
        self.user = user
        self.topic = topic
        self.settings = settings

    @classmethod
    def of(cls, job: Job, line: Line, settings: Settings | None) -> Self:
        """Return the context of a claimed job."""
        return cls(
            line,
            job_id=job.id,
            task=job.task,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            user=job.user,
            topic=job.topic,
            settings=settings,
            checkpoint=job.checkpoint,
        )

    def __repr__(self) -> str:
        return f"<Context of job {self.job_id} ({self.task}), attempt {self.attempt} of {self.max_attempts}>"

    def progress(self, percent: float, message: str | None = None) -> None:
        """Say how far the job is, 0 to 100. Cheap to call often: the latest wins, at most ten a second are told,
        the last one always."""
        self.check()
        if math.isnan(percent):
            raise Rejected("progress must be a number from 0 to 100; it is not a number (NaN)")
        told = None if message is None else storable(message, MAX_MESSAGE)
        self._line.tell(Item(progress=min(max(float(percent), 0.0), 100.0), message=told))

    def emit(self, name: str, data: Any = None) -> None:
        """Tell an event of the task's own, with data that fits in JSON (64 KiB). Events and log lines keep their
        order and none is dropped: when the store can't follow, a plain function waits here, and an async one, which
        must not wait, gets `Unavailable` after about 4 MiB unsent (await something between the calls)."""
        self.check()
        copy, size = _json_copy(data, f"the data of event {name!r}")
        event = NewEvent(type=EventType.EVENT, event=storable(name, MAX_MESSAGE), data=copy)
        self._line.tell(Item(events=(event,), size=size))

    def log(self, message: str, level: str = "info", **data: Any) -> None:
        """Tell a log line of the job; levels as in `logging`, in small letters. Kept and ordered like events."""
        self.check()
        if level not in LEVELS:
            raise Rejected(f"a log level is one of {', '.join(LEVELS)}; not {level!r}")
        copy, size = _json_copy(data or None, "the data of a log line")
        event = NewEvent(
            type=EventType.LOG, event=level, message=storable(str(message), MAX_MESSAGE), data=copy
        )
        self._line.tell(Item(events=(event,), size=size))

    def save(self, data: Any) -> None:
        """Keep data that fits in JSON (1 MiB) as the job's checkpoint: a later attempt finds it in `checkpoint`."""
        self.check()
        body = _encode(data, "the checkpoint", MAX_CHECKPOINT)
        self._checkpoint = body
        self._line.tell(Item(checkpoint=body))

    @property
    def checkpoint(self) -> Any:
        """What `save` kept last, in this attempt or an earlier one; None if nothing was."""
        return None if self._checkpoint is None else msgspec.json.decode(self._checkpoint)

    @property
    def cancelled(self) -> bool:
        """True once somebody asked to cancel the job, or the attempt may not write any more: clean up and return."""
        return self._line.cancelled or self._line.stale

    def check(self) -> None:
        """Raise what `progress`, `emit`, `log` and `save` raise, without telling anything."""
        line = self._line
        if line.stale:
            raise Stale(
                f"job {self.job_id}: this attempt lost its lease or was given up; nothing it tells is kept"
            )
        if line.cancelled:
            raise Cancelled(f"job {self.job_id} was cancelled")
        if line.overdue:
            line.overdue = False
            raise SoftTimeout(f"job {self.job_id}: the time of this attempt is up")


def _encode(data: Any, what: str, limit: int) -> bytes:
    try:
        body = msgspec.json.encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise Rejected(f"{what} must fit in JSON: {error}") from error
    if len(body) > limit:
        raise Rejected(
            f"{what} may be at most {limit:,} bytes of JSON; it is {len(body):,}: keep it in a file"
        )
    return body


def _json_copy(data: Any, what: str) -> tuple[Any, int]:
    """Return data as JSON would give it back (later changes to the original do not show), and its size."""
    if data is None:
        return None, 200
    body = _encode(data, what, MAX_DATA)
    return msgspec.json.decode(body), 200 + len(body)
