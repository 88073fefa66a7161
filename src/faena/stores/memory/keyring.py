"""The keys of a memory store, and the requests that it recognises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from faena.job import Idempotency, Job
from faena.stores.memory.row import Row


class Answered(NamedTuple):
    """What was asked under a request's key, and how it was answered."""

    digest: str
    job: str
    until: float
    duplicate: bool


class Keyring:
    """Who has which key, and which request was answered with which job. ``rows`` are the store's own."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows
        self._newest: dict[tuple[str, str], str] = {}
        self._requests: dict[str, Answered] = {}
        """By the sender's key."""

    def holder(self, task: str, key: str, now: float) -> Row | None:
        """Return who holds a key now."""
        row = self._rows.get(self._newest.get((task, key), ""))
        return row if row is not None and row.holds_key(now) else None

    def give(self, job: Job) -> None:
        """Give a new job its key."""
        if job.key is not None:
            self._newest[job.task, job.key] = job.id

    def answered(self, request: Idempotency, now: float) -> tuple[Row, Answered] | None:
        """Return what was answered to a request with this key, with the job."""
        known = self._requests.get(request.key)
        row = None if known is None else self._rows.get(known.job)
        return (row, known) if row is not None and known is not None and now < known.until else None

    def remember(self, request: Idempotency, row: Row, now: float, *, duplicate: bool) -> float:
        """Remember what a request was answered with; returns until when."""
        until = now + request.kept
        self._requests[request.key] = Answered(request.digest, row.job.id, until, duplicate)
        return until

    def forget(self, job: Job) -> None:
        """Forget a job that is deleted."""
        if job.key is not None and self._newest.get((job.task, job.key)) == job.id:
            del self._newest[job.task, job.key]

    def forget_requests(self, now: float) -> None:
        """Forget the requests whose time is over."""
        self._requests = {key: known for key, known in self._requests.items() if now < known.until}
