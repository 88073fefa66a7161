"""Celery's own command line as the host of Faena workers: one beside a pool of threads, or one in each forked child."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from celery import Celery, bootsteps, signals
from celery.concurrency.prefork import TaskPool as Prefork
from celery.concurrency.solo import TaskPool as Solo
from celery.worker import state
from kombu import Exchange, Queue

from faena.engines.celery import PREFIX

log = logging.getLogger(__name__)

FAILED: Final = 1
"""The exit status when it was the Faena worker that ended."""


class HostedWorker(Protocol):
    """The Faena worker beside Celery's consumer: it runs what the consumer hands it."""

    queues: tuple[str, ...]
    """In order of precedence."""

    def run(self, job_id: str) -> None:
        """Run a job to the end of one attempt."""
        ...

    def start(self, *, threads: int, grace: float | None, on_end: Callable[[], None]) -> None:
        """Start, and return when it can run jobs. ``on_end`` is called when it has ended, for whatever reason."""
        ...

    def stop(self, *, now: bool = False) -> None:
        """Finish or hand back the jobs under way. Returns at once; safe in a signal handler."""
        ...

    def wait(self) -> bool:
        """Wait for its end; True: it ended because it was stopped."""
        ...


def hosted_app(url: str, worker: HostedWorker, tasks: Iterable[str]) -> Celery:
    """Make the app that serves a worker's queues: every task of Faena by its own name, and no retries, results,
    delays or second deliveries of Celery's."""
    app = Celery("faena", broker=_broker(url), set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        **(_on_rabbit(worker.queues) if url.startswith("amqp") else _on_redis(url, worker.queues)),
    )
    for name in tasks:
        _register(app, worker, name)
    app.steps["worker"].add(_step(worker))
    return app


def _on_redis(url: str, queues: Sequence[str]) -> dict[str, Any]:
    return {
        "task_queues": [Queue(queue, Exchange(queue), routing_key=queue) for queue in queues],
        "task_default_queue": queues[0],
        "broker_transport_options": {
            "global_keyprefix": PREFIX,
            "queue_order_strategy": "priority",
            "priority_steps": [0],
            "visibility_timeout": 3600,
            "socket_connect_timeout": 2,
            "socket_timeout": 10,
            **({} if url.startswith("unix") else {"socket_keepalive": True}),
            "health_check_interval": 10,
        },
    }


def _on_rabbit(queues: Sequence[str]) -> dict[str, Any]:
    """Return the queues as `faena.engines.onrabbit` declares them: durable ones behind the default exchange."""
    names = [PREFIX + queue for queue in queues]
    return {
        "task_queues": [Queue(name, Exchange(""), routing_key=name, durable=True) for name in names],
        "task_default_queue": names[0],
        "broker_connection_timeout": 2,
    }


def _broker(url: str) -> str:
    """Return an address as Celery writes it: a socket's differently."""
    return f"redis+socket://{url.removeprefix('unix://')}" if url.startswith("unix") else url


def _register(app: Celery, worker: HostedWorker, name: str) -> None:
    def run(job_id: str) -> None:
        worker.run(job_id)

    app.task(name=name, shared=False, lazy=False)(run)


def _step(worker: HostedWorker) -> type[bootsteps.StartStopStep]:
    """Return the part of a Celery worker that begins after its pool, and ends after its consumer and before its
    pool."""

    class Faena(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.components:Pool",)

        def __init__(self, parent: Any, **options: Any) -> None:
            super().__init__(parent, **options)
            worker.queues = tuple(name.removeprefix(PREFIX) for name in parent.app.amqp.queues.consume_from)
            self._hosting: Beside | InChildren = (
                InChildren(worker) if issubclass(parent.pool_cls, Prefork) else Beside(worker, parent)
            )

        def start(self, parent: Any) -> None:
            self._hosting.start(1 if issubclass(parent.pool_cls, Solo) else parent.concurrency)

        def stop(self, parent: Any) -> None:
            if self._hosting.stop():
                parent.exitcode = 0  # Celery would say 1 after a SIGINT

        def terminate(self, parent: Any) -> None:
            self._hosting.stop()

    return Faena


class Beside:
    """One worker in the process of the pool. A second signal hands back at once what it runs."""

    def __init__(self, worker: HostedWorker, parent: Any) -> None:
        self._worker = worker
        self._parent = parent
        self._signals = 0
        self._stopping = self._failed = False
        signals.worker_shutting_down.connect(self._signalled, weak=False)

    def start(self, threads: int) -> None:
        """Start the worker."""
        self._worker.start(threads=threads, grace=None, on_end=self._ended)

    def stop(self) -> bool:
        """Return when the jobs under way have ended or were handed back; False: the worker had ended by itself."""
        self._stopping = True
        self._worker.stop()
        return not self._failed and self._worker.wait()

    def _signalled(self, **_: Any) -> None:
        self._signals += 1
        if self._signals > 1:
            self._worker.stop(now=True)
        elif issubclass(self._parent.pool_cls, Solo):
            self._stopping = True
            self._worker.stop()  # its thread is the consumer's: `stop` would come after the job

    def _ended(self) -> None:
        if not self._stopping:
            self._failed = True
            state.should_stop = FAILED


class InChildren:
    """One worker with one slot in each child of the prefork pool, started there.

    The children hold the reading end of a pipe: it ends when the parent stops, or dies.
    """

    def __init__(self, worker: HostedWorker) -> None:
        self._worker = worker
        self._parent = os.getpid()
        self._stopping = False
        self._watched, self._held = os.pipe()
        signals.worker_process_init.connect(self._begin, weak=False)
        signals.worker_process_shutdown.connect(self._end, weak=False)

    def start(self, threads: int) -> None:
        """Nothing: each child starts its own."""

    def stop(self) -> bool:
        """Tell the children; Celery waits for them."""
        os.close(self._held)
        return True

    def _begin(self, **_: Any) -> None:
        os.close(self._held)
        self._worker.start(threads=1, grace=None, on_end=self._ended)
        threading.Thread(target=self._watch, name="faena-parent", daemon=True).start()

    def _watch(self) -> None:
        os.read(self._watched, 1)
        orphan = os.getppid() != self._parent
        self._stopping = True
        self._worker.stop(now=orphan)
        if orphan:
            self._worker.wait()
            os._exit(FAILED)

    def _end(self, **_: Any) -> None:
        self._stopping = True
        self._worker.stop()
        self._worker.wait()

    def _ended(self) -> None:
        if not self._stopping:
            os._exit(FAILED)
