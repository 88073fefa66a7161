"""Where the embedded default writes: seed 004's order of queue directories, with its permission checks.

The order, when nothing is named: ``/var/lib/coati/queue``, ``~/.local/share/coati-payroll/queue``,
``./.coati_queue``, ``/tmp/coati_queue``. A directory is taken when it could be made (0700) or is there, is safe,
and a probe file could be written, read and removed in it. A *named* directory (COATI_QUEUE_PATH, FAENA_DATA_DIR) is
taken or refused, never replaced by another: two processes that disagree about it would not see each other's jobs.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from faena.errors import InvalidSettings
from faena.job import Record

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Candidate(Record, frozen=True):
    """A directory to try."""

    path: Path
    own: bool = False
    """It lies where others may write beside it: it must be a real directory, ours, and closed to them."""
    temporary: bool = False
    """The machine may empty it at any time."""
    named: bool = False
    """Somebody chose it: who else may write there is their decision, and worth a warning."""


class Note(Record, frozen=True):
    """Something to tell about the choice."""

    level: str
    """``error``, ``warning`` or ``info``."""
    text: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.reason})" if self.reason else self.text


class QueueDirectory(Record, frozen=True):
    """The chosen directory and what is to be told about the choice."""

    path: Path
    temporary: bool = False
    notes: tuple[Note, ...] = ()


class Directories(Record, frozen=True):
    """Where the embedded default writes; all of it exists and was probed."""

    data: Path
    """The database; the media too, unless FAENA_MEDIA_ROOT names another place."""
    queue: Path
    """The queue engine's files."""
    temporary: bool = False
    notes: tuple[Note, ...] = ()


class Unusable(Exception):
    """A directory can't be used; the message says why."""


def choose_directories(data_dir: Path | None, queue_path: Path | None) -> Directories:
    """Prepare what FAENA_DATA_DIR and COATI_QUEUE_PATH name, or the first usable directory. Raises
    `InvalidSettings`."""
    if data_dir is not None:
        data = prepare_named_directory(data_dir, name="FAENA_DATA_DIR")
        queue = prepare_named_directory(queue_path or data.path / "queue", name="COATI_QUEUE_PATH")
        return Directories(data=data.path, queue=queue.path, notes=(*data.notes, *queue.notes))
    if queue_path is not None:
        queue = prepare_named_directory(queue_path, name="COATI_QUEUE_PATH")
        return Directories(data=queue.path, queue=queue.path, notes=queue.notes)
    chosen = choose_queue_directory()
    return Directories(data=chosen.path, queue=chosen.path, temporary=chosen.temporary, notes=chosen.notes)


def candidates() -> tuple[Candidate, ...]:
    """Return seed 004's directories in their order."""
    temporary = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())  # noqa: S108
    listed = [Candidate(path=Path("/var/lib/coati/queue"))]
    home = Path(os.path.expanduser("~"))
    if home.is_absolute() and home != Path("/"):
        listed.append(Candidate(path=home / ".local" / "share" / "coati-payroll" / "queue"))
    listed.append(Candidate(path=Path.cwd() / ".coati_queue", own=True))
    listed.append(Candidate(path=temporary / "coati_queue", own=True, temporary=True))
    return tuple(listed)


def choose_queue_directory(order: Sequence[Candidate] | None = None) -> QueueDirectory:
    """Prepare and return the first usable directory; raises `InvalidSettings` naming all when there is none."""
    refused: list[Note] = []
    for candidate in candidates() if order is None else order:
        try:
            _prepare(candidate)
        except Unusable as error:
            refused.append(_insufficient(candidate.path, str(error)))
            continue
        return QueueDirectory(
            path=candidate.path, temporary=candidate.temporary, notes=_notes(candidate, refused)
        )
    hint = "name a directory that you may write with COATI_QUEUE_PATH or FAENA_DATA_DIR"
    raise InvalidSettings([*(str(note) for note in refused), hint])


def prepare_named_directory(path: Path, *, name: str) -> QueueDirectory:
    """Make (0700) and probe the directory that the setting ``name`` names. Raises `InvalidSettings`."""
    try:
        _prepare(Candidate(path=path, named=True))
    except Unusable as error:
        advice = f"{name} names it: give it to the user that runs Faena, or name another"
        raise InvalidSettings([f"{_insufficient(path, str(error))}; {advice}"]) from error
    if not _open_to_all(path.stat()):
        return QueueDirectory(path=path)
    told = f"Every user of this machine may write in {path}"
    return QueueDirectory(path=path, notes=(Note(level="warning", text=told, reason=f"chmod 700 {path}"),))


def _prepare(candidate: Candidate) -> None:
    try:
        made = _make(candidate.path)
        if not made:
            _refuse_unsafe(candidate)
        _probe(candidate.path)
    except OSError as error:
        raise Unusable(error.strerror or str(error)) from error


def _make(path: Path) -> bool:
    """Make the directory for this user alone; False when something of that name is there already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise Unusable(f"{path.parent} is not a directory") from None
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return False
    path.chmod(0o700)  # whatever the umask is
    return True


def _refuse_unsafe(candidate: Candidate) -> None:
    """Refuse what another user of this machine may have laid there."""
    found = candidate.path.lstat() if candidate.own else candidate.path.stat()
    if stat.S_ISLNK(found.st_mode):
        raise Unusable("it is a symbolic link, which another user may have laid there")
    if not stat.S_ISDIR(found.st_mode):
        raise Unusable("it is not a directory")
    if os.name != "posix":
        return
    if candidate.own and found.st_uid != os.geteuid():
        raise Unusable("it belongs to another user")
    if candidate.own and found.st_mode & OTHERS_MAY_WRITE:
        raise Unusable("other users may write in it")
    if _open_to_all(found) and not candidate.named:
        raise Unusable("every user of this machine may write in it")
    if candidate.temporary:
        candidate.path.chmod(0o700)


def _open_to_all(found: os.stat_result) -> bool:
    return os.name == "posix" and bool(found.st_mode & stat.S_IWOTH)


def _probe(directory: Path) -> None:
    """Write, read and remove a file; nothing of it is left."""
    path = directory / f".faena-probe-{os.getpid()}-{secrets.token_hex(4)}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, b"faena")
        os.lseek(descriptor, 0, os.SEEK_SET)
        if os.read(descriptor, 5) != b"faena":
            raise Unusable("what was written could not be read again")
        os.listdir(directory)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def _insufficient(path: Path, reason: str) -> Note:
    return Note(level="error", text=f"Insufficient permissions for queue storage at {path}", reason=reason)


def _notes(chosen: Candidate, refused: Sequence[Note]) -> tuple[Note, ...]:
    """A laptop has no ``/var/lib/coati``: that is worth a word only when a temporary directory is what was left."""
    if not chosen.temporary:
        return ()
    warning = Note(level="warning", text=f"Using temporary directory for queue storage: {chosen.path}")
    return (*refused, warning)
