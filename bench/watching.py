"""How fast jobs end, looked at from outside. Imports nothing of Faena: other projects are measured by it, too."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 600.0
"""Seconds after which a measurement gives up."""


def rate(done: Callable[[], int], jobs: int, *, every: float = 0.01) -> float:
    """Jobs per second from the first hundredth that is seen done to the last."""
    give_up = time.monotonic() + PATIENCE
    first: tuple[float, int] | None = None
    while time.monotonic() < give_up:
        now, count = time.perf_counter(), done()
        if first is None and count >= jobs / 100:
            first = (now, count)
        if first is not None and count >= jobs:
            if count == first[1]:
                raise ValueError(f"all {jobs} jobs were done between two looks: take more of them")
            return (count - first[1]) / (now - first[0])
        time.sleep(every)
    raise TimeoutError(f"{done()} of {jobs} jobs were done after {PATIENCE:g} s")
