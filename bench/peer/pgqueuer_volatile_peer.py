"""PgQueuer in `volatile` tables on a PostgreSQL that waits for no disk: quick, and like the measured Redis, which
writes nothing to the disk."""

from bench.peer.pgqueuer_peer import URL, WORKERS, done, fill

__all__ = ["PREPARE", "WORKERS", "done", "fill"]

PREPARE = ["-m", "pgqueuer", "--pg-dsn", URL, "install", "--durability", "volatile"]
