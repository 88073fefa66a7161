"""A registered function with its options, and the four verbs that make jobs of it."""

from __future__ import annotations

import copy
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar

import msgspec

from faena.arguments import Arguments, read_signature
from faena.durations import Duration
from faena.errors import FaenaWarning, InvalidOptions, InvalidResult
from faena.job import Idempotency, OnConflict
from faena.options import Isolation, JobOptions, Limits, TaskOptions
from faena.rates import AtOnceLike, RateLike, names_of, rules, unknown_names
from faena.unique import ARGS, Keep, Unique, as_unique

if TYPE_CHECKING:
    from faena.handle import JobHandle

__all__ = [
    "Isolation",
    "JobOptions",
    "JobRequest",
    "Limits",
    "Prepared",
    "Submitter",
    "Task",
    "TaskOptions",
    "make_task",
]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class JobRequest(JobOptions, frozen=True, kw_only=True):
    """A job to be: a task's name, its arguments, and what this job decides for itself."""

    task: str
    args: Mapping[str, object] | bytes = msgspec.field(default_factory=dict)
    """Python values by name, or the bytes of a JSON object (as they came over HTTP)."""
    origin: str | None = None
    """The id of the job that this one runs again."""
    unique: bool = True
    """False: the task's `unique` gives this job no key."""
    key_bound: Duration | None = None
    """From now on, after which the key is free even if the job still lives."""
    idempotency: Idempotency | None = None
    """Recognises this very request when it is sent again."""


class Submitter(Protocol):
    """Whoever turns requests into jobs for a task: an app."""

    def submit(self, requests: Sequence[JobRequest]) -> list[JobHandle]:
        """Store jobs; blocks."""
        ...

    async def asubmit(self, requests: Sequence[JobRequest]) -> list[JobHandle]:
        """Store jobs."""
        ...


