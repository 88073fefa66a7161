"""How jobs look on a terminal. (``--json`` prints what the HTTP API answers: see `faena.api.schemas`.)"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from faena.job import Status
from faena.words import duration

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from faena.job import Job

COLOURS: Final = {
    Status.SCHEDULED: "magenta",
    Status.PENDING: "yellow",
    Status.PROCESSING: "cyan",
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "bright_black",
}
BAR: Final = 16


def bar(job: Job) -> Text:
    """Draw a job's progress."""
    from rich.text import Text

    full = round(BAR * job.progress / 100)
    drawn = Text("━" * full, style=COLOURS[job.status])
    drawn.append("━" * (BAR - full), style="grey23")
    return drawn.append(f" {job.progress:3.0f} %")


def status(job: Job) -> Text:
    """Write a job's status in its colour."""
    from rich.text import Text

    word = "cancelling" if job.cancel_requested and not job.status.final else str(job.status)
    return Text(word, style=COLOURS[job.status])


def age(moment: float | None, *, now: float | None = None) -> str:
    """Say how long ago (or in how long) a moment is: ``12 s``, ``in 3 min``."""
    if moment is None:
        return ""
    seconds = (time.time() if now is None else now) - moment
    told = duration(abs(seconds))
    return told if seconds >= 0 else f"in {told}"


def size(count: float) -> str:
    """Say a number of bytes in its largest sensible unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def jobs_table(jobs: Sequence[Job]) -> Table:
    """Lay jobs out in a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("ID", "TASK", "QUEUE", "STATUS", "PROGRESS", "TRY", "AGE"):
        table.add_column(name, no_wrap=True)
    table.add_column("MESSAGE", ratio=1)  # the column that gives way when there is no room
    for job in jobs:
        tries = f"{job.attempt}/{job.max_attempts}"
        told = _told(job)
        what = (job.id, Text(job.task), Text(job.queue), status(job), bar(job))
        table.add_row(*what, tries, age(job.created_at), Text(told, no_wrap=True, overflow="ellipsis"))
    return table


def _told(job: Job) -> str:
    """Return what went wrong, if the job has failed or waits to be tried again; else its last message."""
    if job.error is not None and job.status in (Status.FAILED, Status.SCHEDULED):
        return job.error.message or job.error.type
    return job.message or ""
