"""What a job in a child process may use. Where the system can't limit something, a `FaenaWarning` says so once."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from faena.errors import FaenaWarning
from faena.options import Limits

_OPEN_FILES: Final = Path("/proc/self/fd")
_MEMORY: Final = Path("/proc/self/statm")
_BALLAST: Final = 4 * 1024 * 1024


@contextmanager
def limited(limits: Limits | None) -> Iterator[None]:
    """Hold this process to ``limits`` above what it uses now; only soft limits are moved, so that they come back.

    Memory is address space: reaching it makes allocations fail, which Python tells as `MemoryError`. The processor
    time counts in whole seconds (rounded up), and reaching it ends the process by SIGXCPU.
    """
    if limits is None:
        yield
        return
    try:
        import resource
    except ImportError:
        _warn("this system has no resource limits: memory, cpu and files are not limited")
        yield
        return
    ballast: bytearray | None = bytearray(_BALLAST)
    wanted: dict[int, int] = {}
    if limits.memory is not None:
        if sys.platform == "linux":
            wanted[resource.RLIMIT_AS] = _memory_in_use() + limits.memory
        else:
            _warn("the memory of a process can be limited on Linux only: memory is not limited")
    if limits.cpu is not None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        wanted[resource.RLIMIT_CPU] = math.ceil(usage.ru_utime + usage.ru_stime + limits.cpu)
    if limits.files is not None:
        wanted[resource.RLIMIT_NOFILE] = _highest_open_file() + 1 + limits.files
    before = {kind: resource.getrlimit(kind) for kind in wanted}
    try:
        for kind, soft in wanted.items():
            hard = before[kind][1]
            resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
        yield
    finally:
        ballast = None  # noqa: F841  (room to lift the limits when the memory is used up)
        for kind, both in before.items():
            resource.setrlimit(kind, both)


def no_core_dumps() -> None:
    """A child that is killed by its limits leaves no core file."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _memory_in_use() -> int:
    return int(_MEMORY.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _highest_open_file() -> int:
    try:
        return max(int(name) for name in os.listdir(_OPEN_FILES))
    except (OSError, ValueError):
        return 32


def _warn(message: str) -> None:
    warnings.warn(message, FaenaWarning, stacklevel=3)
