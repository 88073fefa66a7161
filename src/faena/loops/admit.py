"""Admit: jobs behind limits and pauses are delivered when they may go. For engines that deliver."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from faena.loops.promote import Deliver
from faena.ports.store import Store

BATCH: Final = 500
LONGEST: Final = 0.5
"""Seconds between two looks."""
SHORTEST: Final = 0.005
BUSY: Final = 2.0
"""Seconds after jobs were let through for which every attempt that ends is worth a look."""


class Admit:
    """Sleeps until the next gate opens, or until it is nudged: an attempt that ended may have given back a slot."""

    def __init__(self, store: Store, deliver: Deliver) -> None:
        self.nudged = asyncio.Event()
        self._store = store
        self._deliver = deliver
        self._looked_at = 0.0
        self._busy_until = 0.0

    def nudge(self, *, limited: bool) -> None:
        """Look soon. Not ``limited``: only if there was something to let through a moment ago."""
        if limited or monotonic() < self._busy_until:
            self.nudged.set()

    async def __call__(self) -> float:
        """Let through what may go; returns the seconds until the next look, `LONGEST` at most."""
        early = self._looked_at + SHORTEST - monotonic()
        if early > 0:
            await asyncio.sleep(early)
        self.nudged.clear()
        self._looked_at = monotonic()
        admitted = await self._store.admit(limit=BATCH)
        if admitted.deliveries:
            self._busy_until = monotonic() + BUSY
            await self._deliver(admitted.deliveries)
        if len(admitted.deliveries) >= BATCH:
            return 0.0
        return LONGEST if admitted.next_in is None else min(max(admitted.next_in, SHORTEST), LONGEST)
