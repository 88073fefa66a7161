"""The questions: get, find, counts, story, the event log. They run on connections that only read."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from faena.errors import InvalidCursor
from faena.events import Event, Published, Told
from faena.job import Job
from faena.ports.records import Count, Page, Query, StoreHealth, Story, WorkerInfo
from faena.stores.sqlite.rows import CODES, JOB, STATUSES, many, one, read_job, split

FEED_ROWS: Final = 50
"""Rows of the event log (transactions) that one reading takes at most."""
LITTLE_SPACE: Final = 512 * 2**20
"""Free bytes on the disk below which `health` warns."""

_decode_told: Final = msgspec.json.Decoder(tuple[Told, ...]).decode
_decode_events: Final = msgspec.json.Decoder(tuple[Event, ...])


def get(connection: apsw.Connection, ids: Sequence[str]) -> list[Job | None]:
    """Return the jobs of these ids."""
    rows = (one(connection, f"SELECT {JOB} FROM jobs WHERE id = ?", (job_id,)) for job_id in ids)
    return [None if row is None else read_job(row) for row in rows]


def find_numbers(connection: apsw.Connection, query: Query) -> list[int]:
    """Return the numbers of the jobs that fit, newest first, one more than a page holds if there are more.

    Each query is a single step of SQLite, which runs without Python's lock: a long search in a thread does not
    hold up the event loop."""
    found: set[int] = set()
    for status in dict.fromkeys(query.statuses) or (None,):
        where, values = _conditions(query)
        if status is not None:
            where.append(f"status = {CODES[status]}")
        sql = f"SELECT n FROM jobs WHERE {' AND '.join(where) or 'true'} ORDER BY n DESC LIMIT {query.limit + 1:d}"
        body = one(connection, f"SELECT json_group_array(n) FROM ({sql})", tuple(values))[0]
        found.update(msgspec.json.decode(body))
    return sorted(found, reverse=True)[: query.limit + 1]


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    """Return the conditions of a query other than the status, with their values."""
    where: list[str] = []
    values: list[Any] = []

    def require(condition: str, *bound: object) -> None:
        where.append(condition)
        values.extend(bound)

    if query.cursor is not None:
        require("n < ?", _position(query.cursor))
    for column, wanted in (("task", query.tasks), ("queue", query.queues)):
        if wanted:
            require(f"{column} IN ({', '.join('?' * len(wanted))})", *wanted)
    if query.user is not None:
        require("user = ?", query.user)
    if query.origin is not None:
        require("origin = ?", query.origin)
    if query.search:
        escaped = query.search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        columns = ("id", "task", "key", "message")
        require(
            "(" + " OR ".join(f"{name} LIKE ? ESCAPE '\\'" for name in columns) + ")", *[f"%{escaped}%"] * 4
        )
    return where, values


def _position(cursor: str) -> int:
    """Return a cursor's number."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidCursor(cursor)
    return int(cursor)


def page(connection: apsw.Connection, numbers: Sequence[int], *, limit: int) -> Page:
    """Read the jobs of a page."""
    select = f"SELECT {JOB} FROM jobs WHERE n = ?"
    rows = (one(connection, select, (number,)) for number in numbers[:limit])
    jobs = tuple(read_job(row) for row in rows if row is not None)
    return Page(jobs=jobs, cursor=str(numbers[limit - 1]) if len(numbers) > limit else None)


def counts(connection: apsw.Connection) -> list[Count]:
    """Return the kept counts above zero."""
    rows = many(connection, "SELECT queue, task, status, count FROM counts WHERE count > 0")
    return [
        Count(queue=queue, task=task, status=STATUSES[status], count=count)
        for queue, task, status, count in rows
    ]