class Prepared(Generic[P]):
    """A task together with options for the jobs to come: what `Task.using` returns."""

    def __init__(self, task: Task[P, Any], options: JobOptions) -> None:
        self._task = task
        self._options = options

    def using(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        key: str | None = None,
        keep_key: Keep | None = None,
        on_conflict: OnConflict | str | None = None,
        rate: RateLike | None = None,
        at_once: AtOnceLike | None = None,
        timeout: Duration | None = None,
        max_retries: int | None = None,
        user: str | None = None,
        topic: str | None = None,
    ) -> Prepared[P]:
        """Return the same with these options set besides; raises `InvalidOptions` at once.

        ``priority`` -1000 to 1000, higher first; ``delay`` from now, or ``at`` an aware datetime; ``key`` makes
        the job the only live one of its task with that key (``keep_key``: so long, or ``"forever"``, even if it ends;
        ``on_conflict``: return, refuse, replace or debounce the holder); ``rate`` and ``at_once`` take the place of
        the task's; ``max_retries`` are the attempts after the first.
        """
        given = JobOptions(
            queue=queue,
            priority=priority,
            delay=delay,
            at=at,
            key=key,
            keep_key=keep_key,
            on_conflict=on_conflict,
            rate=rate,
            at_once=at_once,
            timeout=timeout,
            max_retries=max_retries,
            user=user,
            topic=topic,
        )
        self._task.refuse_unknown_names(rate=rate, at_once=at_once)
        changed = {name: value for name, value in _options(given).items() if value is not None}
        return Prepared(self._task, JobOptions(**{**_options(self._options), **changed}))

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """Store a job and hand it to the engine; blocks for milliseconds. In async code: `aenqueue`.

        Raises `InvalidArguments`, `KeyConflict`, `Unavailable`. Once it returns, the job is stored for good.
        """
        return self._task.submitter.submit([self._request(args, kwargs)])[0]

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """Store a job and hand it to the engine, from any event loop. Raises as `enqueue` does."""
        return (await self._task.submitter.asubmit([self._request(args, kwargs)]))[0]

    def enqueue_many(self, many: Iterable[Mapping[str, object]]) -> list[JobHandle]:
        """Store a job for each set of named arguments. All are checked before the first is stored."""
        return self._task.submitter.submit([self._request((), args) for args in many])

    async def aenqueue_many(self, many: Iterable[Mapping[str, object]]) -> list[JobHandle]:
        """Store a job for each set of named arguments. All are checked before the first is stored."""
        return await self._task.submitter.asubmit([self._request((), args) for args in many])

    def _request(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> JobRequest:
        named = self._task.arguments.name_positional(args, kwargs) if args else kwargs
        return JobRequest(task=self._task.name, args=named, **_options(self._options))


class Task(Generic[P, R]):
    """A registered function with its options. Call it and the plain function runs, here and now."""

    def __init__(
        self,
        function: Callable[..., R],
        options: TaskOptions,
        *,
        submitter: Submitter | None = None,
        pack: str | None = None,
    ) -> None:
        _refuse_function(function, options)
        self.function = function
        self.options = options
        self.pack = pack
        """The name of the pack that brought the task."""
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(function)) or inspect.iscoroutinefunction(
            function
        )
        self.arguments = Arguments(read_signature(function, task=options.name))
        self.unique = as_unique(options.unique)
        self.rules = rules(f"task:{options.name}", options.rate, options.at_once)
        """Its limits."""
        self.refuse_unknown_names(rate=options.rate, at_once=options.at_once, unique=self.unique)
        self._submitter = submitter
        self.__doc__ = function.__doc__
        self.__name__ = options.name
        self.__module__ = function.__module__
        self.__wrapped__ = function

    @property
    def name(self) -> str:
        """The name under which jobs find the task."""
        return self.options.name

    @property
    def context_parameter(self) -> str | None:
        """The parameter that gets the `Context`; None: the function asks for none."""
        return self.arguments.parameters.context

    @property
    def submitter(self) -> Submitter:
        """The app that stores this task's jobs; raises `InvalidOptions` when there is none."""
        if self._submitter is None:
            raise InvalidOptions(
                f"task {self.name!r} belongs to the pack {self.pack!r}, and a pack stores no jobs by itself: include "
                f"it in an app (app.include(pack)) and enqueue with app.tasks[{self.name!r}]"
            )
        return self._submitter

    def refuse_unknown_names(
        self, *, rate: RateLike | None = None, at_once: AtOnceLike | None = None, unique: Unique | None = None
    ) -> None:
        """Raise `InvalidOptions` for limits and keys made of arguments that the function does not take."""
        parameters = self.arguments.parameters
        if parameters.extra is not None:
            return
        unknown = [f"per={name!r}" for name in unknown_names(rate, at_once, parameters.names)]
        if unique is not None and unique.by != ARGS:
            unknown += [f"unique {name!r}" for name in names_of(unique.by) if name not in parameters.names]
        if unknown:
            known = ", ".join(parameters.names) or "no arguments"
            raise InvalidOptions(
                f"task {self.name!r} takes {known}; what its limits and keys are made of is not among them: "
                + ", ".join(unknown)
            )

    def bound_to(self, submitter: Submitter) -> Task[P, R]:
        """Return a copy whose jobs ``submitter`` stores."""
        bound = copy.copy(self)
        bound._submitter = submitter
        return bound

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Run the plain function, with the context (if it asks for one) given by the caller."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def dump_args(self, kwargs: Mapping[str, object]) -> bytes:
        """Return arguments as JSON, checked against the signature; raises `InvalidArguments`."""
        return self.arguments.dump(kwargs)

    def adopt_args(self, body: bytes) -> bytes:
        """Check arguments that came as JSON; returns them as `dump_args` writes them. Raises `InvalidArguments`."""
        return self.arguments.adopt(body)

    def load_args(self, body: bytes) -> dict[str, Any]:
        """Return the Python values that the function gets, without the context; raises `InvalidArguments`."""
        return self.arguments.load(body)

    def dump_result(self, value: object) -> bytes:
        """Return what the function returned as JSON (models, dataclasses, dates… by pydantic's rules, bytes as base64);
        raises `InvalidResult`."""
        from pydantic_core import PydanticSerializationError, to_json

        try:
            return to_json(value, bytes_mode="base64", inf_nan_mode="strings", by_alias=True)
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise InvalidResult(self.name, f"{type(value).__name__}: {error}") from None

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the arguments."""
        return self.arguments.schema()

    def using(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        key: str | None = None,
        keep_key: Keep | None = None,
        on_conflict: OnConflict | str | None = None,
        rate: RateLike | None = None,
        at_once: AtOnceLike | None = None,
        timeout: Duration | None = None,
        max_retries: int | None = None,
        user: str | None = None,
        topic: str | None = None,
    ) -> Prepared[P]:
        """Return the task with options for the jobs to come; see `Prepared.using`."""
        return self._prepared.using(
            queue=queue,
            priority=priority,
            delay=delay,
            at=at,
            key=key,
            keep_key=keep_key,
            on_conflict=on_conflict,
            rate=rate,
            at_once=at_once,
            timeout=timeout,
            max_retries=max_retries,
            user=user,
            topic=topic,
        )

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """Store a job; blocks for milliseconds. See `Prepared.enqueue`."""
        return self._prepared.enqueue(*args, **kwargs)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """Store a job, from any event loop. See `Prepared.aenqueue`."""
        return await self._prepared.aenqueue(*args, **kwargs)

    def enqueue_many(self, many: Iterable[Mapping[str, object]]) -> list[JobHandle]:
        """Store a job for each set of named arguments; see `Prepared.enqueue_many`."""
        return self._prepared.enqueue_many(many)

    async def aenqueue_many(self, many: Iterable[Mapping[str, object]]) -> list[JobHandle]:
        """Store a job for each set of named arguments; see `Prepared.aenqueue_many`."""
        return await self._prepared.aenqueue_many(many)

    @property
    def _prepared(self) -> Prepared[P]:
        return Prepared(self, JobOptions())


def make_task(
    function: Callable[..., Any],
    options: TaskOptions,
    *,
    submitter: Submitter | None = None,
    pack: str | None = None,
    stacklevel: int = 2,
) -> Task[Any, Any]:
    """Return a task of a function; warn when its timeout can't be kept by force."""
    task: Task[Any, Any] = Task(function, options, submitter=submitter, pack=pack)
    if options.timeout is not None and not task.is_async and options.isolation == "none":
        _warn_unstoppable(task, stacklevel=stacklevel + 1)
    return task


