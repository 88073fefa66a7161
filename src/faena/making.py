"""From a request to a new job: the task's options and the job's own, checked arguments, its key and its gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from faena import words
from faena.durations import seconds
from faena.errors import InvalidArguments, InvalidOptions, KeyConflict, UnknownTask
from faena.ids import Ids
from faena.job import Gate, Job, NewJob, OnConflict, same_arguments
from faena.options import QueueOptions
from faena.rates import Plan, Rule, names_of, rules
from faena.task import JobRequest, Task
from faena.unique import ARGS, Unique, is_digest, kept

SHOWN: Final = 60
"""Characters of an argument that an error shows."""
MAX_ARGUMENTS: Final = 4 * 1024 * 1024
"""Bytes of JSON that the arguments of one job may be."""


class Maker:
    """Makes the jobs of an app's tasks. ``queues`` are those with limits."""

    def __init__(
        self,
        tasks: Mapping[str, Task[Any, Any]],
        queues: Mapping[str, QueueOptions],
        *,
        max_arguments: int = MAX_ARGUMENTS,
    ) -> None:
        self.tasks = tasks
        self.max_arguments = max_arguments
        self._queues = queues
        self._plans: dict[tuple[str, str], Plan] = {}
        """By task and queue."""
        self._new_id = Ids()

    def task(self, name: str) -> Task[Any, Any]:
        """Return a task; raises `UnknownTask`."""
        task = self.tasks.get(name)
        if task is None:
            raise UnknownTask(name, list(self.tasks))
        return task

    def make(self, request: JobRequest) -> NewJob:
        """Return the job that was asked for; raises `UnknownTask`, `InvalidArguments`, `InvalidOptions`."""
        task = self.task(request.task)
        options = task.options
        retries = options.max_retries if request.max_retries is None else request.max_retries
        queue = request.queue or options.queue
        args = self._checked_arguments(task, request.args)
        return NewJob(
            id=self._new_id(),
            task=task.name,
            args=args,
            queue=queue,
            priority=options.priority if request.priority is None else request.priority,
            delay=seconds(request.delay or 0.0),
            due_at=None if request.at is None else request.at.timestamp(),
            max_attempts=retries + 1,
            timeout=None if request.timeout is None else seconds(request.timeout),
            key=_key(task, request, args),
            key_kept=_key_kept(task, request),
            key_bound=None if request.key_bound is None else seconds(request.key_bound),
            on_conflict=_on_conflict(task, request),
            idempotency=request.idempotency,
            gates=self._gates(task, queue, request, args),
            user=request.user,
            topic=request.topic or options.topic,
            origin=request.origin,
        )

    def conflict(self, asked: NewJob, holder: Job) -> KeyConflict:
        """Say who holds the key of a job that was asked for, until when, and what to do."""
        if asked.idempotency is not None and (asked.key is None or asked.key != holder.key):
            key = asked.idempotency.key
            told = f"was used for another request, which made job {holder.id}: send that one again, or take a new key"
            return KeyConflict(key, holder.id, f"the idempotency key {key!r} {told}", task=holder.task)
        key, unique = str(asked.key), self.task(asked.task).unique
        held, until, advice = _held(holder)
        if unique is not None and unique.key(asked.args) == key:
            name = _made(asked, unique)
        else:
            name, advice = f"the key {key!r}", [*advice, "take another key"]
        other = "" if same_arguments(holder.args, asked.args) else " with other arguments"
        told = f"{name} is held by job {holder.id}{other}, which is {holder.status} {held}"
        told += f": {' or '.join(advice)}" if advice else ""
        return KeyConflict(key, holder.id, told, task=holder.task, status=holder.status, held_until=until)

    def limited(self, task: str, queue: str) -> bool:
        """Return whether jobs of a task on a queue have limits, as far as this app knows."""
        known = self.tasks.get(task)
        return known is not None and bool(self._plan(known, queue))

    def takes_slots(self, task: str, queue: str) -> bool:
        """Return whether only so many jobs of a task on a queue may run at once, as far as this app knows."""
        known = self.tasks.get(task)
        return known is not None and self._plan(known, queue).slots

    def _checked_arguments(self, task: Task[Any, Any], args: Mapping[str, object] | bytes) -> bytes:
        body = task.adopt_args(args) if isinstance(args, bytes) else task.dump_args(args)
        if len(body) > self.max_arguments:
            told = (
                f"{len(body):,} bytes of JSON, and at most {self.max_arguments:,} are taken: put the data in a file or "
                "a database and pass its path or key, or make several jobs of it"
            )
            raise InvalidArguments(task.name, [{"where": "arguments", "message": told, "type": "too_long"}])
        return body

    def _gates(self, task: Task[Any, Any], queue: str, request: JobRequest, args: bytes) -> tuple[Gate, ...]:
        if request.rate is None and request.at_once is None:
            return self._plan(task, queue).gates(args)
        options = task.options
        rate = options.rate if request.rate is None else request.rate
        at_once = options.at_once if request.at_once is None else request.at_once
        return Plan((*rules(f"task:{task.name}", rate, at_once), *self._queue_rules(queue))).gates(args)

    def _plan(self, task: Task[Any, Any], queue: str) -> Plan:
        plan = self._plans.get((task.name, queue))
        if plan is None:
            plan = self._plans[task.name, queue] = Plan((*task.rules, *self._queue_rules(queue)))
        return plan

    def _queue_rules(self, queue: str) -> tuple[Rule, ...]:
        options = self._queues.get(queue)
        return () if options is None else rules(f"queue:{queue}", options.rate, options.at_once)


