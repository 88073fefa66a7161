"""The keys of a memory store, and the requests that it recognises."""

from __future__ import annotations

from collections.abc import Mapping

from faena.job import Idempotency, Job
from faena.stores.memory.row import Row


class Keyring:
    """Who has which key, and which request was answered with which job. ``rows`` are the store's own."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows
        self._newest: dict[tuple[str, str], str] = {}
        self._requests: dict[str, tuple[str, str, float]] = {}
        """By the sender's key: the digest, the id of the job that answered, and until when."""

    def holder(self, task: str, key: str, now: float) -> Row | None:
        """Return who holds a key now."""
        row = self._rows.get(self._newest.get((task, key), ""))
        return row if row is not None and row.holds_key(now) else None

    def give(self, job: Job) -> None:
        """Give a new job its key."""
        if job.key is not None:
            self._newest[job.task, job.key] = job.id

    def answered(self, request: Idempotency, now: float) -> tuple[Row, bool] | None:
        """Return what a request was answered with, and whether it was this very request."""
        digest, job_id, until = self._requests.get(request.key, ("", "", 0.0))
        row = self._rows.get(job_id)
        return (row, digest == request.digest) if row is not None and now < until else None

    def remember(self, request: Idempotency, row: Row, now: float) -> float:
        """Remember what a request was answered with; returns until when."""
        until = now + request.kept
        self._requests[request.key] = (request.digest, row.job.id, until)
        return until

    def forget(self, job: Job) -> None:
        """Forget a job that is deleted."""
        if job.key is not None and self._newest.get((job.task, job.key)) == job.id:
            del self._newest[job.task, job.key]

    def forget_requests(self, now: float) -> None:
        """Forget the requests whose time is over."""
        self._requests = {key: known for key, known in self._requests.items() if now < known[2]}
