"""Prune: final jobs whose time to be kept is over are deleted, a few at a time."""

from __future__ import annotations

from typing import Final

from faena.ports.store import Store

BATCH: Final = 500
EVERY: Final = 30.0


class Prune:
    """Leaves the store to others between two batches."""

    def __init__(self, store: Store, *, every: float = EVERY) -> None:
        self._store = store
        self._every = every

    async def __call__(self) -> float:
        """Delete one batch; returns the seconds until the next."""
        deleted = await self._store.prune(limit=BATCH)
        return 0.01 if deleted >= BATCH else self._every
