"""One process at a time: a lock that its holder's death releases."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(path: Path, *, timeout: float) -> Iterator[None]:
    """Hold the lock file at ``path``, against every other holder in this process and others; raises `TimeoutError`."""
    deadline = time.monotonic() + timeout
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        while not _lock(file):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"the lock {path} is held by another process")
            time.sleep(0.005)
        yield
    finally:
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
