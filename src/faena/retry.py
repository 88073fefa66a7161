"""How long a job waits before it is tried again. Pure: the same random source gives the same delays."""

from __future__ import annotations

import random
from typing import Final, Literal, Protocol, TypeAlias

Jitter: TypeAlias = Literal["equal", "full"]


class RandomSource(Protocol):
    """Where jitter comes from: `random.Random`, the `random` module, or a fake."""

    def uniform(self, a: float, b: float) -> float:
        """Return a number between ``a`` and ``b``."""
        ...


_SYSTEM: Final = random.SystemRandom()
_MAX_DOUBLINGS: Final = 1000  # 2.0 ** 1024 overflows a float


def ceiling(attempt: int, *, minimum: float, maximum: float) -> float:
    """Return the longest delay after a failed ``attempt`` (1, 2, 3, …): ``minimum * 2 ** attempt``, at most
    ``maximum``."""
    return min(maximum, minimum * 2.0 ** min(attempt, _MAX_DOUBLINGS))


def backoff(
    attempt: int,
    *,
    minimum: float,
    maximum: float,
    jitter: Jitter = "equal",
    source: RandomSource = _SYSTEM,
) -> float:
    """Return the seconds to wait after a failed ``attempt`` (1, 2, 3, …), never outside ``minimum`` to ``maximum``.

    With ``c = min(maximum, minimum * 2 ** attempt)``, evenly spread over

    - ``equal`` jitter: ``c / 2`` to ``c`` — half of the wait is certain, half is spread;
    - ``full`` jitter: ``minimum`` to ``c`` — spread widest, for many jobs that failed at one moment.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015; the lower end is raised
    to ``minimum`` here.
    """
    longest = ceiling(attempt, minimum=minimum, maximum=maximum)
    shortest = minimum if jitter == "full" else max(minimum, longest / 2)
    return min(max(source.uniform(shortest, longest), minimum), maximum)


def retries(error: BaseException, retry_on: tuple[type[Exception], ...]) -> bool:
    """Return whether a failure with ``error`` is worth another attempt."""
    return isinstance(error, retry_on)
