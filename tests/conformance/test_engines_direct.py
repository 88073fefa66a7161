"""The worker parts of the engine suite on `direct`, which has no messages: the worker claims from the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from faena.engines.direct import DirectEngine
from faena.ports.engine import Engine
from faena.testing.engines import ProcessConformance, Transport, WorkerConformance


class NoTransport(Transport):
    """There is nothing between the store and the worker."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def maker(self) -> Callable[[], Engine]:
        return DirectEngine

    def settings(self) -> Mapping[str, str]:
        return {"FAENA_ENGINE": "direct", "FAENA_DATA_DIR": str(self._directory)}


class OnDirect:
    @pytest.fixture
    def transport(self, tmp_path: Path) -> Transport:
        return NoTransport(tmp_path)


class TestDirectWithAWorker(OnDirect, WorkerConformance):
    pass


class TestDirectInProcesses(OnDirect, ProcessConformance):
    pass
