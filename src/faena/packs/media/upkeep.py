"""What keeps the uploads few: those that no job needs any more are removed, and half files that a crash left behind.

A job needs an upload while its arguments name it, whatever its task, and it waits, runs, or has failed and is kept.
Each look gives the uploads that are needed a new modification time, and removes those whose time is older than the
setting says. So any number of servers may look after one media root, if their jobs are in one store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from faena import Status
from faena.loops.forever import forever
from faena.packs.media.files import DERIVED, HALF, UPLOADS, MediaRoot

if TYPE_CHECKING:
    from fastapi import FastAPI

    from faena.api.deps import Services

LONGEST_PAUSE: Final = 3600.0
"""Seconds between two looks at most."""
ABANDONED: Final = 3600.0
"""Seconds without a write after which a half file is nobody's."""
NEEDING: Final = (Status.SCHEDULED, Status.PENDING, Status.PROCESSING, Status.FAILED)

_UPLOAD: Final = re.compile(r"([0-9a-f]{32})\.[a-z]+")
_NAMED: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?=\.)")


@contextlib.asynccontextmanager
async def looking_after_uploads(api: FastAPI) -> AsyncIterator[None]:
    """Look after the uploads while a server runs: the lifespan of the pack's routes."""
    looking = asyncio.create_task(forever("uploads", Upkeep(api.state.faena), asyncio.Event()))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])


class Upkeep:
    """Looks at the uploads, and only when there are any at the jobs."""

    def __init__(self, services: Services) -> None:
        self._client = services.client
        self._settings = services.settings
        self._ttl = services.settings.upload_ttl

    async def __call__(self) -> float:
        """Look once; returns the seconds until the next time."""
        uploads = await asyncio.to_thread(self._list) if self._decided() else {}
        if uploads and self._ttl:
            await self._renew(uploads)
            if await asyncio.to_thread(self._expired, uploads):
                await self._renew(uploads)  # a job that was run again meanwhile is on a page already read
                await asyncio.to_thread(self._remove, uploads)
        return min(LONGEST_PAUSE, self._ttl / 2 or LONGEST_PAUSE)

    def _decided(self) -> bool:
        """Whether it is decided where uploads lie. It is not to be chosen, and made, only to find that none are there:
        that has time until a request comes."""
        return self._settings.named_media_root is not None or "directories" in vars(self._settings)

    def _list(self) -> dict[str, Path]:
        """Return the uploads by the random part of their names; half files are removed."""
        directory = self._settings.media_root / UPLOADS
        _remove_halves(directory)
        return {found[1]: path for path in _files(directory) if (found := _UPLOAD.fullmatch(path.name))}

    async def _renew(self, uploads: Mapping[str, Path]) -> None:
        needed: set[str] = set()
        async for job in self._client.each(NEEDING):
            needed.update(name.decode() for name in _NAMED.findall(job.args))
        await asyncio.to_thread(_touch, [uploads[name] for name in needed & uploads.keys()])

    def _expired(self, uploads: Mapping[str, Path]) -> list[Path]:
        return [path for path in uploads.values() if _age(path) > self._ttl]

    def _remove(self, uploads: Mapping[str, Path]) -> None:
        for path in self._expired(uploads):
            path.unlink(missing_ok=True)
            _remove_halves(self._settings.media_root / DERIVED / UPLOADS / path.name)


def find_and_renew(root: MediaRoot, file_path: str) -> None:
    """Hold that a file can be named by a new job, and keep it if it is an upload. Raises `InvalidPath`."""
    found = root.find(file_path)
    if found.parent == root.directory / UPLOADS:
        _touch([found])


def _remove_halves(directory: Path) -> None:
    for path in _files(directory):
        if HALF.fullmatch(path.name) and _age(path) > ABANDONED:
            path.unlink(missing_ok=True)


def _files(directory: Path) -> list[Path]:
    """Return the regular files of a directory; none if it is not there."""
    try:
        with os.scandir(directory) as entries:
            return [Path(entry) for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _touch(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # another server was first, or somebody's hand
            os.utime(path)


def _age(path: Path) -> float:
    """Return the seconds since a file was last written or needed; of one that is gone 0."""
    try:
        return time.time() - path.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return 0.0
