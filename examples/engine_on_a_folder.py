"""An engine of your own: messages are files in a folder, and a worker looks there for new ones.

    FAENA_ENGINE=engine_on_a_folder:make_engine faena up

It delivers ids and nothing else. A message that is lost is sent again, one that comes twice runs its job once: the
store sees to that. `tests/conformance/test_engines_folder.py` runs Faena's suite on it.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from faena.errors import EngineDown
from faena.ports.engine import Capabilities, Delivery, Hands, ServeOptions
from faena.settings import Settings

log = logging.getLogger(__name__)

LOOK_EVERY = 0.02
"""Seconds that a message to an idle worker takes at most."""
ROOM_WAIT = 0.2
LONGEST_MESSAGE = 4096


def make_engine(settings: Settings) -> FolderEngine:
    """What FAENA_ENGINE names."""
    return FolderEngine(settings.data_dir / "messages")


class FolderEngine:
    """A folder for each queue, a file for each message. Its name is its place in the order."""

    name: str = "folder"
    capabilities: Capabilities = Capabilities(
        delivers=True, queue_order=True, priority=True, separate_processes=True
    )

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers = itertools.count()

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        with down_if_it_fails():
            for delivery in deliveries:
                body = json.dumps({"job": delivery.job_id, "task": delivery.task}).encode()
                self._write(self.folder(delivery.queue), self._place(delivery), body)

    def serve(self, hands: Hands, options: ServeOptions) -> FolderServing:
        return FolderServing(self, hands, options)

    def depth(self, queue: str) -> int:
        with down_if_it_fails():
            return len(self.waiting(queue))

    def purge(self, queues: Sequence[str]) -> int:
        with down_if_it_fails():
            return sum(
                unlinked(self.folder(queue) / name) for queue in set(queues) for name in self.waiting(queue)
            )

    def ping(self) -> None:
        with down_if_it_fails():
            self._root.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Nothing is kept open."""

    def waiting(self, queue: str) -> list[str]:
        """Return the names of a queue's messages, in no order."""
        try:
            return [name for name in os.listdir(self.folder(queue)) if name.endswith(".json")]
        except FileNotFoundError:
            return []

    def folder(self, queue: str) -> Path:
        """Return where a queue's messages are."""
        return self._root / f"queue-{quote(queue, safe='')}"

    def _place(self, delivery: Delivery) -> str:
        """Higher priorities first, then older messages; unique among processes and threads."""
        number = next(self._numbers)
        return f"{1000 - delivery.priority:04d}-{time.time_ns():020d}-{number:010d}-{os.getpid()}"

    @staticmethod
    def _write(folder: Path, place: str, body: bytes) -> None:
        """A worker must never see half a message: it gets its right name when it is complete."""
        draft = folder / f"{place}.draft"
        try:
            draft.write_bytes(body)
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(body)
        draft.rename(folder / f"{place}.json")


class FolderServing:
    """A worker's side: as many messages as there is room for, from the first queue that has some."""

    def __init__(self, engine: FolderEngine, hands: Hands, options: ServeOptions) -> None:
        self._engine = engine
        self._hands = hands
        self._queues = options.queues
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                brought = self._bring()
            except OSError as error:
                log.warning("the folder can't be read: %s", error)
                self._stopped.wait(0.2)
                continue
            if not brought:
                self._stopped.wait(LOOK_EVERY)

    def stop(self) -> None:
        self._stopped.set()

    def _bring(self) -> int:
        """Ask for room first, so that nothing is taken that could not begin."""
        if not any(self._engine.waiting(queue) for queue in self._queues):
            return 0
        room = self._hands.room(ROOM_WAIT)
        if room <= 0 or self._stopped.is_set():
            return 0
        for queue in self._queues:
            folder = self._engine.folder(queue)
            first = [folder / name for name in heapq.nsmallest(room, self._engine.waiting(queue))]
            if ids := [job_id for path in first if (job_id := taken(path)) is not None]:
                self._hands.take(ids)
            if first:
                return len(first)
        return 0


def taken(path: Path) -> str | None:
    """Take a message; None when another worker had it first, or when it is none of ours."""
    try:
        with path.open("rb") as file:
            body = file.read(LONGEST_MESSAGE + 1)
    except FileNotFoundError:
        return None
    if not unlinked(path):  # of several workers one removes the file, and that one has the message
        return None
    try:
        if len(body) > LONGEST_MESSAGE:
            raise ValueError("it is too long")
        message = json.loads(body)
        if message.keys() != {"job", "task"} or not isinstance(message["job"], str):
            raise ValueError("it is no message of Faena's")
    except (ValueError, AttributeError) as error:
        log.warning("a message was rejected: %s", error)
        return None
    return message["job"]


def unlinked(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


@contextmanager
def down_if_it_fails() -> Iterator[None]:
    """No exception of the transport's own leaves an engine."""
    try:
        yield
    except OSError as error:
        raise EngineDown(f"the folder does not work: {error}") from error
