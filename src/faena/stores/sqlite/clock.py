"""The store's clock: one for all processes on the machine, deaf to steps of the wall clock.

Leases that are measured with the wall clock all expire when somebody sets it forward by an hour. So the store
counts with the clock that runs since the machine was booted, which all its processes share, and keeps in the
file by how much that one and the wall clock differed: store time = time since boot + that difference.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import apsw
import msgspec

from faena.job import Record
from faena.stores.sqlite.gates import move_starts
from faena.stores.sqlite.rows import one

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
TOLERANCE: Final = 1.0
"""Seconds by which store time and wall clock may differ before an idle store is set right."""


class Anchor(Record, frozen=True):
    """Ties the clock since boot to the wall clock."""

    boot: str
    offset: float


def since_boot() -> float:
    """Return the seconds since the machine was booted, sleep included where the system counts it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def boot_id() -> str:
    """Return a name of this boot; where the system has none, the moment of the boot to the nearest 100 s."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return f"booted at {round((time.time() - since_boot()) / 100)}00"


class MachineClock:
    """Reads store time. `settle` is called inside the transaction that opens the store."""

    def __init__(self) -> None:
        self._offset = time.time() - since_boot()
        self._stored: str | None = None

    def __call__(self) -> float:
        return since_boot() + self._offset

    def refresh(self, connection: apsw.Connection) -> None:
        """Take over the anchor that the file holds (another process may have set it right)."""
        row = one(connection, "SELECT value FROM meta WHERE name = 'clock'")
        if row is not None and row[0] != self._stored:
            self._stored = row[0]
            self._offset = msgspec.json.decode(row[0], type=Anchor).offset

    def settle(self, connection: apsw.Connection) -> None:
        """Set the anchor if there is none, after a boot, or if it drifted from the wall clock and nobody holds a
        lease. After a boot no holder lives any more: every lease ends now."""
        wall = time.time() - since_boot()
        boot = boot_id()
        row = one(connection, "SELECT value FROM meta WHERE name = 'clock'")
        known = msgspec.json.decode(row[0], type=Anchor) if row else None
        if known is not None and known.boot != boot:
            connection.execute("UPDATE jobs SET lease_until = 0 WHERE status = 2")
        leased = one(connection, "SELECT 1 FROM jobs WHERE status = 2 AND lease_until > 0 LIMIT 1")
        drifted = known is not None and abs(known.offset - wall) > TOLERANCE and leased is None
        if known is None or known.boot != boot or drifted:
            anchor = msgspec.json.encode(Anchor(boot=boot, offset=wall)).decode()
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('clock', ?)", (anchor,))
            if known is not None:
                shift = wall - known.offset if known.boot == boot else 0.0
                move_starts(connection, by=shift, now=since_boot() + wall)
        self.refresh(connection)
