"""Promote: scheduled jobs whose time has come become pending, and are delivered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec.structs import replace

from faena.ports.engine import Delivery
from faena.ports.store import Store

Deliver = Callable[[Sequence[Delivery]], Awaitable[None]]

BATCH: Final = 500
LONGEST: Final = 0.5
"""Seconds between two looks: so late may a job be that was enqueued meanwhile."""


def first(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return deliveries of jobs that had their turn already."""
    return [replace(delivery, first=True) for delivery in deliveries]


class Promote:
    """Sleeps until the next job is due."""

    def __init__(self, store: Store, deliver: Deliver) -> None:
        self._store = store
        self._deliver = deliver

    async def __call__(self) -> float:
        """Promote what is due; returns the seconds until something is again, `LONGEST` at most."""
        promoted = await self._store.promote(limit=BATCH)
        if promoted.deliveries:
            await self._deliver(promoted.deliveries)
        if len(promoted.deliveries) >= BATCH:
            return 0.0
        return LONGEST if promoted.next_in is None else min(max(promoted.next_in, 0.001), LONGEST)
