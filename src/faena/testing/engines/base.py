"""What every part of the engine suite stands on: the transport under test, and who writes down what was run."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from faena.ports.engine import Delivery, Engine, ServeOptions
from faena.ports.store import Store, StoreOptions

PATIENCE = 30.0
"""Seconds after which a test gives up waiting for what must happen. When all is well nothing waits that long."""


class Transport(ABC):
    """An engine's transport, as the suite handles it: empty at first, and its own for each test.

    A joining engine implements the first three; the others where its transport can do them.
    """

    @abstractmethod
    def maker(self) -> Callable[[], Engine]:
        """Return what makes an engine on this transport; it can be pickled. All that it makes see the same messages."""

    def engine(self) -> Engine:
        """Make an engine on this transport."""
        return self.maker()()

    @abstractmethod
    def settings(self) -> Mapping[str, str]:
        """The environment that leads ``faena worker`` in another process to this transport."""

    def make_store(self, directory: Path) -> Store:
        """Return the store that jobs are kept in, not yet opened: where `settings` lead ``faena worker``, too. A SQLite
        file in ``directory`` unless a transport is tried with another."""
        from faena.stores.sqlite.store import SQLiteStore

        return SQLiteStore(directory / "faena.db", options=StoreOptions())

    def close(self) -> None:
        """Let go of what the transport itself has open. Safe to repeat."""
        return

    def messages(self, queue: str) -> list[bytes]:
        """Return the waiting messages of a queue as they are written."""
        raise NotImplementedError

    def send(self, queue: str, message: bytes) -> None:
        """Write a message past the engine."""
        raise NotImplementedError

    hostile: Sequence[bytes] = ()
    """Messages that do not come from Faena: unknown functions, `os.system`, pickles, half messages, no messages."""

    def break_down(self) -> None:
        """Make the transport unreachable. What it held may be lost."""
        raise NotImplementedError

    def restore(self) -> None:
        """Make it reachable again."""
        raise NotImplementedError

    def wipe(self) -> None:
        """Delete everything that it holds, while it is in use."""
        raise NotImplementedError

    def damage(self) -> None:
        """Spoil what it holds, while it is in use; only for transports that are files."""
        pytest.skip("this transport has no files that could be damaged")

    refused_versions: Sequence[str] = ()
    """Versions of the vendor's library that the engine must refuse."""

    def check_version(self, version: str) -> None:
        """What the engine does with the vendor's version when it is imported."""
        raise NotImplementedError

    own_commands: Mapping[str, Sequence[str]] = {}
    """The engine's own command lines that start a Faena worker, by name, as arguments to Python."""


class Recorder:
    """Hands that write down what they are given, and hold the jobs while they are told to."""

    def __init__(self, slots: int = 4) -> None:
        self.slots = slots
        """How many jobs `take` may have under way."""
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._active = 0
        self._changed = threading.Condition()
        self._gate = threading.Event()
        self._gate.set()

    def room(self, wait: float) -> int:
        """As `Hands.room`."""
        with self._changed:
            self._changed.wait_for(lambda: self._active < self.slots, wait)
            return self.slots - self._active

    def take(self, ids: Sequence[str]) -> None:
        """As `Hands.take`."""
        with self._changed:
            assert self._active + len(ids) <= self.slots, "more was taken than there was room for"
            self._active += len(ids)
        for job_id in ids:
            threading.Thread(target=self._work, args=(job_id,), name="hand").start()

    def run(self, job_id: str) -> None:
        """As `Hands.run`."""
        self._note(self.begun, job_id)
        self._gate.wait(PATIENCE)
        self._note(self.ended, job_id)

    def _work(self, job_id: str) -> None:
        try:
            self.run(job_id)
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def hold(self) -> None:
        """From now on calls do not return."""
        self._gate.clear()

    def release(self) -> None:
        """Let all calls return."""
        self._gate.set()

    def wait_begun(self, count: int) -> list[str]:
        """Return what was begun, once that are at least ``count`` calls."""
        return self._wait(self.begun, count)

    def wait_ended(self, count: int) -> list[str]:
        """Return what was ended, once that are at least ``count`` calls."""
        return self._wait(self.ended, count)

    def _note(self, where: list[str], job_id: str) -> None:
        with self._changed:
            where.append(job_id)
            self._changed.notify_all()

    def _wait(self, where: list[str], count: int) -> list[str]:
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(where) >= count, PATIENCE)
            assert arrived, f"{len(where)} calls of {count} were seen in {PATIENCE:g} s: {where[:20]}"
            return list(where)


@contextmanager
def serving(
    engine: Engine,
    hands: Recorder,
    *,
    queues: tuple[str, ...] = ("high", "default"),
    threads: int = 4,
    grace: float = 10.0,
) -> Iterator[Callable[[], None]]:
    """Serve in a thread for the length of a ``with``; yields a function that stops it and waits for its end."""
    hands.slots = threads
    served = engine.serve(hands, ServeOptions(queues=queues, threads=threads, grace=grace))
    faults: list[BaseException] = []

    def run() -> None:
        try:
            served.run()
        except BaseException as error:
            faults.append(error)

    thread = threading.Thread(target=run, name="serving")
    thread.start()

    def stop() -> None:
        served.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the engine did not stop"

    try:
        yield stop
    finally:
        stop()
    assert not faults, f"serving failed: {faults[0]!r}"


def deliveries(*ids: str, queue: str = "default", priority: int = 0) -> list[Delivery]:
    """Return deliveries of the task ``thumbnail``."""
    return [Delivery(job_id=job_id, task="thumbnail", queue=queue, priority=priority) for job_id in ids]


def until(holds: Callable[[], bool], what: str) -> None:
    """Return as soon as ``holds()``; fail after a while, saying what was waited for. For what no signal tells of."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain: {what}"
        threading.Event().wait(0.02)


class EngineSuite:
    """The base of every part. A joining engine overrides `transport`."""

    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        raise NotImplementedError(
            f"{type(self).__name__} has no `transport` fixture; expected one that yields a Transport, empty and its own"
        )

    @pytest.fixture
    def engine(self, transport: Transport) -> Iterator[Engine]:
        engine = transport.engine()
        yield engine
        engine.close()
