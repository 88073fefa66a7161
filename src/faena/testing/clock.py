"""Time that moves only when a test says so."""

from __future__ import annotations


class FakeClock:
    """Seconds since the epoch, as a store reads them: give the instance itself as the store's ``clock``."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Step forward; a negative number steps back, as a clock that is set right does."""
        self.now += seconds
