"""Redeliver: pending jobs whose message the engine must have lost are sent again."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from faena.loops.promote import Deliver, first
from faena.ports.engine import Delivery
from faena.ports.store import Store
from faena.words import counted

logger = logging.getLogger("faena.loops")

BATCH: Final = 500
BATCHES: Final = 20
"""As many as are sent at once: in order, and all by one look at which queues are empty."""
EVERY: Final = 2.0


class Redeliver:
    """Needed with engines that deliver only."""

    def __init__(
        self,
        store: Store,
        deliver: Deliver,
        *,
        queues: Sequence[str],
        depth: Callable[[str], Awaitable[int]],
        age: float,
    ) -> None:
        """``age``: seconds after which a job that nobody took may have been lost."""
        self._store = store
        self._deliver = deliver
        self._queues = tuple(queues)
        self._depth = depth
        self._age = age
        self._every = min(EVERY, age / 2)

    async def __call__(self) -> float:
        """Send again what was lost; returns the seconds until the next look."""
        lost = await self._find()
        if lost:
            logger.warning("delivered again: %s", counted(len(lost), "job"), extra={"count": len(lost)})
            await self._deliver(first(lost))
        return 0.0 if len(lost) >= BATCH * BATCHES else self._every

    async def _find(self) -> list[Delivery]:
        empty = [queue for queue in self._queues if await self._depth(queue) == 0]
        lost: list[Delivery] = []
        for _ in range(BATCHES):
            found = await self._store.undelivered(empty=empty, age=self._age, limit=BATCH)
            lost += found
            if len(found) < BATCH:
                break
        return lost
