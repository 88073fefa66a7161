"""A schedule as it is stored: which job to make, and when the next one is due.

When its ticks are is `faena.ticks`' business; the store only compares and sets ``next_at``.
"""

from __future__ import annotations

import enum

from faena.job import Record


class CatchUp(enum.StrEnum):
    """What becomes of ticks that passed while no scheduler ran."""

    ONE = "one"  # one job for all of them
    ALL = "all"  # a job for each, the oldest first (at most 100 at once)
    NONE = "none"  # none: wait for the next tick


class Overlap(enum.StrEnum):
    """What becomes of a tick while the job of an earlier one still lives."""

    SKIP = "skip"  # no job; it is counted
    ALLOW = "allow"  # a job all the same


class Schedule(Record, frozen=True):
    """Makes a job of a task at each tick. Times are seconds since the epoch, by the wall clock."""

    name: str
    task: str
    args: bytes = b"{}"
    cron: str | None = None
    """Five fields, or six with seconds first; excludes ``every``."""
    every: float | None = None
    """Seconds between two ticks, counted from ``start``."""
    start: float = 0.0
    """Where the ticks of ``every`` are counted from."""
    timezone: str = "UTC"
    """In which the cron fields are meant (an IANA name)."""
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.SKIP
    queue: str | None = None
    priority: int | None = None
    source: str = "api"
    """Who declared it: ``api`` (HTTP or command), or ``code:`` and the reference of the app."""
    paused: bool = False
    next_at: float | None = None
    """The next tick; None: there is none any more."""
    created_at: float = 0.0
    """Set by the store."""
    last_at: float | None = None
    """The last tick that was taken."""
    last_job: str | None = None
    runs: int = 0
    """Jobs made."""
    skipped: int = 0
    """Ticks that made none: overlapped or missed."""

    @property
    def definition(self) -> tuple[object, ...]:
        """What its author decided; all but this is the store's."""
        return (
            self.task,
            self.args,
            self.cron,
            self.every,
            self.start,
            self.timezone,
            self.catch_up,
            self.overlap,
            self.queue,
            self.priority,
            self.source,
        )
