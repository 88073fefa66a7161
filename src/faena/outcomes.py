"""What became of an attempt, as a value: from a result or an exception to an `Outcome`.

The same rules hold where the function ran in the worker and where it ran in a child process.
"""

from __future__ import annotations

import asyncio
import traceback
from typing import Any, Final

from faena.attempt import Why
from faena.durations import seconds
from faena.errors import Cancelled, InvalidArguments, InvalidResult, Retry, Snooze, SoftTimeout
from faena.job import Failure, Job, Outcome, Step
from faena.options import TaskOptions
from faena.retry import backoff, retries
from faena.task import Task
from faena.text import storable

MAX_RESULT: Final = 16 * 1024 * 1024
"""Bytes of JSON that a result may be."""
MAX_MESSAGE: Final = 2000
"""Characters of a failure's message."""
MAX_TRACEBACK: Final = 16 * 1024
"""Characters of a failure's traceback; its middle is left out of a longer one."""
UNKNOWN_AGAIN: Final = 30.0
"""Seconds until a job whose task the worker does not know is offered again."""
OURS: Final = frozenset({"faena.runners", "faena.executor", "faena.threads", "faena.isolation.child"})
"""The modules between the worker and the function; their frames tell a reader nothing."""


class Hopeless(Exception):
    """The attempt failed in a way that another one would repeat: no retry. Its cause says why."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


class Died(Exception):
    """The child process ended under the function."""

    def __init__(self, failure: Failure, kind: Exception) -> None:
        self.failure = failure
        self.kind = kind
        """What `retry_on` is asked about."""
        super().__init__(failure.message)


def unknown(job: Job) -> Snooze:
    """Return what puts off a job whose task is not registered here: during a deploy, or where two apps share a
    queue, another worker may know it."""
    return Snooze(UNKNOWN_AGAIN, f"this worker knows no task named {job.task}; another one may")


def load(task: Task[Any, Any], job: Job) -> dict[str, Any]:
    """Return the arguments as Python values; raise `Hopeless` when they do not fit the signature any more."""
    try:
        return task.load_args(job.args)
    except InvalidArguments as error:
        told = f"{error}. Was the task changed after the job was enqueued?"
        raise Hopeless(Failure(type="InvalidArguments", message=storable(told, MAX_MESSAGE))) from None


def dump(task: Task[Any, Any], value: object) -> bytes:
    """Return the result as JSON; raise `Hopeless` when it does not fit."""
    if value is None:
        return b"null"
    try:
        body = task.dump_result(value)
    except InvalidResult as error:
        raise Hopeless(Failure(type="InvalidResult", message=storable(str(error), MAX_MESSAGE))) from None
    if len(body) > MAX_RESULT:
        told = f"the result is {len(body):,} bytes of JSON, at most {MAX_RESULT:,} are kept: return where it is instead"
        raise Hopeless(Failure(type="ResultTooLarge", message=told))
    return body


def completed(job: Job, options: TaskOptions, result: bytes) -> Outcome:
    """Return the outcome of a function that returned."""
    return Outcome(job_id=job.id, token=job.token, step=Step.COMPLETE, result=result, ttl=options.result_ttl)


def released(job: Job) -> Outcome:
    """Return the outcome that hands a job back without spending the attempt."""
    return Outcome(job_id=job.id, token=job.token, step=Step.RELEASE)


def refused(job: Job, error: BaseException) -> Outcome:
    """Return the outcome of an attempt whose own outcome can't be made, or the store does not take, and never will."""
    told = f"how the attempt ended can't be stored: {type(error).__name__}: {_text(error)}"
    return _failed(job, None, Failure(type="OutcomeRefused", message=storable(told, MAX_MESSAGE)))


def from_error(
    job: Job, options: TaskOptions | None, error: BaseException, *, why: Why | None = None
) -> Outcome | None:
    """Return the outcome of a function that raised, having been stopped for ``why``; None: record nothing. Never
    raises, whatever the function's own exception class does."""
    try:
        return _from_error(job, options, error, why)
    except BaseException as fault:
        return refused(job, fault)


