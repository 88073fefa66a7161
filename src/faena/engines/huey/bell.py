"""Bells: how a message wakes an idle worker of any process within a millisecond, without anyone polling.

Each worker hangs up a named pipe in a common directory and sleeps on it; who sends a message rings them all. A bell
is only a hint: a worker looks for itself now and then, so that a ring that got lost costs a moment, not a message.
Where the system or the file system has no named pipes, the worker looks more often instead.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
import uuid
from pathlib import Path
from typing import Final

LOOK: Final = 0.25
"""Seconds after which a sleeper looks for itself."""
LOOK_WITHOUT_PIPE: Final = 0.02
SUFFIX: Final = ".bell"


class Bell:
    """One sleeper's bell, hung up by the first `wait`. Only one thread waits at a time, any may ring."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / f"{os.getpid()}-{uuid.uuid4().hex[:12]}{SUFFIX}"
        self._pipe: int | None = None
        self._event = threading.Event()
        self._lock = threading.Lock()
        """Nobody writes to a pipe while it is taken down."""

    def wait(self) -> None:
        """Return when it rings, or when it is time to look without that."""
        if self._hang():
            return  # what came before it hung there has rung nothing
        if self._pipe is None:
            self._event.wait(LOOK_WITHOUT_PIPE)
            self._event.clear()
        elif select.select([self._pipe], [], [], LOOK)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._pipe, 65_536)

    def ring(self) -> None:
        """Wake the sleeper, now or when it next waits."""
        self._event.set()
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._pipe is not None:
                os.write(self._pipe, b"!")

    def take_down(self) -> None:
        """Remove it. Nobody may wait any more; safe to repeat."""
        with self._lock:
            pipe, self._pipe = self._pipe, None
            if pipe is not None:
                os.close(pipe)
                with contextlib.suppress(OSError):
                    self._path.unlink()

    def _hang(self) -> bool:
        """Hang it up if it does not hang there; True if it does only now. There may be no pipes, or no directory."""
        if self._pipe is not None and self._path.exists():
            return False
        self.take_down()
        with contextlib.suppress(OSError, AttributeError):
            self._pipe = _make_pipe(self._path)
        return self._pipe is not None


def ring_all(directory: Path) -> None:
    """Ring every bell in a directory, and remove those whose sleeper is gone. Never raises."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(directory):
            if entry.name.endswith(SUFFIX):
                _ring(entry.path)


def _make_pipe(path: Path) -> int:
    """Make a pipe and open it before it has its name, so that nobody finds it without its sleeper."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    nameless = path.with_suffix(".new")
    os.mkfifo(nameless, 0o600)
    pipe = os.open(nameless, os.O_RDWR | os.O_NONBLOCK)
    nameless.rename(path)
    return pipe


def _ring(path: str) -> None:
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            with contextlib.suppress(OSError):
                os.unlink(path)
        return
    try:
        with contextlib.suppress(OSError):
            os.write(pipe, b"!")
    finally:
        os.close(pipe)
