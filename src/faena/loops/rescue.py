"""Rescue: jobs of holders whose lease expired become pending again, and are delivered."""

from __future__ import annotations

import logging
from typing import Final

from faena.loops.promote import Deliver, first
from faena.ports.store import Store
from faena.words import counted

logger = logging.getLogger("faena.loops")

BATCH: Final = 500


class Rescue:
    """Looks three times within a lease."""

    def __init__(self, store: Store, deliver: Deliver, *, lease: float) -> None:
        self._store = store
        self._deliver = deliver
        self._every = lease / 3

    async def __call__(self) -> float:
        """Rescue what was left; returns the seconds until the next look."""
        rescued = await self._store.rescue(limit=BATCH)
        if rescued:
            logger.warning(
                "rescued from workers that fell silent: %s",
                counted(len(rescued), "job"),
                extra={"count": len(rescued)},
            )
            await self._deliver(first(rescued))
        # Those that ended or are held back are none of these: fewer than a batch does not mean that all are done.
        return 0.0 if rescued else self._every
