"""The queue file: messages in a SQLite file that may be lost, moved, wiped or damaged without harm to a job.

It keeps the very table of huey's own SQLite storage, but speaks to it through apsw: the SQLite inside is new
enough for several processes to write one WAL file safely, which the system's often is not.

The file lies in a directory of its own, so that a damaged one is put aside with its WAL by one rename. Every
process notices by the inode that the file at the path is no longer the one that it has open, and opens the new one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import apsw
from huey.storage import SqliteStorage

from faena.engines.huey.alone import alone
from faena.errors import EngineDown

log = logging.getLogger(__name__)

T = TypeVar("T")

DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError)
"""What SQLite says of a file that is no queue file (any more); SQLError: it lacks the table."""

SCHEMA: Final = (
    SqliteStorage.table_task.replace("primary key", "primary key autoincrement"),
    SqliteStorage.index_task,
)
PUSH: Final = """insert into task (queue, data, priority, id)
    values (?1, ?2, ?3, case when ?4 then (select min(id) from task) - 1 end)"""
ROWS_A_TRANSACTION: Final = 2_000
TRIES: Final = 4


class Row(NamedTuple):
    """One message as it is written."""

    queue: str
    data: bytes
    priority: int
    first: bool = False
    """It goes before those of its priority that are there already."""


class QueueFile:
    """Messages in order: queues as asked, then higher priority, then first come. Thread-safe; heals itself.

    Every method raises `EngineDown` after ``timeout`` seconds at the latest. Made without touching the disk.
    """

    def __init__(self, directory: Path, *, timeout: float) -> None:
        self.path = directory / "huey" / "queue.db"
        self._guard = directory / "huey.lock"
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._version: int | None = None
        self._pid = os.getpid()
        self._seen = False
        self._inherited: list[apsw.Connection] = []

    def push(self, rows: Sequence[Row]) -> None:
        """Append messages, some thousands at a time; those before a failure stay."""
        ahead = [row for row in rows if row.first]
        ordered = [*ahead[::-1], *(row for row in rows if not row.first)] if ahead else rows

        def insert(connection: apsw.Connection) -> None:
            for start in range(0, len(ordered), ROWS_A_TRANSACTION):
                _insert(connection, ordered[start : start + ROWS_A_TRANSACTION])

        self._do(insert)

    def pop(self, queues: Sequence[str], limit: int) -> list[Row]:
        """Take up to ``limit`` messages off the queues, those of the first queue first."""
        return self._do(lambda connection: _take(connection, queues, limit))

    def count(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        sql = "select count(*) from task where queue = ?"
        rows = self._do(lambda connection: _rows(connection, sql, (queue,)))
        return int(rows[0][0])

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """Return the first messages of a queue and leave them there."""
        sql = "select data from task where queue = ? order by priority desc, id limit ?"
        return [data for (data,) in self._do(lambda connection: _rows(connection, sql, (queue, limit)))]

    def purge(self, queues: Sequence[str]) -> int:
        """Drop the messages of queues; returns how many."""
        return self._do(lambda connection: sum(_delete(connection, queue) for queue in dict.fromkeys(queues)))

    def changed(self) -> bool:
        """True when another connection wrote, or the file was replaced, since the last call. Costs microseconds."""

        def look(connection: apsw.Connection) -> bool:
            version = connection.pragma("data_version")
            before, self._version = self._version, version
            return bool(version != before)

        return self._do(look)

    def close(self) -> None:
        """Let go of the file. Safe to repeat; a later call opens it again."""
        with self._lock:
            self._drop()

    def _do(self, work: Callable[[apsw.Connection], T]) -> T:
        deadline = time.monotonic() + self._timeout
        with self._turn(), _as_engine_down(self.path):
            for _ in range(TRIES - 1):
                try:
                    return work(self._open(deadline))
                except DAMAGE as damage:
                    self._put_aside(damage, deadline)
                except (apsw.BusyError, apsw.FullError):
                    raise
                except apsw.Error:
                    replaced = self._replaced()
                    self._drop()  # whatever it is, a fresh connection has the best chance
                    if not replaced:
                        raise
            return work(self._open(deadline))

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        self._forget_what_a_fork_left()
        if not self._lock.acquire(timeout=self._timeout):
            raise EngineDown(f"the queue file {self.path} is held by another thread; try again")
        try:
            yield
        finally:
            self._lock.release()

    def _open(self, deadline: float) -> apsw.Connection:
        if self._connection is not None and self._replaced():
            self._drop()
        patience = max(0.05, deadline - time.monotonic())
        if self._connection is None:
            if not self._seen:  # a queue directory that goes away later may be a disk that was unmounted
                _make_private(self.path.parent.parent)
            with alone(self._guard, timeout=patience):
                _make_private(self.path.parent)
                _make_file(self.path)
                self._inode, self._version = _inode(self.path), None
                self._connection = _connect(self.path, patience)
            self._seen = True
        else:
            self._connection.set_busy_timeout(int(patience * 1000))
        return self._connection

    def _replaced(self) -> bool:
        """True when the file at the path is not the one that was opened: somebody put that aside, or deleted it."""
        return self._inode != _inode(self.path)

    def _put_aside(self, damage: apsw.Error, deadline: float) -> None:
        aside = self.path.parent.with_name(_name_aside())
        with alone(self._guard, timeout=max(0.05, deadline - time.monotonic())):
            replaced = self._replaced()
            self._drop()
            if replaced:
                return  # another process was quicker
            self.path.parent.rename(aside)
        log.warning(
            "the queue file %s was damaged (%s) and lies in %s now; a new one takes its place, and the jobs that it "
            "held are delivered again",
            self.path,
            damage,
            aside,
        )

    def _drop(self) -> None:
        connection, self._connection, self._inode, self._version = self._connection, None, None, None
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close(True)

    def _forget_what_a_fork_left(self) -> None:
        if self._pid == os.getpid():
            return
        self._pid, self._lock = os.getpid(), threading.Lock()
        if self._connection is not None:
            self._inherited.append(self._connection)  # closing it would disturb the parent
        self._connection = self._inode = self._version = None


@contextlib.contextmanager
def _as_engine_down(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.FullError as error:
        raise EngineDown(f"no room is left for the queue file {path}: free some space") from error
    except apsw.BusyError as error:
        raise EngineDown(f"the queue file {path} is locked by another process: {error}") from error
    except (apsw.Error, OSError) as error:
        raise EngineDown(f"the queue file {path} cannot be used: {error}; check the directory") from error


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def _make_file(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _name_aside() -> str:
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return f"huey.damaged-{stamp}-{os.getpid()}-{secrets.token_hex(3)}"


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path, patience: float) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(int(patience * 1000))
        _use_wal(connection, patience)
        connection.pragma("synchronous", "normal")
        if not connection.table_exists(None, "task"):
            with _transaction(connection):
                for sql in SCHEMA:
                    connection.execute(sql)
    except BaseException:
        connection.close(True)
        raise
    return connection


def _use_wal(connection: apsw.Connection, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:  # SQLite does not wait here by itself
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


@contextlib.contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[None]:
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _insert(connection: apsw.Connection, rows: Sequence[Row]) -> None:
    if len(rows) == 1:
        connection.execute(PUSH, rows[0])
        return
    with _transaction(connection):
        connection.executemany(PUSH, rows)


def _take(connection: apsw.Connection, queues: Sequence[str], limit: int) -> list[Row]:
    taken = _rows(connection, _take_sql(len(queues)), (*queues, limit))
    in_order = sorted(taken, key=lambda row: (queues.index(row[0]), -row[1], row[2]))
    return [Row(queue, data, priority) for queue, priority, _, data in in_order]


def _take_sql(queues: int) -> str:
    """One statement for any number of queues; each part walks the index, so it costs the same at any depth."""
    part = "select id from (select id from task where queue = ?{n} order by priority desc, id limit ?{limit})"
    parts = " union all ".join(part.format(n=n + 1, limit=queues + 1) for n in range(queues))
    chosen = f"select id from ({parts}) limit ?{queues + 1}"
    return f"delete from task where id in ({chosen}) returning queue, priority, id, data"


def _rows(connection: apsw.Connection, sql: str, values: tuple[str | int, ...]) -> list[tuple[Any, ...]]:
    return connection.execute(sql, values).fetchall()


def _delete(connection: apsw.Connection, queue: str) -> int:
    connection.execute("delete from task where queue = ?", (queue,))
    return connection.changes()
