"""What is asked of the scripts: records as the arrays that the Lua files name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from faena.errors import InvalidCursor
from faena.events import NewEvent
from faena.job import Outcome
from faena.ports.records import Query, Report
from faena.stores.redis.rows import CODES, EVENT_CODES, encode_json, pack

_CURSOR: Final = re.compile(r"[1-9][0-9]{0,11}")
"""A job's number, as pages give it out."""


def _event(event: NewEvent) -> tuple[Any, ...]:
    data = None if event.data is None else encode_json(event.data).decode()
    return EVENT_CODES[event.type], event.event, event.message, data


def reports(several: Sequence[Report]) -> list[bytes]:
    """Return report.lua's arguments."""
    checkpoints: list[bytes] = []
    told = []
    for one in several:
        if one.checkpoint is not None:
            checkpoints.append(one.checkpoint)
        place = None if one.checkpoint is None else len(checkpoints)
        events = [_event(event) for event in one.events]
        told.append((one.job_id, one.token, one.number, one.progress, one.message, events, place))
    return [pack(told), *checkpoints]


def outcomes(several: Sequence[Outcome]) -> list[bytes]:
    """Return finish.lua's arguments."""
    results: list[bytes] = []
    told = []
    for one in several:
        if one.result is not None:
            results.append(one.result)
        place = None if one.result is None else len(results)
        error = None if one.error is None else encode_json(one.error).decode()
        text = None if one.error is None else one.error.told
        told.append(
            (one.job_id, one.token, one.step, error, text, one.delay, one.message, one.ttl, place),
        )
    return [pack(told), *results]


def below(cursor: str | None) -> str:
    """Return the number to start below. Raises `InvalidCursor`."""
    if cursor is None:
        return "+inf"
    if not _CURSOR.fullmatch(cursor):
        raise InvalidCursor(cursor)
    return cursor


def question(query: Query, *, limit: int, below: str, look_at: int) -> bytes:
    """Return find.lua's query."""
    return pack(
        (
            [CODES[status] for status in query.statuses],
            query.tasks,
            query.queues,
            query.user,
            _lower(query.search) if query.search else None,
            query.origin,
            limit,
            below,
            look_at,
        )
    )


def _lower(text: str) -> str:
    """Lower the letters that Lua's ``string.lower`` does: those of ASCII."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