def _from_error(
    job: Job, options: TaskOptions | None, error: BaseException, why: Why | None
) -> Outcome | None:
    stopped = isinstance(error, asyncio.CancelledError)
    if why is Why.STALE:
        return None
    if isinstance(error, Cancelled) or (stopped and why is Why.CANCEL):
        return Outcome(job_id=job.id, token=job.token, step=Step.CANCEL, message=_text(error) or None)
    if isinstance(error, Snooze):
        delay = max(seconds(error.after), 0.0)
        message = _text(error) or None
        return Outcome(job_id=job.id, token=job.token, step=Step.SNOOZE, delay=delay, message=message)
    if isinstance(error, Hopeless) or options is None:
        return _failed(job, options, failure_of(error))
    if why is Why.RELEASE:  # whatever it made of being interrupted: the attempt is not spent
        return released(job)
    if (stopped and why is Why.TIMEOUT) or (isinstance(error, SoftTimeout) and not error.args):
        told = f"it took longer than {_timeout(job, options)}"
        error = SoftTimeout(told).with_traceback(error.__traceback__)
    return _failed_or_retried(job, options, error)


def _failed_or_retried(job: Job, options: TaskOptions, error: BaseException) -> Outcome:
    """Try again if an attempt is left and the failure is one to retry on."""
    failure = failure_of(error)
    asked = isinstance(error, Retry)
    kind = error.kind if isinstance(error, Died) else error
    if isinstance(error, asyncio.CancelledError):
        kind = Exception()  # something inside the function was cancelled, not by us: an ordinary failure
    if job.attempt >= job.max_attempts or not (asked or retries(kind, options.retry_on)):
        return _failed(job, options, failure)
    after = error.after if isinstance(error, Retry) else None
    delay = backoff(job.attempt, minimum=options.min_backoff, maximum=options.max_backoff)
    return Outcome(
        job_id=job.id,
        token=job.token,
        step=Step.RETRY,
        error=failure,
        delay=delay if after is None else max(seconds(after), 0.0),
        ttl=options.failure_ttl,
    )


def _failed(job: Job, options: TaskOptions | None, failure: Failure) -> Outcome:
    ttl = None if options is None else options.failure_ttl
    return Outcome(job_id=job.id, token=job.token, step=Step.FAIL, error=failure, ttl=ttl)


def failure_of(error: BaseException) -> Failure:
    """Return an exception in a form that can be stored and shown."""
    if isinstance(error, Hopeless | Died):
        return error.failure
    kind = "Timeout" if isinstance(error, SoftTimeout) else type(error).__name__
    kind = "OutOfMemory" if isinstance(error, MemoryError) else kind
    message = _text(error)
    if isinstance(error, MemoryError):  # Python's own says nothing
        message = message or "there was no memory left for what it asked for"
    return Failure(type=kind, message=message, traceback=_traceback(error))


def _timeout(job: Job, options: TaskOptions) -> str:
    limit = job.timeout if job.timeout is not None else options.timeout
    return "its timeout" if limit is None else f"{limit:g} s"


def _text(error: BaseException) -> str:
    try:
        return storable(str(error), MAX_MESSAGE)
    except Exception:  # the function's own exception class may do anything
        return "(its message could not be read)"


def _is_ours(module: str) -> bool:
    return module in OURS or module.startswith("asyncio.")


def _traceback(error: BaseException) -> str | None:
    """Return the traceback from the function's own first frame on; None when it has none of its own."""
    start = error.__traceback__
    while start is not None and _is_ours(start.tb_frame.f_globals.get("__name__", "")):
        start = start.tb_next
    if start is None and error.__cause__ is None:
        return None
    try:
        lines = traceback.format_exception(type(error), error, start)
    except Exception:  # a broken __str__ or source must not hide the failure itself
        return None
    text = "".join(lines).encode("utf-8", "backslashreplace").decode()
    if len(text) <= MAX_TRACEBACK:
        return text
    half = MAX_TRACEBACK // 2 - 20
    return f"{text[:half]}\n  […]\n{text[-half:]}"
