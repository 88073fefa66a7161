"""The workers that a memory store knows of."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from faena.ports.records import WorkerInfo


class Roster:
    """Workers, each remembered until its last beat expires."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[WorkerInfo, float]] = {}

    def beat(self, worker: WorkerInfo, ttl: float) -> None:
        now = self._clock()
        self._known[worker.id] = (msgspec.structs.replace(worker, beat_at=now), now + ttl)

    def leave(self, worker_id: str) -> None:
        self._known.pop(worker_id, None)

    def live(self) -> list[WorkerInfo]:
        now = self._clock()
        self._known = {key: (info, until) for key, (info, until) in self._known.items() if until > now}
        return [info for info, _ in self._known.values()]
