"""The Engine port on huey: what goes into a message, and who runs it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import huey as vendor
import msgspec
from huey.api import Huey, Task

from faena.engines.huey.bell import Bell, ring_all
from faena.engines.huey.file import QueueFile, Row
from faena.engines.huey.intake import Intake
from faena.engines.reading import RejectedMessage
from faena.job import Record
from faena.ports.engine import Capabilities, Delivery, Hands, ServeOptions

log = logging.getLogger(__name__)

SEND_TIMEOUT: Final = 1.5
"""Seconds; `deliver` has two."""
TAKE_TIMEOUT: Final = 10.0
LONGEST_MESSAGE: Final = 4096
ROOM_WAIT: Final = 0.5
"""Seconds after which a worker that is full is asked again, and a stop is noticed at the latest."""


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


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


class Storage(Protocol):
    """Where a `Huey` of Faena's takes messages from."""

    def dequeue(self) -> bytes | None:
        """Return the next message, as soon as there is one; None once halted."""
        ...

    def halt(self) -> None:
        """Let go of the threads that wait for a message. Any thread, returns at once."""
        ...

    def close(self) -> None:
        """Halt, and let go of the transport."""
        ...


class Runs(Protocol):
    """The part of `Hands` that huey's own consumer needs: it gives each message to a thread of its own."""

    def run(self, job_id: str) -> None:
        """Run a job to the end of one attempt; blocks until then."""
        ...


class HueyEngine:
    """Delivers through a SQLite file below ``directory`` (made with mode 0700 if need be). Thread-safe."""

    name = "huey"
    capabilities = Capabilities(
        delivers=True, queue_order=True, priority=True, separate_processes=True, head=True
    )

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

    def serve(self, hands: Hands, options: ServeOptions) -> HueyServing:
        """Prepare to read the queue file in this process."""
        return HueyServing(self.intake(options.queues), hands)

    def app(self, hands: Runs, queues: Sequence[str]) -> FaenaHuey:
        """Make the `Huey` object that serves ``queues`` with ``hands``."""
        return FaenaHuey(self.intake(queues), hands)

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
    return Row(delivery.queue, encode(message), delivery.priority, delivery.first)


class FaenaHuey(Huey):  # type: ignore[misc]
    """A `Huey` that knows one function, speaks JSON and keeps no results.

    In huey's logs and signals a job appears by its task's name and its own id.
    """

    def __init__(self, intake: Storage, hands: Runs) -> None:
        self._intake = intake
        super().__init__("faena", results=False)
        self._run_class: Any = type("run", (Task,), {"__module__": "faena", "execute": _executes(hands)})
        self._registry.register(self._run_class)

    def create_storage(self) -> Storage:
        """Use the intake."""
        return self._intake

    def serialize_task(self, task: Any) -> bytes:
        """Make the JSON of a message, for huey's own ways of sending."""
        if type(task) is not self._run_class:
            raise RejectedMessage(f"only Faena's jobs go through this huey, not {task!r}")
        return encode(Message(job=task.id, task=task.name))

    def deserialize_task(self, data: object) -> Any:
        """Make the one kind of task there is; raises `RejectedMessage`."""
        message = read(data)
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
            _tell_rejected(data, error)
            return None


def _executes(hands: Runs) -> Callable[[Any], None]:
    def execute(task: Any) -> None:
        hands.run(task.id)

    return execute


class HueyServing:
    """Reads huey's queue for a worker of this process: as many messages in one visit as the worker has room for.

    Huey's own consumer gives each message to a thread and waits for its end, so that a job costs several changes of
    threads; it serves huey's own command line (`hosted.py`). The file, its layout and the messages are the same.
    """

    def __init__(self, intake: Intake, hands: Hands) -> None:
        self._intake = intake
        self._hands = hands

    def run(self) -> None:
        """Serve until stopped. A queue file that can't be used is waited for."""
        try:
            while not self._intake.halted:
                room = self._hands.room(ROOM_WAIT)
                if room > 0:
                    self._hands.take(_jobs_in(self._intake.take(room)))
        finally:
            self._intake.close()

    def stop(self) -> None:
        """Take nothing new; `run` returns at once."""
        self._intake.halt()


def _jobs_in(messages: Sequence[object]) -> list[str]:
    """Return the ids that messages name; those that are none of Faena's are rejected with a warning."""
    ids = []
    for data in messages:
        try:
            ids.append(read(data).job)
        except RejectedMessage as error:
            _tell_rejected(data, error)
    return ids


def read(data: object) -> Message:
    """Return a message of Faena's; raises `RejectedMessage` for any other."""
    if not isinstance(data, bytes) or len(data) > LONGEST_MESSAGE:
        raise RejectedMessage("it is not bytes, or too long")
    try:
        return _decode(data)
    except msgspec.MsgspecError as error:
        raise RejectedMessage(str(error)) from error


def _tell_rejected(data: object, error: RejectedMessage) -> None:
    log.warning("a message was rejected, it does not come from Faena: %s: %.80r", error, data)
