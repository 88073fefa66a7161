"""What a task decides for all its jobs, and what one job may decide for itself. Faults are all named together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal, TypeAlias

from faena.durations import Duration, finite_seconds
from faena.errors import InvalidOptions
from faena.job import OnConflict, Record
from faena.rates import AtOnceLike, RateLike, limit_faults
from faena.unique import Keep, UniqueLike, conflict_faults, keep_faults, unique_faults
from faena.words import END_OF_CALENDAR

Isolation: TypeAlias = Literal["none", "process"]

MAX_PRIORITY: Final = 1000
MAX_RETRIES: Final = 10_000
MAX_TEXT: Final = 200
"""Characters of a key, a user or a topic."""
_QUEUE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAME: Final = re.compile(r"[\w.:-]{1,100}")


class Limits(Record, frozen=True):
    """What an attempt in a child process may use: ``Limits(memory=512 * 2**20, cpu=60)``; None: no limit."""

    memory: int | None = None
    """Bytes above what the child needs at rest."""
    cpu: float | None = None
    """Seconds of processor time."""
    files: int | None = None
    """Open files."""

    def __post_init__(self) -> None:
        _refuse("the limits", _limit_faults(self))


class TaskOptions(Record, frozen=True):
    """The options of a task. Durations are seconds."""

    name: str
    queue: str = "default"
    priority: int = 0
    max_retries: int = 3
    """Attempts after the first."""
    min_backoff: float = 15.0
    max_backoff: float = 3600.0
    retry_on: tuple[type[Exception], ...] = (Exception,)
    """Which failures are worth another attempt; `Retry` always is."""
    timeout: float | None = None
    """For one attempt; None: TASK_TIMEOUT."""
    grace: float = 5.0
    """From `SoftTimeout` to the hard end."""
    isolation: Isolation = "none"
    limits: Limits | None = None
    topic: str | None = None
    result_ttl: float | None = None
    """How long a completed job is kept; None: RESULT_TTL."""
    failure_ttl: float | None = None
    """How long a failed job is kept; None: FAILURE_TTL."""
    rate: RateLike | None = None
    """How many may start within a time: ``"10/m"``, a `Rate`, or several."""
    at_once: AtOnceLike | None = None
    """How many may run at once: a number, an `AtOnce`, or several."""
    unique: UniqueLike | None = None
    """What makes a job the same as another one: ``"args"``, names, a function, or a `Unique`."""

    def __post_init__(self) -> None:
        _refuse(f"the options of task {self.name!r}", _task_faults(self))


class QueueOptions(Record, frozen=True):
    """The limits of a queue: they hold for all its jobs together, besides those of their tasks."""

    name: str
    rate: RateLike | None = None
    at_once: AtOnceLike | None = None

    def __post_init__(self) -> None:
        faults = [*_queue_faults(self.name), *limit_faults(self.rate, self.at_once)]
        _refuse(f"the limits of queue {self.name!r}", iter(faults))


class JobOptions(Record, frozen=True):
    """What one job may decide for itself; None: the task's own."""

    queue: str | None = None
    priority: int | None = None
    """-1000 to 1000; higher goes first within a queue."""
    delay: Duration | None = None
    """From now until the job is due."""
    at: datetime | None = None
    """When the job is due: an aware datetime."""
    key: str | None = None
    """The idempotency key, unique among the live jobs of a task."""
    keep_key: Keep | None = None
    """Seconds, a timedelta, or ``"forever"``: so long from now on the key is held even if the job ends sooner."""
    on_conflict: OnConflict | str | None = None
    """What becomes of the job when another one holds its key: ``return``, ``refuse``, ``replace``, ``debounce``."""
    rate: RateLike | None = None
    """In place of the task's; ``()``: none."""
    at_once: AtOnceLike | None = None
    """In place of the task's; ``()``: none."""
    timeout: Duration | None = None
    max_retries: int | None = None
    user: str | None = None
    topic: str | None = None

    def __post_init__(self) -> None:
        _refuse("the job's options", _job_faults(self))


def _refuse(what: str, faults: Iterator[str]) -> None:
    found = list(faults)
    if found:
        raise InvalidOptions(f"{what} make no sense: " + "; ".join(found))


