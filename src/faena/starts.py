"""Functions of limited jobs are called soon after the claim that counted their start, or it is counted once more.

A rate that holds for the claims holds for the calls, too, if the time from the one to the other hardly varies. What is
always part of it, the way to the store and back, makes no difference. A call that comes later than that by more than
`Claim.call_within` is a start of its own: the store counts it before the function is called.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn

from msgspec import field

from faena.attempt import Attempt, Why
from faena.batch import Batch
from faena.errors import Unavailable
from faena.job import Record
from faena.ports.records import Held, Lease
from faena.rates import MOST_SLACK, SLACK

if TYPE_CHECKING:
    from faena.ports.store import Store

logger = logging.getLogger("faena.executor")

KNOWN_AFTER: Final = 5
"""Round trips after which the shortest is known; before, none is taken to be too long."""
DRIFT: Final = 1.01
"""By this factor the shortest round trip grows with each one: a store that moved away is known to be there after some
hundred of them."""
TRIES: Final = 3
"""A start is counted anew so often. Then the function is called, however long that takes on this machine."""
LAPSED: Final = 1.0
"""Seconds that a start is never older than, if its period may be over. A later call hands the job back."""
BACK_IN_A_ROW: Final = 100
"""Jobs that are handed back for that, with none between them that was in time, before they are called all the same."""


class RoundTrips:
    """How long this process's claims take when nothing holds them up."""

    __slots__ = ("_count", "_shortest")

    def __init__(self) -> None:
        self._count = 0
        self._shortest = 0.0

    @property
    def shortest(self) -> float:
        """Seconds that every call of the store takes."""
        return self._shortest if self._count >= KNOWN_AFTER else 0.0

    def note(self, took: float) -> None:
        """Take one round trip into account."""
        self._shortest = min(took, self._shortest * DRIFT) if self._count else took
        self._count += 1


class Timing(Record, frozen=True):
    """When a claim was asked for and until when its lease holds at least, by the monotonic clock."""

    asked: float
    lease_until: float
    trips: RoundTrips = field(default_factory=RoundTrips)


class Start:
    """The start of one attempt, as it was counted last."""

    __slots__ = ("_anew", "_by", "_counted", "_trips", "_within")

    def __init__(self, timing: Timing, within: float) -> None:
        """``within``: `Claim.call_within`."""
        self._within = within
        self._trips = timing.trips
        self._anew = -1
        self.counted(asked=timing.asked)

    def counted(self, *, asked: float) -> None:
        """It was counted by a call of the store that was sent at that moment."""
        self._anew += 1
        self._counted = asked
        self._by = asked + self._trips.shortest + self._within

    @property
    def late(self) -> bool:
        """The function may not be called before the start is counted anew."""
        return self._anew < TRIES and monotonic() > self._by

    @property
    def lapsed(self) -> bool:
        """Others may have started in its place: what was counted may be longer ago than the period."""
        period = self._within / SLACK
        return self._within < MOST_SLACK and monotonic() - self._counted > max(period, LAPSED)


class Starts:
    """Counts the starts of one executor's late calls."""

    def __init__(self, store: Store, *, on_held: Callable[[Attempt, Held], None]) -> None:
        self._store = store
        self._on_held = on_held
        self._count = Batch(self._count_many)
        self._handed_back = 0

    async def on_time(self, attempt: Attempt) -> None:
        """Return when the function may be called at once. Raises `asyncio.CancelledError` if it may not be
        (`Attempt.why` says why)."""
        start = attempt.start
        if start is None:
            return
        if not start.late:
            self._handed_back = 0
        while start.late:
            if start.lapsed and self._handed_back < BACK_IN_A_ROW:
                self._handed_back += 1
                logger.info(
                    "the function would be called too late; the job is handed back", extra=attempt.about
                )
                _give_up(attempt)
            await self._count_anew(attempt, start)

    async def _count_anew(self, attempt: Attempt, start: Start) -> None:
        job = attempt.job
        try:
            held, asked = await self._count(Lease(job_id=job.id, token=job.token))
        except Unavailable as error:
            logger.warning(
                "a late start can't be counted; the job is handed back: %s", error, extra=attempt.about
            )
            _give_up(attempt)
        self._on_held(attempt, held)
        if attempt.why is not None:  # it was stopped meanwhile, and no function was there to be told
            raise asyncio.CancelledError
        start.counted(asked=asked)

    async def _count_many(self, leases: Sequence[Lease]) -> list[tuple[Held, float]]:
        asked = monotonic()
        return [(held, asked) for held in await self._store.started(leases)]


def _give_up(attempt: Attempt) -> NoReturn:
    attempt.stop(Why.RELEASE)
    raise asyncio.CancelledError
