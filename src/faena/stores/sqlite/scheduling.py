"""Schedules: one row each, as the record that it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw
import msgspec

from faena.job import NewJob
from faena.ports.records import Inserted
from faena.ports.store import StoreOptions
from faena.schedule import Schedule
from faena.stores.sqlite.inserting import insert
from faena.stores.sqlite.ledger import Ledger
from faena.stores.sqlite.rows import encode, many, one

_decode: Final = msgspec.json.Decoder(Schedule).decode


def schedules(connection: apsw.Connection) -> list[Schedule]:
    """Return all schedules by name."""
    return [_decode(body) for (body,) in many(connection, "SELECT body FROM schedules ORDER BY name")]


def put_schedules(ledger: Ledger, new: Sequence[Schedule]) -> None:
    """Keep schedules: what they counted stays."""
    for schedule in new:
        old = _read(ledger, schedule.name)
        if old is None:
            _write(ledger, msgspec.structs.replace(schedule, created_at=ledger.now))
        elif old.definition != schedule.definition:
            kept = ("paused", "created_at", "last_at", "last_job", "runs", "skipped")
            stays = {name: getattr(old, name) for name in kept}
            _write(ledger, msgspec.structs.replace(schedule, **stays))


def tick(
    ledger: Ledger,
    name: str,
    *,
    at: float,
    next_at: float | None,
    jobs: Sequence[NewJob],
    missed: int,
    options: StoreOptions,
) -> list[Inserted] | None:
    """Take a tick, with its jobs, if nobody did."""
    schedule = _read(ledger, name)
    if schedule is None or schedule.paused or schedule.next_at != at:
        return None
    inserted = insert(ledger, jobs, options=options)
    created = [one.job.id for one in inserted if not (one.duplicate or one.conflict or one.replayed)]
    _write(
        ledger,
        msgspec.structs.replace(
            schedule,
            next_at=next_at,
            last_at=at,
            last_job=created[-1] if created else schedule.last_job,
            runs=schedule.runs + len(created),
            skipped=schedule.skipped + len(inserted) - len(created) + missed,
        ),
    )
    return inserted


def steer_schedule(
    ledger: Ledger, name: str, *, paused: bool | None, next_at: float | None
) -> Schedule | None:
    """Pause or resume a schedule, set when it goes next."""
    schedule = _read(ledger, name)
    if schedule is None:
        return None
    if paused is not None:
        schedule = msgspec.structs.replace(schedule, paused=paused)
    if next_at is not None:
        schedule = msgspec.structs.replace(schedule, next_at=next_at)
    _write(ledger, schedule)
    return schedule


def drop_schedules(ledger: Ledger, names: Sequence[str]) -> int:
    """Forget schedules; returns how many there were."""
    dropped = 0
    for name in names:
        ledger.connection.execute("DELETE FROM schedules WHERE name = ?", (name,))
        dropped += ledger.connection.changes()
    return dropped


def _read(ledger: Ledger, name: str) -> Schedule | None:
    row = one(ledger.connection, "SELECT body FROM schedules WHERE name = ?", (name,))
    return None if row is None else _decode(row[0])


def _write(ledger: Ledger, schedule: Schedule) -> None:
    ledger.connection.execute(
        "INSERT OR REPLACE INTO schedules VALUES (?, ?)", (schedule.name, encode(schedule))
    )
