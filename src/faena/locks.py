"""A lock that survives forks."""

from __future__ import annotations

import os
import threading


class ProcessLock:
    """One lock for the threads of each process: a fork may copy one that a thread of the parent holds, for ever."""

    def __init__(self) -> None:
        self._locks = {os.getpid(): threading.Lock()}

    def own(self) -> threading.Lock:
        """Return this process's."""
        return self._locks.setdefault(os.getpid(), threading.Lock())
