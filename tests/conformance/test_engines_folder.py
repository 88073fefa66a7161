"""The engine suite on the example of an engine by somebody else, as its guide tells to join it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from examples.engine_on_a_folder import FolderEngine

from faena.ports.engine import Engine
from faena.testing.engines import EngineConformance, ProcessConformance, Transport, WorkerConformance

EXAMPLES = Path(__file__).parents[2] / "examples"


class FolderTransport(Transport):
    """A folder. It is out of reach while a file lies in its place."""

    hostile = [
        b'{"job": "evil", "task": "t", "function": "os.system"}',
        b'{"job": ["evil"], "task": "t"}',
        b'{"job": "evil", "task": "t"',
        b'{"job": "' + b"x" * 10_000 + b'", "task": "t"}',
        b'["evil"]',
        b"\xff\xfe\x00",
        b"null",
        b"",
    ]

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._root = directory / "messages"
        self._sent = 0

    def maker(self) -> Callable[[], Engine]:
        return partial(FolderEngine, self._root)

    def settings(self) -> Mapping[str, str]:
        return {
            "FAENA_ENGINE": "engine_on_a_folder:make_engine",
            "FAENA_DATA_DIR": str(self._directory),
            "PYTHONPATH": str(EXAMPLES),
        }

    def messages(self, queue: str) -> list[bytes]:
        engine = FolderEngine(self._root)
        return [(engine.folder(queue) / name).read_bytes() for name in engine.waiting(queue)]

    def send(self, queue: str, message: bytes) -> None:
        self._sent += 1
        folder = self._root / f"queue-{queue}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"draft-{self._sent}").write_bytes(message)
        (folder / f"draft-{self._sent}").rename(folder / f"1000-{self._sent:020d}.json")

    def break_down(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.touch()

    def restore(self) -> None:
        self._root.unlink()

    def wipe(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


class OnAFolder:
    @pytest.fixture
    def transport(self, tmp_path: Path) -> Transport:
        return FolderTransport(tmp_path)


class TestAFolderAlone(OnAFolder, EngineConformance):
    pass


class TestAFolderWithAWorker(OnAFolder, WorkerConformance):
    pass


class TestAFolderInProcesses(OnAFolder, ProcessConformance):
    pass