def _warn_unstoppable(task: Task[Any, Any], *, stacklevel: int) -> None:
    warnings.warn(
        f"task {task.name!r} has a timeout, but a plain function runs in a thread, and a thread can't be stopped: "
        "after its timeout and grace the attempt is recorded as failed, the thread goes on until it returns, and "
        "nothing that it reports is accepted. Make it an async function, or add isolation='process'",
        FaenaWarning,
        stacklevel=stacklevel + 1,
    )


def _refuse_function(function: object, options: TaskOptions) -> None:
    if not inspect.isfunction(function):
        raise InvalidOptions(f"a task is a function (def or async def), not {function!r}")
    plain = inspect.unwrap(function)
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise InvalidOptions(
            f"task {options.name!r} is a generator: return the result, and tell of parts of it with Context.emit"
        )
    if options.isolation == "process":
        _refuse_unimportable(function, options.name)


def _refuse_unimportable(function: Callable[..., Any], name: str) -> None:
    where = None
    if function.__module__ == "__main__":
        where = (
            f"the script that runs ({getattr(sys.modules.get('__main__'), '__file__', None) or 'a session'})"
        )
    elif "<" in function.__qualname__:
        where = f"{function.__qualname__} of {function.__module__}"
    if where is not None:
        raise InvalidOptions(
            f"task {name!r} has isolation='process', but a child process can't import it: it is defined in {where}. "
            "Move it to the top level of a module that can be imported"
        )


def _options(options: JobOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in JobOptions.__struct_fields__}
