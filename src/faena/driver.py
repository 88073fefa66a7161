"""The queue driver: plain functions by name, synchronous, for Flask, scripts and notebooks.

    queue = get_queue_driver()
    queue.register_task(calculate, name="calculate", max_retries=3, min_backoff=15_000, max_backoff=3_600_000)
    task_id = queue.enqueue("calculate", employee_id="123", value=100, delay=300)
    queue.get_task_result(task_id)["status"]

It is a small face of a `Faena`: the jobs, their rules, the page and the workers (``faena worker --app module:queue``)
are the same. Backoffs are milliseconds here and nowhere else; ``delay`` is seconds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from faena.app import Faena
from faena.durations import Duration
from faena.errors import InvalidSettings, StoreFault, Unavailable, UnknownTask
from faena.job import WAITING, Job, Status

if TYPE_CHECKING:
    from faena.client import Client
    from faena.settings import Settings
    from faena.task import Task

__all__ = ["DISABLED", "NOT_FOUND", "QueueDriver", "RegisteredTask", "get_queue_driver"]

DISABLED: Final = "disabled"
"""What a driver that is switched off answers: as its name, as a task id, and as a task's status."""
NOT_FOUND: Final = "not_found"
"""The status of a task that was never there, or is no longer kept (RESULT_TTL, FAILURE_TTL)."""

log = logging.getLogger(__name__)
_drivers: dict[str | None, QueueDriver] = {}
"""The one thing of Faena that is a process's and not an instance's: the contract is that every module that calls
`get_queue_driver` gets the same tasks."""
_making: Final = threading.Lock()


def get_queue_driver(force_backend: str | None = None) -> QueueDriver:
    """Return this process's queue driver: the same one at each call, with the engine that the settings select.

    ``force_backend`` names an engine in their place (``huey``, ``dramatiq``, ``direct``…); each name has a driver of
    its own. Raises `InvalidSettings` for a name that is no engine.
    """
    if force_backend is not None:
        force_backend = _checked_backend(force_backend)
    with _making:
        if force_backend not in _drivers:
            _drivers[force_backend] = QueueDriver(DriverApp(force_backend))
        return _drivers[force_backend]


