"""The media root: which files a path may name, and how results get there.

A path is told as ``/media/<below the root>``, which is also the address of a result. Taken are that form, a path
relative to the root, and an absolute one that lies below the root. Symbolic links below the root are not followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from faena.packs.media.errors import InvalidPath
from faena.packs.media.kinds import Kind

PREFIX: Final = "/media/"
DERIVED: Final = "derived"
"""The directory of results, below the root: ``derived/<source>/<result>``. Only what lies there is served."""
UPLOADS: Final = "uploads"
HALF: Final = re.compile(r"\.[0-9a-f]{16}\.part")
"""The name of a file that is still being written."""

MAX_PATH: Final = 1024
MAX_NAME: Final = 200
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_READ: Final = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class MediaRoot:
    """A directory of pictures. Every path that it takes or gives is told as ``/media/…``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def tell(self, file_path: str) -> str:
        """Return the one form of a path, ``/media/…``; no file is touched. Raises `InvalidPath`."""
        return PREFIX + self._relative(file_path).as_posix()

    def find(self, file_path: str) -> Path:
        """Return where the file lies. Raises `InvalidPath` when it is none, or not below the root."""
        self.open(file_path).close()
        return self._on_disk(file_path)

    def open(self, file_path: str) -> BinaryIO:
        """Open a regular file below the root, reached by no link. Raises `InvalidPath` for anything else."""
        path = self._on_disk(file_path)
        try:
            descriptor = os.open(path, _READ)
        except OSError as error:
            raise _path_fault(file_path, error) from error
        try:
            self._must_be_inside(file_path, path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "rb")

    def derived(self, file_path: str, name: str) -> str:
        """Return the path of the result ``name`` of a source: always the same one for the same source."""
        return f"{PREFIX}{DERIVED}/{self._relative(file_path).as_posix()}/{name}"

    def write(self, file_path: str, data: bytes) -> None:
        """Put a file in place at once: a reader sees the old one or the whole new one, also after a power cut."""
        with self.replacing(file_path) as file:
            file.write(data)

    @contextlib.contextmanager
    def replacing(self, file_path: str) -> Iterator[BinaryIO]:
        """Give a file to write; it takes its name when the block ends well, and is removed when it does not."""
        path = self._on_disk(file_path)
        self._must_have_no_link(file_path, path.parent)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{secrets.token_hex(8)}.part")
        descriptor = os.open(
            temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_directory(path.parent)

    def _on_disk(self, file_path: str) -> Path:
        return self.directory / self._relative(file_path)

    def _relative(self, file_path: str) -> PurePosixPath:
        """Apply the rule of this module's docstring to the text alone."""
        _must_be_sane(file_path)
        text = file_path.replace("\\", "/") if os.name == "nt" else file_path
        root = self.directory.as_posix().rstrip("/") + "/"
        for prefix in (root, PREFIX):
            if text.startswith(prefix):
                text = text[len(prefix) :]
                break
        below = PurePosixPath(text)
        if below.is_absolute() or ":" in text.split("/")[0]:
            raise InvalidPath(
                file_path, "is not below the media root: give it as /media/… or relative to the root"
            )
        if not below.parts or text.endswith("/"):
            raise InvalidPath(file_path, "names no file")
        if ".." in below.parts:
            raise InvalidPath(file_path, "has '..' in it: name the file by its own path below the media root")
        if any(part.startswith(".") for part in below.parts):
            raise InvalidPath(file_path, "has a part that begins with a dot: hidden files are not touched")
        return below

    def _must_be_inside(self, file_path: str, path: Path, descriptor: int) -> None:
        """Hold that the open file is the one that lies, by no link, below the root."""
        opened = os.fstat(descriptor)
        if not stat.S_ISREG(opened.st_mode):
            raise InvalidPath(file_path, "is not a regular file")
        self._must_have_no_link(file_path, path)
        if not os.path.samestat(opened, path.stat()):
            raise InvalidPath(file_path, "changed while it was opened")

    def _must_have_no_link(self, file_path: str, path: Path) -> None:
        if path.resolve() != self.directory.resolve() / path.relative_to(self.directory):
            raise InvalidPath(
                file_path, "leads through a symbolic link: links below the media root are not followed"
            )


def upload_name(kind: Kind) -> str:
    """Return a new path for an upload: random, so that nobody can guess it, and ending as its kind does."""
    return f"{PREFIX}{UPLOADS}/{secrets.token_hex(16)}{kind.suffix}"


def _must_be_sane(file_path: str) -> None:
    if not file_path.strip():
        raise InvalidPath(file_path, "is empty: name a file below the media root")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in file_path):
        raise InvalidPath(file_path, "has control characters in it")
    try:
        names = [len(name) for name in file_path.encode().split(b"/")]
    except UnicodeEncodeError:
        raise InvalidPath(file_path, "is not valid Unicode") from None
    if sum(names) + len(names) > MAX_PATH or max(names) > MAX_NAME:
        raise InvalidPath(file_path, f"is too long: at most {MAX_PATH} bytes, and {MAX_NAME} for one name")


def _path_fault(file_path: str, error: OSError) -> Exception:
    """Say what is wrong with the path; what may pass by itself (a full table, a lost disk) stays an `OSError`."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return InvalidPath(file_path, "is not there: no such file below the media root")
    if isinstance(error, PermissionError):
        return InvalidPath(file_path, "may not be read: the worker's user has no right to it")
    if isinstance(error, IsADirectoryError):
        return InvalidPath(file_path, "is not a regular file")
    if error.errno == errno.ELOOP:
        return InvalidPath(file_path, "is a symbolic link: links below the media root are not followed")
    return error


def _sync_directory(directory: Path) -> None:
    """Make a rename last through a power cut; not every system can, and none needs more than the attempt."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
