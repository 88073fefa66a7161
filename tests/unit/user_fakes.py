"""Doubles for the tests of what users call: an engine that keeps what it is told, an app on a shared memory store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faena import Faena
from faena.errors import EngineDown
from faena.job import Job, Outcome, Step
from faena.ports.engine import Capabilities, Delivery
from faena.settings import Settings
from faena.stores.memory import MemoryStore


class KeepingEngine:
    """An engine that keeps deliveries; while ``down`` it refuses them."""

    name = "keeping"
    capabilities = Capabilities(delivers=True, queue_order=True, priority=True, separate_processes=False)

    def __init__(self) -> None:
        self.down = False
        self.delivered: list[Delivery] = []
        self.purged: list[str] = []
        self.closed = False

    @property
    def ids(self) -> list[str]:
        """Of the jobs that were delivered."""
        return [delivery.job_id for delivery in self.delivered]

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        if self.down:
            raise EngineDown("the test took it down")
        self.delivered += deliveries

    def purge(self, queues: Sequence[str]) -> int:
        self.purged += queues
        return 0

    def close(self) -> None:
        self.closed = True


class MemoryWiring:
    """Gives every portal its own door to one memory store, and one engine to all."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.engine: Any = KeepingEngine()
        self.opened = 0

    def make_store(self, settings: Settings) -> Any:
        self.opened += 1
        return self.store.beside()

    def make_engine(self, settings: Settings) -> Any:
        return self.engine


def memory_app(**settings: Any) -> tuple[Faena, MemoryWiring]:
    """Return an app on a memory store, and its wiring."""
    wiring = MemoryWiring()
    return Faena("tested", Settings(**settings), wiring=wiring), wiring


async def finish(store: Any, job_id: str, step: Step = Step.COMPLETE, **outcome: Any) -> Job:
    """Run a pending job as a worker would, to the given end."""
    [claim] = await store.claim([job_id], worker="w", lease=60.0, request=f"finish {job_id}")
    [accepted] = await store.finish([Outcome(job_id=job_id, token=claim.job.token, step=step, **outcome)])
    assert accepted
    [job] = await store.get([job_id])
    assert isinstance(job, Job)
    return job
