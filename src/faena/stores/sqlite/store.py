"""The embedded store: one SQLite file, shared by any number of processes on one machine.

Write-ahead log with ``synchronous=FULL`` (``NORMAL`` loses acknowledged jobs at a power cut), one transaction for
all calls that wait together, and a SQLite of its own: older ones than 3.51.3 can corrupt a write-ahead log that
two processes write.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import msgspec

from faena.errors import StoreDown
from faena.events import Published
from faena.job import Job, NewJob, Outcome
from faena.ports.engine import Delivery
from faena.ports.records import (
    CancelResult,
    Changed,
    Claim,
    Count,
    Held,
    Inserted,
    Lease,
    Obstacles,
    Page,
    Paused,
    Promoted,
    Query,
    Report,
    StoreHealth,
    Story,
    WorkerInfo,
)
from faena.ports.store import StoreOptions
from faena.schedule import Schedule
from faena.stores.sqlite import (
    admitting,
    inserting,
    obstacles,
    pauses,
    reading,
    running,
    scheduling,
    steering,
    waiting,
)
from faena.stores.sqlite.bell import Bell
from faena.stores.sqlite.clock import MachineClock
from faena.stores.sqlite.faults import as_faena_error
from faena.stores.sqlite.ledger import Ledger
from faena.stores.sqlite.rows import encode, many, one
from faena.stores.sqlite.writer import Writer

SCHEMA_VERSION: Final = 3
SCRIPTS: Final = (("schema.sql", "limits.sql"), ("upgrade_2.sql", "limits.sql"), ("upgrade_3.sql",))
"""What brings a file to the present version, by the version that it has."""
OLDEST_SQLITE: Final = (3, 51, 3)
OPEN_PATIENCE: Final = 10_000
"""Milliseconds to wait for other processes while the file is opened."""

Answer = TypeVar("Answer")


class SQLiteStore:
    """The `Store` port on one SQLite file."""

    name = "sqlite"

    def __init__(
        self,
        path: Path,
        *,
        options: StoreOptions | None = None,
        clock: Callable[[], float] | None = None,
        vfs: str | None = None,
    ) -> None:
        """``clock`` (seconds since the epoch) and ``vfs`` (a SQLite file system) are for tests."""
        self._path = Path(path)
        self._options = options or StoreOptions()
        self._machine = MachineClock() if clock is None else None
        self._clock: Callable[[], float] = clock or self._machine or MachineClock()
        self._vfs = vfs
        self._connections: list[apsw.Connection] = []
        self._writer: Writer | None = None
        self._reader: apsw.Connection | None = None
        self._searcher: apsw.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None
        bells = self._path.with_name(self._path.name + "-bells")
        self._work_bell = Bell(bells, "work")
        self._feed_bell = Bell(bells, "feed")
        self._looked = 0
        self._looked_at = 0.0
        self._bells = bells

    async def open(self) -> None:
        """Open or create the file. Raises `StoreDown` with what to do. As `close`, it waits for the disk and for other
        processes in a thread."""
        thread = self._thread = ThreadPoolExecutor(1, "faena-search")
        opening = asyncio.get_running_loop().run_in_executor(thread, self._open_all)
        try:
            writing, self._reader, self._searcher = await opening
        except BaseException as error:
            await self.close()  # with its lock on the file
            if isinstance(error, apsw.Error | OSError):
                raise StoreDown(f"{self._path}: {as_faena_error(error)}") from error
            raise
        self._writer = Writer(
            writing, start=self._now, committed=self._ring, max_events=self._options.max_events
        )

    def _open_all(self) -> tuple[apsw.Connection, apsw.Connection, apsw.Connection]:
        return self._prepare(), self._connect(), self._connect()

    def _prepare(self) -> apsw.Connection:
        if tuple(map(int, apsw.sqlite_lib_version().split("."))) < OLDEST_SQLITE:
            raise StoreDown(
                f"SQLite {apsw.sqlite_lib_version()} can corrupt shared files: upgrade the apsw package"
            )
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._bells.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = self._connect()
        connection.set_busy_timeout(OPEN_PATIENCE)
        many(connection, "PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        self._upgrade(connection)
        if self._machine is not None:
            self._machine.settle(connection)
        connection.execute("COMMIT")
        connection.set_busy_timeout(0)
        return connection

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path), vfs=self._vfs)
        self._connections.append(connection)
        connection.set_busy_timeout(OPEN_PATIENCE)
        for pragma in (
            "synchronous = FULL",
            "temp_store = MEMORY",
            "cache_size = -32000",
            "wal_autocheckpoint = 4000",
        ):
            many(connection, f"PRAGMA {pragma}")
        return connection

    def _upgrade(self, connection: apsw.Connection) -> None:
        version = one(connection, "PRAGMA user_version")[0]
        if version > SCHEMA_VERSION:
            raise StoreDown(f"the file was made by a newer Faena (version {version}): upgrade this one")
        if version == SCHEMA_VERSION:
            return
        for part in SCRIPTS[version]:
            many(connection, files("faena.stores.sqlite").joinpath(part).read_text())
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    async def close(self) -> None:
        """Finish what is under way and close the file. Safe to repeat."""
        if self._writer is not None:
            await self._writer.close()
            self._writer = None
        self._reader = self._searcher = None
        self._work_bell.close()
        self._feed_bell.close()
        thread, self._thread = self._thread, None
        if thread is not None:
            try:
                closing = asyncio.get_running_loop().run_in_executor(thread, self._disconnect)
            except RuntimeError:  # at the interpreter's exit, when threads take no more work
                self._disconnect()
            else:
                await closing
            finally:
                thread.shutdown(wait=True)

    def _disconnect(self) -> None:
        while self._connections:
            self._connections.pop().close()

    def _now(self, connection: apsw.Connection) -> float:
        if self._machine is not None:
            self._machine.refresh(connection)
        return self._clock()

    def _ring(self, ledger: Ledger) -> None:
        if ledger.rings_work:
            self._work_bell.ring()
        if ledger.told:
            self._feed_bell.ring()

    async def _write(self, verb: Callable[[Ledger], Answer]) -> Answer:
        if self._writer is None:
            raise StoreDown("the store is not open")
        return await self._writer(verb)

    def _read(self, question: Callable[[apsw.Connection], Answer]) -> Answer:
        if self._reader is None:
            raise StoreDown("the store is not open")
        try:
            return question(self._reader)
        except apsw.Error as error:
            raise as_faena_error(error) from error

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self._write(partial(inserting.insert, jobs=jobs, options=self._options))

    async def claim(self, ids: Sequence[str], *, worker: str, lease: float, request: str) -> list[Claim]:
        return await self._write(partial(running.claim, ids=ids, worker=worker, lease=lease, request=request))

    async def claim_next(
        self, queues: Sequence[str], *, worker: str, lease: float, limit: int, request: str
    ) -> list[Claim]:
        self._work_bell.listen()  # before looking: who rings after that is heard
        self._looked, self._looked_at = self._work_bell.count, self._clock()
        worth = partial(reading.worth_claiming, queues=queues, request=request, now=self._looked_at)
        if not self._read(worth):
            return []
        verb: Any = partial(
            running.claim_next, queues=queues, worker=worker, lease=lease, limit=limit, request=request
        )
        claims: list[Claim] = await self._write(verb)
        return claims

    async def extend(self, leases: Sequence[Lease], *, lease: float) -> list[Held]:
        return await self._write(partial(running.extend, leases=leases, lease=lease))

    async def started(self, leases: Sequence[Lease]) -> list[Held]:
        return await self._write(partial(running.started, leases=leases))

    async def report(self, reports: Sequence[Report]) -> list[Held]:
        return await self._write(partial(running.report, reports=reports))

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bool]:
        return await self._write(partial(running.finish, outcomes=outcomes, options=self._options))

    async def promote(self, *, limit: int) -> Promoted:
        return await self._write(partial(waiting.promote, limit=limit))

    async def admit(self, *, limit: int) -> Promoted:
        if not self._read(admitting.worth_admitting):
            return Promoted()
        return await self._write(partial(admitting.admit, limit=limit))

    async def rescue(self, *, limit: int) -> list[Delivery]:
        return await self._write(partial(waiting.rescue, limit=limit, options=self._options))

    async def undelivered(self, *, empty: Sequence[str], age: float, limit: int) -> list[Delivery]:
        return await self._write(partial(waiting.undelivered, empty=empty, age=age, limit=limit))

    async def prune(self, *, limit: int) -> int:
        return await self._write(partial(waiting.prune, limit=limit))

    async def cancel(self, ids: Sequence[str]) -> list[CancelResult]:
        return await self._write(partial(waiting.cancel, ids=ids, options=self._options))

    async def purge(self, queue: str, *, limit: int) -> int:
        return await self._write(partial(waiting.purge, queue=queue, limit=limit, options=self._options))

    async def change(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        delay: float | None = None,
        due_at: float | None = None,
    ) -> Changed:
        verb = partial(steering.change, job_id=job_id, priority=priority, delay=delay, due_at=due_at)
        return await self._write(verb)

    async def pause(self, *, queue: str | None = None, task: str | None = None) -> bool:
        return await self._write(partial(steering.pause, queue=queue, task=task))

    async def resume(self, *, queue: str | None = None, task: str | None = None) -> bool:
        return await self._write(partial(steering.resume, queue=queue, task=task))

    async def paused(self) -> list[Paused]:
        return self._read(pauses.paused)

    async def obstacles(self, job_id: str) -> Obstacles | None:
        return self._read(partial(obstacles.obstacles, job_id=job_id, now=self._clock()))

    async def put_schedules(self, schedules: Sequence[Schedule]) -> None:
        await self._write(partial(scheduling.put_schedules, new=schedules))

    async def schedules(self) -> list[Schedule]:
        return self._read(scheduling.schedules)

    async def tick(
        self, name: str, *, at: float, next_at: float | None, jobs: Sequence[NewJob], missed: int = 0
    ) -> list[Inserted] | None:
        verb: Any = partial(
            scheduling.tick,
            name=name,
            at=at,
            next_at=next_at,
            jobs=jobs,
            missed=missed,
            options=self._options,
        )
        inserted: list[Inserted] | None = await self._write(verb)
        return inserted

    async def steer_schedule(
        self, name: str, *, paused: bool | None = None, next_at: float | None = None
    ) -> Schedule | None:
        return await self._write(
            partial(scheduling.steer_schedule, name=name, paused=paused, next_at=next_at)
        )

    async def drop_schedules(self, names: Sequence[str]) -> int:
        return await self._write(partial(scheduling.drop_schedules, names=names))

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        return self._read(partial(reading.get, ids=ids))

    async def find(self, query: Query) -> Page:
        if self._thread is None or self._searcher is None:
            raise StoreDown("the store is not open")
        search = partial(reading.find_numbers, self._searcher, query)
        try:
            numbers = await asyncio.get_running_loop().run_in_executor(self._thread, search)
        except apsw.Error as error:
            raise as_faena_error(error) from error
        return self._read(partial(reading.page, numbers=numbers, limit=query.limit))

    async def counts(self) -> list[Count]:
        return self._read(reading.counts)

    async def story(self, job_id: str, *, after: int = 0) -> Story | None:
        return self._read(partial(reading.story, job_id=job_id, after=after))

    async def published(self, after: int | None, *, wait: float) -> Published:
        rung = self._feed_bell.count
        if after is None:
            self._feed_bell.listen()
            return Published(position=self._read(reading.last_position))
        news = self._read(partial(reading.published, after=after))
        if news.told or news.gap or wait <= 0:
            return news
        await self._feed_bell.changed(rung, wait)
        return self._read(partial(reading.published, after=after))

    async def work(self, queues: Sequence[str], *, wait: float) -> None:
        looked_at = min(self._looked_at, self._clock())
        for queue in queues:
            opens_in = self._read(partial(admitting.next_opening, now=looked_at, queue=queue))
            if opens_in is not None:
                wait = min(wait, max(0.0, looked_at + opens_in - self._clock()))
        await self._work_bell.changed(self._looked, wait)

    async def beat(self, worker: WorkerInfo, *, ttl: float) -> None:
        def verb(ledger: Ledger) -> None:
            info = encode(msgspec.structs.replace(worker, beat_at=ledger.now))
            ledger.connection.execute(
                "INSERT OR REPLACE INTO workers VALUES (?, ?, ?)", (worker.id, ledger.now + ttl, info)
            )

        await self._write(verb)

    async def leave(self, worker_id: str) -> None:
        def verb(ledger: Ledger) -> None:
            ledger.connection.execute("DELETE FROM workers WHERE id = ?", (worker_id,))

        await self._write(verb)

    async def workers(self) -> list[WorkerInfo]:
        return self._read(partial(reading.workers, now=self._clock()))

    async def check(self) -> StoreHealth:
        return self._read(partial(reading.health, path=self._path))
