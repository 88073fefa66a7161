"""Job ids: UUIDv7 (RFC 9562, section 5.7), which sort by the time they were made.

Sorted keys go to the end of a store's index; random ones would cost SQLite two thirds of its insert rate.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final

_VERSION: Final = 0x7 << 76
_VARIANT: Final = 0x2 << 62
_RANDOM: Final = (1 << 62) - 1
_STEPS_A_MILLISECOND: Final = 1 << 12
_NANOSECONDS: Final = 1_000_000


class Ids:
    """Makes ids, each greater than the one before it, even when the clock steps back. Any thread may call it.

    The 12 bits after the milliseconds count their fractions (RFC 9562, section 6.2, method 3); the rest is random
    from the system, so that a forked child never repeats its parent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> str:
        """Return a new id, as 36 characters."""
        moment = self._next_moment()
        milliseconds, fraction = divmod(moment, _STEPS_A_MILLISECOND)
        random = int.from_bytes(os.urandom(8), "big") & _RANDOM
        text = f"{milliseconds << 80 | _VERSION | fraction << 64 | _VARIANT | random:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _next_moment(self) -> int:
        now = time.time_ns() * _STEPS_A_MILLISECOND // _NANOSECONDS
        with self._lock:
            self._last = max(now, self._last + 1)
            return self._last
