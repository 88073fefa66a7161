"""The Engine port on huey: what goes into a message, and who runs it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import huey as vendor
import msgspec
from huey.api import Huey, Task
from huey.consumer import Consumer

from faena.engines.huey.bell import Bell, ring_all
from faena.engines.huey.file import QueueFile, Row
from faena.engines.huey.intake import Intake
from faena.errors import Rejected
from faena.job import Record
from faena.ports.engine import Capabilities, Delivery, RunJob, ServeOptions

log = logging.getLogger(__name__)

SEND_TIMEOUT: Final = 1.5
"""Seconds; `deliver` has two."""
TAKE_TIMEOUT: Final = 10.0
LONGEST_MESSAGE: Final = 4096


def check_version(version: str) -> None:
    """Raise ImportError unless ``version`` is a huey that this module was built for."""
    major, minor = (int(part) for part in version.split(".")[:2])
    if not (3, 5) <= (major, minor) < (4, 0):
        raise ImportError(
            f"Faena's huey engine needs huey >= 3.5 and < 4, and found {version}: pip install 'faena[huey]'"
        )


check_version(vendor.__version__)


class Message(Record, frozen=True):
    """What is sent, as JSON: the one function that may be asked for, and the job's id and task."""

    job: str
    task: str
    fn: Literal["faena.run"] = "faena.run"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


class RejectedMessage(Rejected):
    """The message is none of Faena's."""


class HueyEngine:
    """Delivers through a SQLite file below ``directory`` (made with mode 0700 if need be). Thread-safe."""

    name = "huey"
    capabilities = Capabilities(delivers=True, queue_order=True, priority=True, separate_processes=True)

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = QueueFile(directory, timeout=SEND_TIMEOUT)
        self._bells = directory / "huey.bells"

    @property
    def path(self) -> Path:
        """Where the messages are."""
        return self._file.path

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Append one message for each job, and wake who serves in this process."""
        self._file.push([_row(delivery) for delivery in deliveries])
        ring_all(self._bells)

    def serve(self, run_job: RunJob, options: ServeOptions) -> HueyServing:
        """Prepare huey's own consumer, in threads of this process."""
        return HueyServing(self.app(run_job, options.queues), options)

    def app(self, run_job: RunJob, queues: Sequence[str]) -> FaenaHuey:
        """Make the `Huey` object that serves ``queues`` with ``run_job``."""
        return FaenaHuey(self.intake(queues), run_job)

    def intake(self, queues: Sequence[str]) -> Intake:
        """Make what hands the messages of ``queues``, in that order, to a `Huey`; it has a connection of its own."""
        return Intake(QueueFile(self._directory, timeout=TAKE_TIMEOUT), Bell(self._bells), queues)

    def depth(self, queue: str) -> int:
        """Count the messages that wait in a queue."""
        return self._file.count(queue)

    def purge(self, queues: Sequence[str]) -> int:
        """Drop the messages that wait in queues."""
        return self._file.purge(queues)

    def ping(self) -> None:
        """Look at the file."""
        self._file.changed()

    def close(self) -> None:
        """Close the file; what is served goes on."""
        self._file.close()


def _row(delivery: Delivery) -> Row:
    message = Message(job=delivery.job_id, task=delivery.task)
    return Row(delivery.queue, _encode(message), delivery.priority)


class FaenaHuey(Huey):  # type: ignore[misc]
    """A `Huey` that knows one function, speaks JSON and keeps no results.

    In huey's logs and signals a job appears by its task's name and its own id.
    """

    def __init__(self, intake: Intake, run_job: RunJob) -> None:
        self._intake = intake
        super().__init__("faena", results=False)
        self._run_class: Any = type("run", (Task,), {"__module__": "faena", "execute": _executes(run_job)})
        self._registry.register(self._run_class)

    def create_storage(self) -> Intake:
        """Use the intake."""
        return self._intake

    def serialize_task(self, task: Any) -> bytes:
        """Make the JSON of a message, for huey's own ways of sending."""
        if type(task) is not self._run_class:
            raise RejectedMessage(f"only Faena's jobs go through this huey, not {task!r}")
        return _encode(Message(job=task.id, task=task.name))

    def deserialize_task(self, data: object) -> Any:
        """Make the one kind of task there is; raises `RejectedMessage`."""
        if not isinstance(data, bytes) or len(data) > LONGEST_MESSAGE:
            raise RejectedMessage("it is not bytes, or too long")
        try:
            message = _decode(data)
        except msgspec.MsgspecError as error:
            raise RejectedMessage(str(error)) from error
        task = self._run_class(id=message.job)
        task.name = message.task
        return task

    def dequeue(self) -> Any:
        """Wait for the next task; None when a message was rejected or the intake is closed."""
        data = self._intake.dequeue()
        if data is None:
            return None
        try:
            return self.deserialize_task(data)
        except RejectedMessage as error:
            log.warning("a message was rejected, it does not come from Faena: %s: %.80r", error, data)
            return None


def _executes(run_job: RunJob) -> Callable[[Any], None]:
    def execute(task: Any) -> None:
        run_job(task.id)

    return execute


class QuietConsumer(Consumer):  # type: ignore[misc]
    """A consumer inside somebody else's process: it leaves the signal handlers alone."""

    def __init__(self, app: FaenaHuey, options: ServeOptions) -> None:
        super().__init__(
            app,
            workers=options.threads,
            periodic=False,
            scheduler_interval=60,
            shutdown_timeout=options.grace,
            graceful_signal="TERM",
        )
        self._stop_flag_timeout = 1.0  # the flag wakes it; there are no signals to look for

    def _set_signal_handlers(self) -> None:
        pass


class HueyServing:
    """Huey's consumer at work in this process, with ``options.threads`` worker threads."""

    def __init__(self, app: FaenaHuey, options: ServeOptions) -> None:
        self._app = app
        self._grace = options.grace
        self._consumer = QuietConsumer(app, options)

    def run(self) -> None:
        """Serve until stopped. A queue file that can't be used is waited for: calls under way are not disturbed."""
        self._consumer.run()
        self._wait_for_calls()
        self._app.storage.close()

    def stop(self) -> None:
        """Take nothing new and return; `run` returns when the calls under way have ended, or after the grace time."""
        self._consumer.stop_flag.set()
        self._app.storage.halt()

    def _wait_for_calls(self) -> None:
        deadline = time.monotonic() + self._grace
        for _, thread in self._consumer.worker_threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._consumer.scheduler.join(1.0)
