"""From a request to a new job: the task's options and the job's own, checked arguments, its key and its gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from faena import words
from faena.durations import seconds
from faena.errors import InvalidArguments, InvalidOptions, KeyConflict, UnknownTask
from faena.ids import Ids
from faena.job import Gate, Job, NewJob, OnConflict
from faena.options import QueueOptions
from faena.rates import Plan, Rule, rules
from faena.task import JobRequest, Task
from faena.unique import kept

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


def key_conflict(asked: NewJob, holder: Job) -> KeyConflict:
    """Say who holds the key and until when, and what to do."""
    if asked.idempotency is not None and (asked.key is None or asked.key != holder.key):
        key = asked.idempotency.key
        told = f"was used for another request, which made job {holder.id}: send that one again, or take a new key"
        return KeyConflict(key, holder.id, f"the idempotency key {key!r} {told}")
    key = str(asked.key)
    if holder.status.final:
        until = (
            f", which is {holder.status} and keeps it, until {words.when(holder.expires_at)} at the latest"
        )
    else:
        until = f", which is {holder.status}, until it ends"
    other = " with other arguments" if holder.args != asked.args else ""
    told = f"the key {key!r} is held by job {holder.id}{other}{until}: wait for it, cancel it, or take another key"
    return KeyConflict(key, holder.id, told)


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
