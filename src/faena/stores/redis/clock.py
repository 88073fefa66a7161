"""The store's clock: one for all processes and machines, deaf to steps of the server's.

Redis has only its wall clock. Leases that are measured with it all end when somebody sets it forward by an hour, and
gates open, or stay closed for an hour. So each process knows by how much store time and its own clock since boot
differ, and says with each call what time it expects. A script that sees another hour does nothing and says so. Then the
process measures: if it was only late itself, the call is made again; if the server's clock was set, store time is
corrected by that much, once for everybody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from faena.job import Record

TOLERANCE: Final = 1.0
"""Seconds by which store time may differ from what is expected; prelude.lua has the same."""
DRIFT: Final = 0.002
"""By how much the clocks of two machines may go apart without anybody having set one: some minutes a day."""
ROUNDS: Final = 5
"""How often is measured at most; the quickest answer counts."""
QUICK: Final = 0.02
"""Seconds: an answer this quick is good enough."""

Ask = Callable[..., Awaitable[Any]]


_BOOT_TIME: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def since_boot() -> float:
    """Return the seconds since the machine was booted, sleep included where the system counts it."""
    return time.clock_gettime(_BOOT_TIME)


class Measured(Record, frozen=True):
    """Store time less the own clock, how far off that may be, and the version of the correction that it holds for."""

    offset: float
    doubt: float
    version: str


class StoreClock:
    """Knows what store time should be. ``ask`` runs a script without the check: `time` or `correct`."""

    def __init__(self, ask: Ask, *, monotonic: Callable[[], float] = since_boot) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._offset: float | None = None
        self._version = "0"
        self._seen = 0.0
        """When the offset was last known to be right."""
        self._measured = 0
        """How often the offset was measured."""
        self._measuring = asyncio.Lock()

    def expected(self) -> str:
        """Return the store's time as it should be now; '' before the first measurement."""
        return "" if self._offset is None else repr(self._monotonic() + self._offset)

    def mark(self) -> float:
        """Return the own time, to be given to `heard` with the answer of a call that begins now."""
        return self._monotonic()

    def heard(self, store_time: float, *, asked: float) -> None:
        """Follow two clocks that drift apart: store time lay between the call and its answer."""
        now = self._monotonic()
        lowest, highest = store_time - now, store_time - asked
        if self._offset is not None and lowest - TOLERANCE < self._offset < highest + TOLERANCE:
            self._offset = min(max(self._offset, lowest), highest)
            self._seen = now

    async def start(self) -> None:
        """Measure for the first time."""
        async with self._measuring:
            self._adopt(await self._measure())

    async def settle(self) -> None:
        """Find out why a call was refused, and set store time right if the server's clock was set. Of many calls that
        were refused at once, one does it for all."""
        before = self._measured
        async with self._measuring:
            if self._measured != before:
                return
            found = await self._measure()
            for _ in range(ROUNDS):
                step = self._step(found)
                if (
                    step == 0.0 or found.version != self._version
                ):  # late, drifted, or set right by somebody else
                    break
                if await self._ask("correct", repr(-step), found.version):
                    found = await self._measure()
                    self._version = found.version
                    break
                found = await self._measure()
            self._adopt(found)

    def _step(self, found: Measured) -> float:
        """Return by how much the server's clock was set; 0 if it was not."""
        if self._offset is None:
            return 0.0
        moved = found.offset - self._offset
        allowed = max(TOLERANCE + found.doubt, DRIFT * (self._monotonic() - self._seen))
        return 0.0 if abs(moved) <= allowed else moved

    def _adopt(self, found: Measured) -> None:
        self._offset, self._version, self._seen = found.offset, found.version, self._monotonic()
        self._measured += 1

    async def _measure(self) -> Measured:
        best: Measured | None = None
        for _ in range(ROUNDS):
            before = self._monotonic()
            told, version = await self._ask("time")
            after = self._monotonic()
            doubt = (after - before) / 2
            if best is None or doubt < best.doubt:
                best = Measured(
                    offset=float(told) - (before + after) / 2, doubt=doubt, version=version.decode()
                )
            if best.doubt * 2 <= QUICK:
                break
        assert best is not None
        return best