def _task_faults(options: TaskOptions) -> Iterator[str]:
    if not _NAME.fullmatch(options.name):
        yield f"name={options.name!r} must be 1 to 100 letters, digits or . : _ -"
    yield from _queue_faults(options.queue)
    yield from _integer_faults("priority", options.priority, -MAX_PRIORITY, MAX_PRIORITY)
    yield from _integer_faults("max_retries", options.max_retries, 0, MAX_RETRIES)
    yield from _backoff_faults(options)
    yield from _retry_on_faults(options.retry_on)
    yield from _above_zero_faults("timeout", options.timeout)
    yield from _not_negative_faults("grace", options.grace)
    yield from _isolation_faults(options)
    yield from _text_faults("topic", options.topic)
    yield from _not_negative_faults("result_ttl", options.result_ttl)
    yield from _not_negative_faults("failure_ttl", options.failure_ttl)
    yield from limit_faults(options.rate, options.at_once)
    yield from unique_faults(options.unique)


def _job_faults(options: JobOptions) -> Iterator[str]:
    if options.queue is not None:
        yield from _queue_faults(options.queue)
    if options.priority is not None:
        yield from _integer_faults("priority", options.priority, -MAX_PRIORITY, MAX_PRIORITY)
    if options.max_retries is not None:
        yield from _integer_faults("max_retries", options.max_retries, 0, MAX_RETRIES)
    yield from _due_faults(options.delay, options.at)
    yield from _above_zero_faults("timeout", options.timeout)
    yield from _text_faults("key", options.key)
    if options.keep_key is not None:
        yield from keep_faults("keep_key", options.keep_key)
    if options.on_conflict is not None:
        yield from conflict_faults(options.on_conflict)
    yield from limit_faults(options.rate, options.at_once)
    yield from _text_faults("user", options.user)
    yield from _text_faults("topic", options.topic)


def _limit_faults(limits: Limits) -> Iterator[str]:
    if limits.memory is not None:
        yield from _integer_faults("memory", limits.memory, 1, 2**62)
    yield from _above_zero_faults("cpu", limits.cpu)
    if limits.files is not None:
        yield from _integer_faults("files", limits.files, 1, 2**31)


def _queue_faults(queue: object) -> Iterator[str]:
    if not isinstance(queue, str) or not _QUEUE.fullmatch(queue):
        yield f"queue={queue!r} must be 1 to 64 letters, digits or . _ -"


def _integer_faults(name: str, value: object, lowest: int, highest: int) -> Iterator[str]:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        yield f"{name}={value!r} must be a whole number from {lowest} to {highest}"


def _backoff_faults(options: TaskOptions) -> Iterator[str]:
    broken = [
        *_not_negative_faults("min_backoff", options.min_backoff),
        *_above_zero_faults("max_backoff", options.max_backoff),
    ]
    yield from broken
    if not broken and options.min_backoff > options.max_backoff:
        yield f"min_backoff ({options.min_backoff:g} s) is above max_backoff ({options.max_backoff:g} s)"


def _retry_on_faults(retry_on: object) -> Iterator[str]:
    kinds = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            yield f"retry_on must name exception classes (Exception or below it), not {kind!r}"


def _isolation_faults(options: TaskOptions) -> Iterator[str]:
    if options.isolation not in ("none", "process"):
        yield f"isolation={options.isolation!r} must be 'none' or 'process'"
    elif options.limits is not None and options.isolation != "process":
        yield "limits hold in a child process only: add isolation='process'"


def _due_faults(delay: object, at: object) -> Iterator[str]:
    if delay is not None and at is not None:
        yield "delay and at exclude one another: give one of them"
    yield from _not_negative_faults("delay", delay)
    if at is not None:
        yield from moment_faults("at", at)


def moment_faults(name: str, moment: object) -> Iterator[str]:
    """Yield what is wrong with a moment that a job or a schedule is to begin at."""
    if not isinstance(moment, datetime):
        yield f"{name}={moment!r} must be a datetime"
    elif moment.utcoffset() is None:
        yield f"{name}={moment!r} has no time zone: use datetime.now(timezone.utc) + …, or give it a tzinfo"
    elif not 0.0 <= moment.timestamp() < END_OF_CALENDAR:
        yield f"{name}={moment.isoformat()} must be from 1970 to 9999 (in UTC)"


def _text_faults(name: str, text: object) -> Iterator[str]:
    if text is None:
        return
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT:
        yield f"{name} must be a text of 1 to {MAX_TEXT} characters"


def _above_zero_faults(name: str, duration: object) -> Iterator[str]:
    if duration is not None and not finite_seconds(duration) > 0:
        yield f"{name}={duration!r} must be above zero (seconds or a timedelta)"


def _not_negative_faults(name: str, duration: object) -> Iterator[str]:
    if duration is not None and not finite_seconds(duration) >= 0:
        yield f"{name}={duration!r} must be zero or more (seconds or a timedelta)"
