"""What a person should know about the processes that share a store: ``/health``, ``faena doctor`` and workers ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from faena.ports.engine import Engine
from faena.ports.store import WorkerInfo

DIRECT = "direct"


def other_engines(workers: Iterable[WorkerInfo], engine: Engine) -> Iterator[str]:
    """Yield a sentence for each worker that runs another engine than the one jobs are delivered to.

    No job is lost by it: what is not taken within seconds is delivered again, by each worker to its own engine.
    """
    for worker in workers:
        if worker.engine == engine.name:
            continue
        told = f"worker {worker.id} runs {_what(worker.engine)}, and here jobs {_where(engine)}"
        yield f"{told}: it {_sees(worker, engine)}. Start all of them with the same FAENA_ENGINE"


def _what(engine: str) -> str:
    return "direct (straight from the store)" if engine == DIRECT else engine


def _where(engine: Engine) -> str:
    if engine.capabilities.delivers:
        return f"are delivered to {engine.name}"
    return "are left in the store for direct workers"


def _sees(worker: WorkerInfo, engine: Engine) -> str:
    if worker.engine == DIRECT:
        return f"sees no message of {engine.name}, and they pile up there"
    return "finds them seconds later, when they are delivered again"
