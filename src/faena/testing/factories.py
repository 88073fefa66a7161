"""New jobs for tests, with defaults that a test overrides where it matters."""

from __future__ import annotations

import uuid
from typing import Any

from faena.job import Gate, NewJob, Window
from faena.ports.records import WorkerInfo
from faena.schedule import Schedule


class JobFactory:
    """Makes `NewJob`s whose ids are UUIDv7 and grow in the order they are made."""

    def __init__(self, *, milliseconds: int = 1_800_000_000_000) -> None:
        self._milliseconds = milliseconds
        self._made = 0

    def id(self) -> str:
        """Return the next id."""
        self._made += 1
        version, variant = 0x7 << 76, 0x2 << 62
        return str(uuid.UUID(int=(self._milliseconds << 80) | version | variant | self._made))

    def new(self, **options: Any) -> NewJob:
        """Return a new job of task ``add``, with an id of its own."""
        return NewJob(**{"id": self.id(), "task": "add", "args": b'{"a":1}', **options})

    def several(self, count: int, **options: Any) -> list[NewJob]:
        """Return ``count`` new jobs with the same options."""
        return [self.new(**options) for _ in range(count)]


def a_worker(**fields: Any) -> WorkerInfo:
    """Return a worker's description of itself."""
    defaults: dict[str, Any] = {
        "id": "worker-1",
        "host": "host",
        "pid": 1,
        "engine": "direct",
        "queues": ("high", "default"),
        "slots": 8,
        "version": "0",
        "started_at": 1_800_000_000.0,
    }
    return WorkerInfo(**defaults | fields)


def rate(*windows: tuple[int, float], name: str = "rate") -> Gate:
    """Return a gate that lets so many start within so many seconds: ``rate((10, 60))``."""
    return Gate(name=name, windows=tuple(Window(count=count, period=period) for count, period in windows))


def at_once(count: int, name: str = "at-once") -> Gate:
    """Return a gate behind which so many may run at once."""
    return Gate(name=name, at_once=count)


def a_schedule(**fields: Any) -> Schedule:
    """Return a schedule that is due at 1,800,000,060."""
    defaults: dict[str, Any] = {"name": "nightly", "task": "add", "every": 60.0, "next_at": 1_800_000_060.0}
    return Schedule(**defaults | fields)