def _held(holder: Job) -> tuple[str, float | None, list[str]]:
    """Say how long a job holds its key; until when at the latest, if that is known; and what can be done about it."""
    if not holder.status.final:
        return "and holds it at least until it ends", None, ["wait for it", "cancel it"]
    until = holder.expires_at
    if until is None or until >= words.END_OF_CALENDAR:
        return "and keeps it for ever", None, []
    return f"and keeps it, until {words.when(until)} at the latest", until, ["wait till then"]


def _made(asked: NewJob, unique: Unique) -> str:
    """Name a key that the task's `unique` made by the arguments that it is made of."""
    values = msgspec.json.decode(asked.args)
    if not callable(unique.by):
        names = [*values] if unique.by == ARGS else names_of(unique.by)
        return f"the key of task {asked.task!r} for {_told({name: values.get(name) for name in names})}"
    if is_digest(asked.key):
        return f"the key of task {asked.task!r}, made of {_told(values)},"
    return f"the key {asked.key!r} of task {asked.task!r}"


def _told(values: Mapping[str, Any]) -> str:
    """Say arguments in short: ``page=1, deep=false``."""
    told = [f"{name}={_cut(msgspec.json.encode(value).decode())}" for name, value in values.items()]
    return words.listed(told) or "no arguments"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _key(task: Task[Any, Any], request: JobRequest, args: bytes) -> str | None:
    if (
        request.key is None
        and task.unique is None
        and (request.keep_key is not None or request.on_conflict is not None)
    ):
        raise InvalidOptions(
            f"keep_key and on_conflict say what a key does, and this job has none: give it one (key=…), or make task "
            f"{task.name!r} unique"
        )
    if request.key is not None or task.unique is None or not request.unique:
        return request.key
    return task.unique.key(args)


def _key_kept(task: Task[Any, Any], request: JobRequest) -> float:
    if request.keep_key is not None:
        return kept(request.keep_key)
    return 0.0 if task.unique is None or not request.unique else kept(task.unique.keep)


def _on_conflict(task: Task[Any, Any], request: JobRequest) -> OnConflict:
    if request.on_conflict is not None:
        return OnConflict(request.on_conflict)
    if task.unique is None or not request.unique:
        return OnConflict.RETURN
    return OnConflict(task.unique.on_conflict)
