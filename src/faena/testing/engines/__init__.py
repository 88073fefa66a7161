"""The conformance suite of engines: what every engine must hold, as tests, in three parts.

An engine joins with one fixture and one class line for each part:

    from faena.testing.engines import EngineConformance, Transport

    class MyTransport(Transport):
        ...                                     # how to make an engine on it, and how to break it

    class TestMine(EngineConformance):
        @pytest.fixture
        def transport(self, tmp_path):
            return MyTransport(tmp_path)

`EngineConformance` drives the engine alone. `WorkerConformance` runs jobs of a store through a worker in this process,
`ProcessConformance` in processes that are stopped and killed, started by ``faena worker`` and by the engine's own
command lines. Differences between engines are flags (`faena.ports.engine.Capabilities`), never names.
"""

from faena.testing.engines.base import Recorder, Transport, deliveries, serving, until
from faena.testing.engines.consuming import Consuming
from faena.testing.engines.delivering import Delivering
from faena.testing.engines.processes import FAENA, ProcessConformance
from faena.testing.engines.working import WorkerConformance

__all__ = [
    "FAENA",
    "EngineConformance",
    "ProcessConformance",
    "Recorder",
    "Transport",
    "WorkerConformance",
    "deliveries",
    "serving",
    "until",
]


class EngineConformance(Delivering, Consuming):
    """The engine alone: sending and serving. Not for an engine that delivers nothing."""
