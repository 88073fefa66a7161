"""A pack: a bundle of tasks, with the routes that go with them, for any app to include."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from faena.durations import Duration, seconds
from faena.errors import InvalidOptions
from faena.options import Isolation, Limits, TaskOptions
from faena.rates import AtOnceLike, RateLike
from faena.task import Submitter, Task, make_task
from faena.unique import UniqueLike

if TYPE_CHECKING:
    from typing import Concatenate

    from faena.context import Context

P = ParamSpec("P")
R = TypeVar("R")


class Decorator(Protocol):
    """Turns a function into a `Task`; the type of its `Context` parameter, if it comes first, is taken away."""

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class Registry:
    """Tasks by their names, and the decorator that adds them. What an app and a pack have in common."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._tasks: dict[str, Task[Any, Any]] = {}

    @property
    def tasks(self) -> Mapping[str, Task[Any, Any]]:
        """The registered tasks by their names."""
        return MappingProxyType(self._tasks)

    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        queue: str = "default",
        priority: int = 0,
        max_retries: int = 3,
        min_backoff: Duration = 15.0,
        max_backoff: Duration = 3600.0,
        retry_on: type[Exception] | tuple[type[Exception], ...] = (Exception,),
        timeout: Duration | None = None,
        grace: Duration = 5.0,
        isolation: Isolation = "none",
        limits: Limits | None = None,
        topic: str | None = None,
        result_ttl: Duration | None = None,
        failure_ttl: Duration | None = None,
        rate: RateLike | None = None,
        at_once: AtOnceLike | None = None,
        unique: UniqueLike | None = None,
    ) -> Decorator: ...

    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Register a function as a task: ``@app.task``, or ``@app.task(queue="media", timeout=60)``.

        The name is the function's own unless ``name`` is given. Durations are seconds or a `timedelta`. Raises
        `InvalidOptions` for options and signatures that make no sense, and for a name that is taken.
        """
        if function is not None:
            return self._register(function, {}, stacklevel=3)
        return lambda decorated: self._register(decorated, options, stacklevel=3)

    def _register(
        self, function: Callable[..., Any], given: Mapping[str, Any], *, stacklevel: int
    ) -> Task[Any, Any]:
        task = make_task(
            function,
            task_options(function, given),
            submitter=self._submitter(),
            pack=self._pack_name(),
            stacklevel=stacklevel,
        )
        self._add(task)
        return task

    def _add(self, task: Task[Any, Any]) -> None:
        taken = self._tasks.get(task.name)
        if taken is not None:
            raise InvalidOptions(
                f"{self.name!r} has a task named {task.name!r} already, {_place(taken)}; "
                f"give the one {_place(task)} another name: task(name=…)"
            )
        self._tasks[task.name] = task

    def _submitter(self) -> Submitter | None:
        return None

    def _pack_name(self) -> str | None:
        return None


class Pack(Registry):
    """A bundle of tasks, for any app to include. ``routes`` names a FastAPI router, ``"package.module:router"``, that
    the server mounts."""

    def __init__(self, name: str, *, routes: str | None = None) -> None:
        super().__init__(name)
        if routes is not None and routes.count(":") != 1:
            raise InvalidOptions(f"routes={routes!r} must name a router: 'package.module:router'")
        self.routes = routes

    def __repr__(self) -> str:
        return f"<Pack {self.name}: {', '.join(self.tasks)}>"

    def _pack_name(self) -> str | None:
        return self.name


_DURATIONS = ("min_backoff", "max_backoff", "timeout", "grace", "result_ttl", "failure_ttl")


def task_options(function: Callable[..., Any], given: Mapping[str, Any]) -> TaskOptions:
    """Return a task's options as they were given to the decorator; raises `InvalidOptions`."""
    unknown = sorted(set(given) - set(TaskOptions.__struct_fields__))
    if unknown:
        known = ", ".join(TaskOptions.__struct_fields__)
        raise InvalidOptions(f"no such task options: {', '.join(unknown)}; there are: {known}")
    options = dict(given)
    for name in _DURATIONS:
        if options.get(name) is not None and not isinstance(options[name], str):
            options[name] = seconds(options[name])
    if isinstance(options.get("retry_on"), type):
        options["retry_on"] = (options["retry_on"],)
    if options.get("name") is None:
        options["name"] = getattr(function, "__name__", type(function).__name__)
    return TaskOptions(**options)


def _place(task: Task[Any, Any]) -> str:
    code = getattr(task.function, "__code__", None)
    return f"in {task.function.__module__}" + (f", line {code.co_firstlineno}" if code else "")
