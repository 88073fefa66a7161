"""What is paused: few rows, read at most once a call."""

from __future__ import annotations

import apsw

from faena.job import Record
from faena.ports.records import Paused
from faena.stores.sqlite.rows import many


class Pauses(Record, frozen=True):
    """The queues and tasks whose jobs are not claimed."""

    queues: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()

    def hold(self, queue: str, task: str) -> bool:
        """Tell whether a job of that queue and task is not to be claimed."""
        return queue in self.queues or task in self.tasks


NOTHING = Pauses()


def read_pauses(connection: apsw.Connection) -> Pauses:
    """Return what is paused."""
    rows = many(connection, "SELECT kind, name FROM pauses")
    if not rows:
        return NOTHING
    return Pauses(
        queues=frozenset(name for kind, name in rows if kind == "queue"),
        tasks=frozenset(name for kind, name in rows if kind == "task"),
    )


def paused(connection: apsw.Connection) -> list[Paused]:
    """Return what is paused, longest first."""
    rows = many(connection, "SELECT kind, name, at FROM pauses ORDER BY at, kind, name")
    return [
        Paused(queue=name if kind == "queue" else None, task=name if kind == "task" else None, at=at)
        for kind, name, at in rows
    ]
