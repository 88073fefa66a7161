"""A disk that can lose power or fill up: a SQLite file system that knows what was synced and what was not.

It writes through to the real file system and keeps, beside it, the image that would be left if power failed now:
for each file all that was synced, and of what was written since an arbitrary part, perhaps torn in the middle of
a write. SQLite's promise (and the store's) is that such an image holds every transaction that was acknowledged.
"""

# ruff: noqa: N802 (the methods bear the names that apsw calls)
from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""


class Disk(apsw.VFS):
    """A SQLite file system over the system's own. Register it by making one; its ``name`` is unique."""

    def __init__(self) -> None:
        self.name = f"faena-disk-{id(self):x}"
        self.full = False
        """While True every write that would grow a file fails as on a full disk."""
        self.on_write: Callable[[], None] = lambda: None
        """Called before each write: the moment to pull the plug."""
        self._synced: dict[str, bytearray] = {}
        self._unsynced: dict[str, list[tuple[int, bytes | None]]] = {}
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        """Open a file of the database; temporary ones need no memory."""
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """Forget a deleted file."""
        super().xDelete(filename, syncdir)
        self._synced.pop(filename, None)
        self._unsynced.pop(filename, None)

    def opened(self, path: str) -> None:
        """Take note of a file as it is found."""
        if path not in self._synced:
            self._synced[path] = bytearray(Path(path).read_bytes() if Path(path).exists() else b"")
            self._unsynced[path] = []

    def wrote(self, path: str, offset: int, data: bytes | None) -> None:
        """Remember a write (``data``) or a truncation (None, to ``offset`` bytes) that is not synced."""
        self._unsynced[path].append((offset, data))

    def synced(self, path: str) -> None:
        """All that was written to a file so far will survive."""
        for change in self._unsynced[path]:
            _apply(self._synced[path], change)
        self._unsynced[path].clear()

    def after_power_cut(self, chance: random.Random) -> dict[str, bytes]:
        """Return the files as a power cut at this moment might leave them."""
        left = {}
        for path, image in self._synced.items():
            survivor = bytearray(image)
            for change in self._unsynced[path]:
                if chance.random() < 0.5:
                    _apply(survivor, _torn(change, chance))
            left[path] = bytes(survivor)
        return left


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name
        super().__init__("", name, flags)
        if self._path:
            disk.opened(self._path)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.on_write()
        if self._disk.full and offset + len(data) > self.xFileSize():
            raise apsw.FullError("the test's disk is full")
        super().xWrite(data, offset)
        if self._path:
            self._disk.wrote(self._path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        if self._path:
            self._disk.wrote(self._path, newsize, None)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        if self._path:
            self._disk.synced(self._path)


def _apply(image: bytearray, change: tuple[int, bytes | None]) -> None:
    offset, data = change
    if data is None:
        del image[offset:]
        return
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


def _torn(change: tuple[int, bytes | None], chance: random.Random) -> tuple[int, bytes | None]:
    """Return a write whole or cut off at a sector's edge."""
    offset, data = change
    if data is None or len(data) <= SECTOR or chance.random() < 0.5:
        return change
    return offset, data[: SECTOR * chance.randrange(1, len(data) // SECTOR + 1)]
