"""Claiming for a worker: who asks, and who does the work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Protocol

from faena.errors import Unavailable
from faena.ports.records import Claim
from faena.starts import RoundTrips, Timing

logger = logging.getLogger("faena.worker")


class Crew(Protocol):
    """Who does the work: the worker."""

    @property
    def room(self) -> int:
        """How many jobs may be taken now."""
        ...

    @property
    def ahead(self) -> int:
        """How many more may be read from an engine while others are being claimed: none unless jobs are short."""
        ...

    async def change(self) -> None:
        """Return when `room` may have changed."""
        ...

    def changed(self) -> None:
        """Make `change` return."""
        ...

    def take(self, claim: Claim, timing: Timing, ended: Callable[[], None] | None = None) -> None:
        """Run a job, or hand it back if the worker takes nothing new any more."""
        ...


class Claims:
    """Claims with a lease that is known to hold until a moment of the monotonic clock."""

    def __init__(self, worker: str, lease: float) -> None:
        self.worker = worker
        self.lease = lease
        self.stopped = False
        self._requests = 0
        self._trips = RoundTrips()

    async def ask(self, verb: Callable[[str], Awaitable[list[Claim]]]) -> tuple[list[Claim], Timing]:
        """Call a claiming verb with a request id, again and again while the store is away: if it was carried out
        and only the answer was lost, the same request gets the same claims. No error ends the worker."""
        self._requests += 1
        request = f"{self.worker}:{self._requests}"
        asked = sent = monotonic()
        timing, pause = Timing(asked=asked, lease_until=asked + self.lease, trips=self._trips), 0.05
        while True:
            try:
                claims = await verb(request)
            except Exception as error:
                if self.stopped:
                    return [], timing
                if pause == 0.05:
                    expected = isinstance(error, Unavailable)
                    logger.error("the store gives no jobs: %s", error, exc_info=None if expected else error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
                sent = monotonic()
            else:
                if claims:
                    self._trips.note(monotonic() - sent)
                return claims, timing