class RegisteredTask:
    """What `QueueDriver.register_task` returns. Call it and the plain function runs, here and now."""

    def __init__(self, driver: QueueDriver, task: Task[Any, Any]) -> None:
        self.task = task
        """The `Task`, with everything that the driver has no word for: keys, priorities, queues."""
        self._driver = driver

    @property
    def name(self) -> str:
        """The name under which `QueueDriver.enqueue` finds it."""
        return self.task.name

    def send(self, *args: Any, **kwargs: Any) -> str:
        """Enqueue the task and return its id."""
        return self._driver._enqueue(self.name, args, kwargs, None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the plain function."""
        return self.task(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<RegisteredTask {self.name}>"


class QueueDriver:
    """Registers functions and enqueues them by name, in an app of its own or in one that is given.

    Nothing is opened, and no setting read, before the first task is enqueued. With QUEUE_ENABLED=0 it does nothing, and
    says so.
    """

    def __init__(self, app: Faena | None = None) -> None:
        self.app = app if app is not None else DriverApp(None)
        """The `Faena` behind it: what a worker loads."""

    def register_task(
        self,
        func: Callable[..., Any],
        name: str,
        max_retries: int = 3,
        min_backoff: int = 15_000,
        max_backoff: int = 3_600_000,
    ) -> RegisteredTask:
        """Make a function a task. Backoffs are milliseconds. The same function again takes the place of its former
        self (a notebook's cell, a module that is loaded anew); another one of that name raises `InvalidOptions`."""
        decorate = self.app.task(
            name=name,
            max_retries=max_retries,
            min_backoff=min_backoff / 1000,
            max_backoff=max_backoff / 1000,
        )
        return RegisteredTask(self, decorate(func))

    def enqueue(self, name: str, /, *args: Any, delay: Duration | None = None, **kwargs: Any) -> str:
        """Enqueue a task and return its id: at once, or to run ``delay`` seconds from now. Raises `UnknownTask`,
        `InvalidArguments`, `Unavailable`."""
        return self._enqueue(name, args, kwargs, delay)

    def get_task_result(self, task_id: str) -> dict[str, Any]:
        """Return ``status``, ``result``, ``error`` (a text, of the last attempt that failed), ``progress`` (0 to 100),
        ``message`` and more. An id that is not known has the status ``not_found``. Raises `Unavailable`."""
        return self._results([task_id])[0]

    def get_bulk_results(self, task_ids: Sequence[str]) -> dict[str, Any]:
        """Return how many of these tasks are ``completed``, ``failed`` (or cancelled), ``pending`` (or waiting for
        their time) and ``processing``, of ``total``; ``progress_percentage``, the mean of their progress; and
        ``tasks``, each one's result in the order given. Those that are not found count as ended."""
        results = self._results(task_ids)
        counts = {
            word: sum(one["status"] in statuses for one in results) for word, statuses in _COUNTED.items()
        }
        progress = sum(_progress(one) for one in results) / len(results) if results else 0.0
        return {
            "total": len(results),
            **counts,
            "progress_percentage": round(progress, 1),
            "tasks": results,
        }

    def get_stats(self) -> dict[str, Any]:
        """Return ``driver`` (the engine), ``backend`` (where it keeps its messages), ``available``,
        ``registered_tasks``, and ``pending_tasks``, or on Redis ``queues`` with how many wait in each. Never raises
        for a queue that is down."""
        known: dict[str, Any] = {"registered_tasks": sorted(self.app.tasks)}
        if not self._enabled:
            return {"driver": DISABLED, "backend": "none", "available": False, **known, "pending_tasks": 0}
        driver, store = self._names()
        on_redis = store == "redis" or driver not in ("huey", "direct")
        backend = "redis" if on_redis else "filesystem" if driver == "huey" else store
        waiting = self._waiting() if (available := self.is_available()) else {}
        told = {"queues": waiting} if on_redis else {"pending_tasks": sum(waiting.values())}
        return {"driver": driver, "backend": backend, "available": available, **known, **told}

    def is_available(self) -> bool:
        """Return whether the store and the engine answer, and the queue is not switched off."""
        if not self._enabled:
            return False
        try:
            self.app.ask(_check)
        except (Unavailable, StoreFault):
            return False
        return True

    @property
    def _enabled(self) -> bool:
        return self.app.settings.queue_enabled

    def _enqueue(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], delay: Duration | None
    ) -> str:
        task = self.app.tasks.get(name)
        if task is None:
            raise UnknownTask(name, list(self.app.tasks))
        if not self._enabled:
            log.warning("the queue is switched off (QUEUE_ENABLED=0): %s was not enqueued", name)
            return DISABLED
        return task.using(delay=delay).enqueue(*args, **kwargs).id

    def _results(self, task_ids: Sequence[str]) -> list[dict[str, Any]]:
        ids = _checked_ids(task_ids)
        if not self._enabled:
            return [_nothing(one, DISABLED, "the queue is switched off: QUEUE_ENABLED=0") for one in ids]
        jobs = self.app.ask(lambda client: client.store.get(ids))
        return [
            _nothing(one, NOT_FOUND, "no such task, or it is no longer kept") if job is None else _result(job)
            for one, job in zip(ids, jobs, strict=True)
        ]

    def _names(self) -> tuple[str, str]:
        """The engine's name and the store's, though they may be down."""
        engine = self.app.make_engine()
        engine.close()
        return engine.name, self.app.make_store().name

    def _waiting(self) -> dict[str, int]:
        waiting: dict[str, int] = {}
        for count in self.app.ask(lambda client: client.store.counts()):
            if count.status in WAITING:
                waiting[count.queue] = waiting.get(count.queue, 0) + count.count
        return waiting

    def __repr__(self) -> str:
        return f"<QueueDriver: {len(self.app.tasks)} tasks>"


class DriverApp(Faena):
    """The app of a driver that was given none: an engine may be named, and a function may be registered again."""

    def __init__(self, backend: str | None) -> None:
        super().__init__("queue")
        self._backend = backend

    @property
    def settings(self) -> Settings:
        """The settings, read from the environment at the first use, with the engine that was named."""
        if self._settings is None:
            from faena.settings import Settings

            self._settings = Settings.load(engine=self._backend)
        return self._settings

    def _add(self, task: Task[Any, Any]) -> None:
        former = self._tasks.get(task.name)
        if former is not None and _same(former.function, task.function):
            del self._tasks[task.name]
        super()._add(task)


_COUNTED: Final[Mapping[str, frozenset[str]]] = {
    "completed": frozenset({Status.COMPLETED}),
    "failed": frozenset({Status.FAILED, Status.CANCELLED}),
    "pending": frozenset({Status.PENDING, Status.SCHEDULED}),
    "processing": frozenset({Status.PROCESSING}),
}


def _checked_backend(name: str) -> str:
    from faena.settings import ENGINES

    lowered = name.strip().lower()
    if lowered not in ENGINES and ":" not in name:
        raise InvalidSettings([f"force_backend={name!r} names no engine: there are {', '.join(ENGINES)}"])
    return name if ":" in name else lowered


def _checked_ids(task_ids: Sequence[str]) -> list[str]:
    if isinstance(task_ids, str):
        raise TypeError("get_bulk_results takes a list of task ids; for one of them there is get_task_result")
    ids = list(task_ids)
    for one in ids:
        if not isinstance(one, str):
            raise TypeError(f"a task id is the text that enqueue returned, not {one!r}")
    return ids


def _same(former: Callable[..., Any], function: Callable[..., Any]) -> bool:
    return (former.__module__, former.__qualname__) == (function.__module__, function.__qualname__)


async def _check(client: Client) -> None:
    import asyncio

    await client.store.check()
    await asyncio.to_thread(client.engine.ping)


def _result(job: Job) -> dict[str, Any]:
    return {
        "task_id": job.id,
        "task": job.task,
        "status": str(job.status),
        "result": None if job.result is None else msgspec.json.decode(job.result),
        "error": None if job.error is None else job.error.told,
        "progress": job.progress,
        "message": job.message,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
    }


def _nothing(task_id: str, status: str, told: str) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "task": None,
        "status": status,
        "result": None,
        "error": told,
        "progress": 0.0,
        "message": None,
        "attempt": 0,
        "max_attempts": 0,
    }


def _progress(result: Mapping[str, Any]) -> float:
    ended = result["status"] in (Status.COMPLETED, Status.FAILED, Status.CANCELLED, NOT_FOUND)
    return 100.0 if ended else float(result["progress"])
