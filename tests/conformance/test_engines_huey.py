"""The engine suite on huey: its queue is a file, and files are moved, wiped, spoilt and put out of reach."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest

from faena.engines.huey import HueyEngine
from faena.engines.huey.engine import check_version
from faena.engines.huey.file import QueueFile, Row
from faena.ports.engine import Engine
from faena.testing.engines import (
    FAENA,
    EngineConformance,
    ProcessConformance,
    Transport,
    WorkerConformance,
    until,
)

HOSTILE = [
    b'{"job": "evil", "task": "t", "fn": "os.system"}',
    b'{"job": "evil", "task": "t", "fn": "faena.other"}',
    b'{"job": ["evil"], "task": "t", "fn": "faena.run"}',
    b'{"job": "evil", "task": "t", "fn": "faena.run"',
    b'{"job": "' + b"x" * 10_000 + b'", "task": "t"}',
    b'["faena.run", "evil"]',
    pickle.dumps(partial(os.system, "touch /tmp/evil")),
    b"\xff\xfe\x00",
    b"null",
    b"",
]


class HueyTransport(Transport):
    """A queue directory. It is out of reach while a file lies where the directory of the queue file should be."""

    hostile = HOSTILE
    own_commands: Mapping[str, Sequence[str]] = {
        "huey_consumer": ("-m", "huey.bin.huey_consumer", "faena.engines.huey_app.huey", "--workers", "4")
    }
    refused_versions = ("2.5.3", "3.4.9", "4.0")

    def __init__(self, directory: Path) -> None:
        self._data = directory
        self._queue = directory / "queue"
        self._file = QueueFile(self._queue, timeout=5.0)

    def maker(self) -> Callable[[], Engine]:
        return partial(HueyEngine, self._queue)

    def settings(self) -> Mapping[str, str]:
        return {"FAENA_ENGINE": "huey", "FAENA_DATA_DIR": str(self._data)}

    def close(self) -> None:
        self._file.close()

    def messages(self, queue: str) -> list[bytes]:
        return self._file.peek(queue, 1000)

    def send(self, queue: str, message: bytes) -> None:
        self._file.push([Row(queue, message, 0)])

    def break_down(self) -> None:
        self._queue.mkdir(exist_ok=True)
        until(self._put_a_file_in_its_place, "the queue's place to be taken")

    def _put_a_file_in_its_place(self) -> bool:
        """An engine at work may make the directory anew just after it was removed: then again."""
        shutil.rmtree(self._queue / "huey", ignore_errors=True)
        with contextlib.suppress(FileExistsError):
            (self._queue / "huey").touch(exist_ok=False)
        return (self._queue / "huey").is_file()

    def restore(self) -> None:
        (self._queue / "huey").unlink()

    def wipe(self) -> None:
        shutil.rmtree(self._queue / "huey")

    def damage(self) -> None:
        for path in (self._queue / "huey").glob("queue.db*"):
            if not path.name.endswith("-shm"):
                path.write_bytes(b"This is no SQLite file. " * 2000)

    def check_version(self, version: str) -> None:
        check_version(version)


class OnHuey:
    @pytest.fixture
    def transport(self, tmp_path: Path) -> Iterator[Transport]:
        transport = HueyTransport(tmp_path)
        yield transport
        transport.close()


class TestHueyAlone(OnHuey, EngineConformance):
    pass


class TestHueyWithAWorker(OnHuey, WorkerConformance):
    pass


class TestHueyInProcesses(OnHuey, ProcessConformance):
    commands = (FAENA, "huey_consumer")
