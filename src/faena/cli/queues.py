"""``faena queues`` and ``faena purge``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from faena.cli.command import Command, command
from faena.cli.desk import check_names, opened
from faena.job import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faena.ports.records import Count

Counts = dict[str, dict[Status, int]]


def register(root: typer.Typer) -> None:
    """Add the commands about queues."""
    root.command("queues", rich_help_panel="Queues and workers")(command(queues))
    root.command("purge", rich_help_panel="Queues and workers")(command(purge))


def queues(cli: Command) -> None:
    """List the queues with their counts."""
    cli.run(_queues(cli))


def purge(
    cli: Command,
    queue: Annotated[str, typer.Argument(help="The queue.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Cancel every job that waits in a queue. Running jobs go on."""
    cli.run(_purge(cli, queue, ask=not yes))


def by_queue(counts: Iterable[Count], known: Iterable[str]) -> Counts:
    """Add up the counts of each queue; ``known`` queues are there even when empty."""
    table: Counts = {name: {} for name in sorted(known)}
    for count in counts:
        row = table.setdefault(count.queue, {})
        row[count.status] = row.get(count.status, 0) + count.count
    return table


async def _queues(cli: Command) -> None:
    async with opened(cli) as desk:
        counts = await desk.store.counts()
        paused = {one.queue for one in await desk.store.paused()}
    table = by_queue(counts, {task.options.queue for task in cli.app.tasks.values()} | set(cli.app.queues))
    if cli.as_json:
        cli.print_json({"queues": [_record(name, row, paused=name in paused) for name, row in table.items()]})
        return
    from rich.table import Table

    shown = Table("QUEUE", box=None, pad_edge=False, header_style="bold")
    for status in Status:
        shown.add_column(status.upper(), justify="right")
    for name, row in table.items():
        shown.add_row(
            name + (" (paused)" if name in paused else ""), *(f"{row.get(status, 0):,}" for status in Status)
        )
    cli.console.print(shown)


def _record(name: str, row: dict[Status, int], *, paused: bool) -> dict[str, str | int]:
    waiting = row.get(Status.PENDING, 0) + row.get(Status.SCHEDULED, 0)
    counts = {str(status): row.get(status, 0) for status in Status}
    return {"name": name, "count": waiting, "paused": paused, **counts}


async def _purge(cli: Command, queue: str, *, ask: bool) -> None:
    async with opened(cli) as desk:
        await check_names(cli, desk, queues=[queue])
        if ask:
            typer.confirm(f"Cancel every job that waits in {queue!r}?", abort=True, err=True)
        purged = await desk.client.purge(queue)
    if cli.as_json:
        cli.print_json({"queue": queue, "purged": purged})
    else:
        from faena.words import counted

        cli.console.print(f"{counted(purged, 'job')} of {queue} cancelled", markup=False)
