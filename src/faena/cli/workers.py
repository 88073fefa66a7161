"""``faena workers``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import typer

from faena.cli.command import Command, command
from faena.cli.desk import opened
from faena.insights import at_work

SHOWN_JOBS: Final = 3


def register(root: typer.Typer) -> None:
    """Add the command about workers."""
    root.command("workers", rich_help_panel="Queues and workers")(command(workers))


def workers(cli: Command) -> None:
    """List the workers that were heard of lately."""
    cli.run(_workers(cli))


async def _workers(cli: Command) -> None:
    async with opened(cli) as desk:
        found = at_work(await desk.store.workers())
    if cli.as_json:
        from faena.api.schemas import worker_answer

        cli.print_json({"workers": [worker_answer(worker).model_dump(mode="json") for worker in found]})
        return
    if not found:
        cli.console.print("No worker was heard of lately: start one with `faena worker` or `faena up`.")
        return
    from rich.table import Table

    from faena.cli.look import age, size

    names = ("WORKER", "HOST", "PID", "VERSION", "ENGINE", "QUEUES", "BUSY", "JOBS", "MEMORY", "UP", "HEARD")
    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for worker in found:
        table.add_row(
            worker.id,
            worker.host,
            str(worker.pid),
            worker.version,
            worker.engine,
            ", ".join(worker.queues),
            f"{len(worker.running)}/{worker.slots}",
            running_jobs(worker.running),
            size(worker.memory),
            age(worker.started_at),
            f"{age(worker.beat_at)} ago",
        )
    cli.console.print(table)


def running_jobs(ids: Sequence[str]) -> str:
    """Name the first few jobs."""
    more = len(ids) - SHOWN_JOBS
    return "\n".join([*ids[:SHOWN_JOBS], *([f"and {more:,} more"] if more > 0 else [])])
