"""Keys and requests that may be repeated: who holds a key, and which job answered a request.

A job that holds its key has `key_held`: until when it holds it even after its end. The index of held keys is unique, so
nothing but a job can hold one. A key whose time is over is freed when somebody asks for it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from faena.job import Idempotency, NewJob
from faena.stores.sqlite.ledger import Ledger
from faena.stores.sqlite.rows import HEAD, JOB, LARGE_ARGS, Head, Stored, one, read_stored

_HOLDER: Final = f"SELECT {JOB}, key_bound FROM jobs WHERE task = ? AND key = ? AND key_held IS NOT NULL"
_KEEP: Final = """
    UPDATE jobs SET kept_until = max(coalesce(kept_until, 0), ?1), expires_at = max(expires_at, ?1) WHERE id = ?2"""


class Answered(NamedTuple):
    """What was asked under a request's key, which job answered, and whether that was a duplicate."""

    digest: str
    job: str
    duplicate: int


def columns(new: NewJob, now: float) -> tuple[str | None, float | None, float | None, float | None]:
    """Return a new job's ``key``, ``key_held``, ``key_bound`` and ``kept_until``."""
    kept = max(new.key_kept, 0.0 if new.idempotency is None else new.idempotency.kept)
    kept_until = now + kept if kept > 0 else None
    if new.key is None:
        return None, None, None, kept_until
    bound = None if new.key_bound is None else now + new.key_bound
    held = None
    if new.key_kept > 0 or bound is None or bound > now:
        held = now + new.key_kept if new.key_kept > 0 else 0.0
    return new.key, held, bound, kept_until


def holder(ledger: Ledger, task: str, key: str) -> Stored | None:
    """Return the job that holds a key."""
    row = one(ledger.connection, _HOLDER, (task, key))
    if row is None:
        return None
    stored, bound = read_stored(row[:-1]), row[-1]
    kept = stored.key_held is not None and ledger.now < stored.key_held
    if kept or (not stored.job.status.final and (bound is None or ledger.now < bound)):
        return stored
    free(ledger, row[0])
    return None


def free(ledger: Ledger, number: int) -> None:
    """Take a job's key away."""
    ledger.connection.execute("UPDATE jobs SET key_held = NULL WHERE n = ?", (number,))


def answers_until(ledger: Ledger, job_id: str) -> float | None:
    """Return until when a job answers requests that are repeated. Looks through all answers: for rare cases."""
    until = one(ledger.connection, "SELECT max(until) FROM answers WHERE job = ?", (job_id,))
    return until[0] if until else None


def answered(ledger: Ledger, asked: Idempotency) -> Answered | None:
    """Return what answered a request, if that is still remembered."""
    select = "SELECT digest, job, duplicate FROM answers WHERE key = ? AND until > ?"
    row = one(ledger.connection, select, (asked.key, ledger.now))
    return None if row is None else Answered(*row)


def remember(ledger: Ledger, asked: Idempotency, job_id: str, *, fresh: bool) -> None:
    """Remember which job answered a request; one that is not ``fresh`` (a duplicate) is kept as long."""
    until = ledger.now + asked.kept
    ledger.connection.execute(
        "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
        (asked.key, asked.digest, job_id, until, not fresh),
    )
    if not fresh:
        ledger.connection.execute(_KEEP, (until, job_id))


def stored_job(ledger: Ledger, job_id: str) -> Stored | None:
    """Return a job with what the store knows besides."""
    row = one(ledger.connection, f"SELECT {JOB} FROM jobs WHERE id = ?", (job_id,))
    return None if row is None else read_stored(row)


def head_of(ledger: Ledger, job_id: str) -> Head:
    """Return the head of a job that is there."""
    return Head(*one(ledger.connection, f"SELECT {HEAD} FROM jobs WHERE id = ?", (job_id,)))


def put_body(ledger: Ledger, job_id: str, args: bytes) -> None:
    """Keep large arguments of a job in a row of their own."""
    ledger.connection.execute(
        "INSERT OR REPLACE INTO bodies SELECT n, ? FROM jobs WHERE id = ?", (args, job_id)
    )


def put_args(ledger: Ledger, head: Head, args: bytes) -> None:
    """Give a job other arguments."""
    large = len(args) > LARGE_ARGS
    ledger.connection.execute("UPDATE jobs SET args = ? WHERE n = ?", (None if large else args, head.n))
    ledger.connection.execute("DELETE FROM bodies WHERE job = ?", (head.n,))
    if large:
        put_body(ledger, head.id, args)
