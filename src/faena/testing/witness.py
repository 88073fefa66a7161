"""The app that the suite's workers run, and the file where its tasks write down what they do.

The file is outside every store, so it tells what really ran: each line is one `Sight`, written in one step. A job that
is begun again takes no time: what is waited for is that it is run again, not how long.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import msgspec

from faena import Context, Faena
from faena.job import Record

VARIABLE = "WITNESS_FILE"
"""The environment variable that names the file."""

APP = "faena.testing.witness:app"


class Sight(Record, frozen=True):
    """One thing that a task did."""

    what: str
    """``begin``, ``end`` or ``write`` (an accepted report)."""
    name: str
    attempt: int
    pid: int


class Witness:
    """Reads the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sights(self, name: str, what: str = "begin") -> list[Sight]:
        """Return what was seen of one job, in order."""
        return [sight for sight in self.everything() if sight.name == name and sight.what == what]

    def everything(self) -> list[Sight]:
        """Return all that was seen, in order."""
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        return [msgspec.json.decode(line, type=Sight) for line in lines]


app = Faena(name="witness")


@app.task(max_retries=3, min_backoff=0.05, max_backoff=0.1)
async def note(ctx: Context, name: str, seconds: float = 0.0) -> int:
    """Take ``seconds`` on the loop; return the number of the attempt."""
    await asyncio.sleep(_begin(name, ctx, seconds))
    _write("end", name, ctx)
    return ctx.attempt


@app.task(max_retries=3, min_backoff=0.05, max_backoff=0.1)
def plain(ctx: Context, name: str, seconds: float = 0.0) -> int:
    """Take ``seconds`` in a thread, reporting all the while; return the number of the attempt."""
    end = time.monotonic() + _begin(name, ctx, seconds)
    while time.monotonic() < end:
        time.sleep(0.02)
        ctx.check()
    _write("end", name, ctx)
    return ctx.attempt


@app.task(isolation="process", max_retries=3, min_backoff=0.05, max_backoff=0.1)
def isolated(ctx: Context, name: str, seconds: float = 0.0) -> int:
    """Take ``seconds`` in a child process; return the number of the attempt."""
    time.sleep(_begin(name, ctx, seconds))
    _write("end", name, ctx)
    return ctx.attempt


@app.task(max_retries=2, min_backoff=0.05, max_backoff=0.1)
async def fail(ctx: Context, name: str) -> None:
    """Fail every time."""
    _write("begin", name, ctx)
    raise RuntimeError("boom")


def _begin(name: str, ctx: Context, seconds: float) -> float:
    """Write that a job is begun; return the seconds that it is to take, 0 if it was begun before."""
    again = seconds > 0 and Witness(Path(os.environ[VARIABLE])).sights(name)
    _write("begin", name, ctx)
    return 0.0 if again else seconds


def _write(what: str, name: str, ctx: Context) -> None:
    line = msgspec.json.encode(Sight(what=what, name=name, attempt=ctx.attempt, pid=os.getpid()))
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line + b"\n")
    finally:
        os.close(file)
