"""Start workers, fill a store, read what happened: the parts that every measurement needs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import apsw

from faena import Faena
from faena.settings import Settings

ROOT = Path(__file__).parent.parent
PATIENCE = 600.0
"""Seconds after which a measurement gives up."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A data directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="faena-bench-") as folder:
        yield Path(folder)


def settings(folder: Path, *, engine: str, redis: str | None = None) -> Settings:
    """An engine with the embedded store in ``folder``, or with the store in a Redis."""
    if redis is None:
        return Settings.load(data_dir=folder, store="sqlite", engine=engine)
    return Settings.load(data_dir=folder, store="redis", engine=engine, redis_url=redis)


def app_in(folder: Path, *, engine: str, redis: str | None = None, module: str = "bench.tasks") -> Faena:
    """The measured tasks of a module, bound to a store in ``folder`` or in a Redis."""
    app: Faena = import_module(module).app
    bound = Faena("bench", settings(folder, engine=engine, redis=redis))
    bound._tasks = {name: task.bound_to(bound) for name, task in app.tasks.items()}
    return bound


def environment(redis: str | None = None) -> dict[str, str]:
    """The environment of a worker: nothing of the caller's Faena settings."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("FAENA_", "REDIS_URL"))
    }
    return clean | {"PYTHONPATH": str(ROOT)} | ({} if redis is None else {"REDIS_URL": redis})


def worker_command(
    folder: Path,
    *,
    engine: str,
    threads: int,
    processes: int = 1,
    store: str = "sqlite",
    module: str = "bench.tasks",
) -> list[str]:
    """The command that starts a worker as a user would."""
    options = ["--app", f"{module}:app", "--data-dir", str(folder), "--store", store, "--engine", engine]
    counts = ["--threads", str(threads), "--processes", str(processes)]
    return [sys.executable, "-m", "faena", "worker", *options, *counts]


@contextlib.contextmanager
def worker(
    folder: Path, *, engine: str, threads: int, processes: int = 1, redis: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker for as long as the block lasts."""
    store = "sqlite" if redis is None else "redis"
    command = worker_command(folder, engine=engine, threads=threads, processes=processes, store=store)
    with open(folder / "worker.log", "ab") as log:
        process = subprocess.Popen(command, env=environment(redis), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[apsw.Connection]:
    """A connection that looks at the store's file from outside."""
    connection = apsw.Connection(str(folder / "faena.db"), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(10_000)
    try:
        yield connection
    finally:
        connection.close()


def counted(connection: apsw.Connection, status: int) -> int:
    """How many jobs have a status (its number in the store)."""
    row = connection.execute(
        "SELECT coalesce(sum(count), 0) FROM counts WHERE status = ?", (status,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def wait_until(done: Callable[[], bool], *, every: float = 0.02) -> None:
    """Look until something is so."""
    give_up = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > give_up:
            raise TimeoutError("the measurement did not come to its end")
        time.sleep(every)
