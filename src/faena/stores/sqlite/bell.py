"""A doorbell between the processes that share a database file.

SQLite has no way to tell another process that something changed. Each listener therefore binds a datagram
socket in a folder beside the database, and whoever commits sends it one byte. A ring can be lost (its sender
was killed) or be for nothing; who waits looks again, and never waits longer than it chose to.

Where a loop can't watch such sockets (Windows), `Bell.changed` returns every `POLL` seconds instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Final

POLL: Final = 0.05
_TICK: Final = 50_000_000  # nanoseconds
_LONGEST_ADDRESS: Final = 100  # of the 104 to 108 bytes that systems allow


class Bell:
    """One kind of ring (``work``, ``feed``) as heard and rung by one store instance."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.count = 0
        """How often it rang, as far as this instance heard. Note it before looking, then wait for a change."""
        self._folder = folder
        self._kind = kind
        self._waiting: set[asyncio.Future[None]] = set()
        self._socket: socket.socket | None = None
        self._own: str | None = None
        self._others: list[str] = []
        self._others_seen = -1
        self._sender: socket.socket | None = None
        self._folder_fd: int | None = None
        self._deaf = not hasattr(socket, "AF_UNIX")

    async def changed(self, since: int, wait: float) -> None:
        """Return when ``count`` is no longer ``since``, after ``wait`` seconds at the latest."""
        self.listen()
        if self.count != since:
            return
        ring: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(ring)
        try:
            await asyncio.wait([ring], timeout=min(wait, POLL) if self._deaf else wait)
        finally:
            self._waiting.discard(ring)

    def ring(self) -> None:
        """Wake who waits in this instance and in every other one. Never raises."""
        self._heard()
        for name in self._listeners():
            self._send(name)

    def close(self) -> None:
        """Stop listening. Safe to repeat."""
        self._heard()
        if self._socket is not None:
            with contextlib.suppress(Exception):  # the loop may be closing
                asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._own is not None:
            with contextlib.suppress(OSError):
                (self._folder / self._own).unlink()
            self._own = None
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        if self._folder_fd is not None:
            os.close(self._folder_fd)
            self._folder_fd = None

    def _heard(self) -> None:
        self.count += 1
        for ring in self._waiting:
            if not ring.done():
                ring.set_result(None)

    def listen(self) -> None:
        """Start to hear the others, if not yet done."""
        if self._socket is not None or self._deaf:
            return
        name = f"{self._kind}-{uuid.uuid4().hex[:12]}"
        listener: socket.socket | None = None
        try:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            listener.setblocking(False)
            listener.bind(self._address(name))
            asyncio.get_running_loop().add_reader(listener.fileno(), self._receive)
        except (OSError, NotImplementedError):
            if listener is not None:
                listener.close()
            self._deaf = True
            return
        self._socket, self._own = listener, name

    def _receive(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(1):
                pass
        self._heard()

    def _listeners(self) -> list[str]:
        try:
            stamp = os.stat(self._folder).st_mtime_ns
            if stamp != self._others_seen:
                names = os.listdir(self._folder)
                self._others = [name for name in names if name.startswith(self._kind) and name != self._own]
                # Two changes within one tick of the file system's clock bear the same stamp: trust only an old one.
                self._others_seen = stamp if time.time_ns() - stamp > _TICK else -1
        except OSError:
            self._others = []
        return self._others

    def _send(self, name: str) -> None:
        try:
            if self._sender is None:
                self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._sender.setblocking(False)
            self._sender.sendto(b"!", self._address(name))
        except (ConnectionRefusedError, FileNotFoundError):  # its owner was killed
            with contextlib.suppress(OSError):
                (self._folder / name).unlink()
        except OSError:
            pass  # its buffer is full: it has rings enough to wake. Or no file can be opened: it looks by itself

    def _address(self, name: str) -> str:
        path = str(self._folder / name)
        if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
            return path
        if self._folder_fd is None:  # Linux: a short way to a long path
            self._folder_fd = os.open(self._folder, os.O_RDONLY)
        return f"/proc/self/fd/{self._folder_fd}/{name}"
