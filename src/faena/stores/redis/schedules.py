"""Schedules, as Redis keeps them: what their author decided is one text, and what the scripts change lies beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from faena.job import Record
from faena.schedule import Schedule
from faena.stores.redis.rows import Number, Text, encode_json, pack

KEPT: Final = (
    "name",
    "paused",
    "next_at",
    "created_at",
    "last_at",
    "last_job",
    "runs",
    "skipped",
)
"""What is no part of the definition."""


class StoredSchedule(Record, frozen=True, array_like=True):
    """A schedule, as put_schedules.lua keeps it."""

    definition: str
    paused: bool
    next_at: Number
    created_at: float
    last_at: Number
    last_job: Text
    runs: int
    skipped: int


_decode: Final = msgspec.msgpack.Decoder(StoredSchedule).decode


def definition_of(schedule: Schedule) -> str:
    """Return what its author decided, as text."""
    whole = msgspec.structs.asdict(schedule)
    return encode_json({name: value for name, value in whole.items() if name not in KEPT}).decode()


def asked_of(schedules: Sequence[Schedule]) -> bytes:
    """Return put_schedules.lua's argument."""
    return pack(
        [
            (
                schedule.name,
                definition_of(schedule),
                schedule.paused,
                False if schedule.next_at is None else schedule.next_at,
            )
            for schedule in schedules
        ]
    )


def schedule_of(name: str, packed: bytes) -> Schedule:
    """Read a schedule."""
    stored = _decode(packed)
    definition = msgspec.json.decode(stored.definition)
    definition |= {
        "name": name,
        "paused": stored.paused,
        "next_at": _number(stored.next_at),
        "created_at": stored.created_at,
        "last_at": _number(stored.last_at),
        "last_job": stored.last_job or None,
        "runs": stored.runs,
        "skipped": stored.skipped,
    }
    return msgspec.convert(definition, Schedule)


def _number(value: Number) -> float | None:
    return None if value is False else float(value)