def story(connection: apsw.Connection, job_id: str, *, after: int) -> Story | None:
    """Read a job and its events after a seq, both as of one moment."""
    with connection:
        row = one(connection, f"SELECT {JOB}, events FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            return None
        runs = [row[-1]]
        head, _ = split(row[:-1])
        if after + 1 < head.kept_from:
            older = "SELECT events FROM history WHERE job = ? AND last > ? ORDER BY last"
            runs = [body for (body,) in many(connection, older, (head.n, after))] + runs
    kept = _decode_events.decode(f"[{','.join(run for run in runs if run)}]")
    events = tuple(event for event in kept if event.seq > after)
    first = events[0].seq if events else head.seq + 1
    return Story(job=read_job(row[:-1]), events=events, gap=first > after + 1)


def published(connection: apsw.Connection, after: int) -> Published:
    """Read the event log after a position."""
    select = "SELECT position, told FROM feed WHERE position > ? ORDER BY position LIMIT ?"
    rows = many(connection, select, (after, FEED_ROWS))
    if not rows:
        newest = last_position(connection)  # above `after` if all between was pruned
        return Published(position=max(after, newest), gap=newest > after)
    told = _decode_told(b"[" + b",".join(body for _, body in rows) + b"]")
    return Published(position=rows[-1][0], told=told, gap=rows[0][0] != after + 1)


def last_position(connection: apsw.Connection) -> int:
    """Return the position of the newest row that the event log ever had."""
    row = one(connection, "SELECT seq FROM sqlite_sequence WHERE name = 'feed'")
    return 0 if row is None else int(row[0])


def workers(connection: apsw.Connection, *, now: float) -> list[WorkerInfo]:
    """Return the workers whose beat has not expired."""
    rows = many(connection, "SELECT info FROM workers WHERE expires_at > ? ORDER BY id", (now,))
    return [msgspec.json.decode(body, type=WorkerInfo) for (body,) in rows]


def worth_claiming(connection: apsw.Connection, queues: Sequence[str], *, request: str, now: float) -> bool:
    """Tell whether a claim could find something: an idle worker asks often, and need not take the write lock."""
    if one(connection, "SELECT 1 FROM requests WHERE id = ?", (request,)):
        return True
    if any(one(connection, _SOME_PLAIN, (queue,)) for queue in queues):
        return True
    if one(connection, "SELECT 1 FROM lanes LIMIT 1") is None:
        return False
    return any(
        one(connection, _SOME_LANE, (queue,)) or one(connection, _SOME_OPENED, (queue, now))
        for queue in queues
    )


_SOME_PLAIN: Final = """
    SELECT 1 FROM jobs INDEXED BY jobs_pending WHERE status = 1 AND lane IS NULL AND queue = ?1
        AND NOT EXISTS (SELECT 1 FROM pauses WHERE kind = 'queue' AND name = ?1) LIMIT 1"""
_SOME_LANE: Final = """
    SELECT 1 FROM lanes WHERE queue = ?1 AND behind IS NULL AND paused = 0
        AND NOT EXISTS (SELECT 1 FROM pauses WHERE kind = 'queue' AND name = ?1) LIMIT 1"""
_SOME_OPENED: Final = """
    SELECT 1 FROM closed WHERE queue = ?1 AND opens_at <= ?2
        AND NOT EXISTS (SELECT 1 FROM pauses WHERE kind = 'queue' AND name = ?1) LIMIT 1"""


def health(connection: apsw.Connection, path: Path) -> StoreHealth:
    """Describe the file, and warn of what will hurt."""
    many(connection, "SELECT 1 FROM jobs LIMIT 1")
    refused = one(connection, "SELECT value FROM meta WHERE name = 'refused'")
    free = shutil.disk_usage(path.parent).free
    warnings = (
        [] if free >= LITTLE_SPACE else [f"only {free // 2**20} MiB are left on the disk of {path.parent}"]
    )
    return StoreHealth(
        name="sqlite",
        version=apsw.sqlite_lib_version(),
        location=str(path),
        warnings=tuple(warnings),
        details={
            "journal_mode": one(connection, "PRAGMA journal_mode")[0],
            "synchronous": ("off", "normal", "full", "extra")[one(connection, "PRAGMA synchronous")[0]],
            "bytes": path.stat().st_size,
            "free_bytes": free,
            "stale_writes_refused": 0 if refused is None else int(refused[0]),
        },
    )
