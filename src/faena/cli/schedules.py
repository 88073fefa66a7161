"""``faena schedules``: list, add, remove, pause, resume, run, next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faena.cli.command import Command, command
from faena.cli.desk import Desk, opened
from faena.cli.jobs import parse_arguments
from faena.cli.steering import moment
from faena.schedule import CatchUp, Overlap

if TYPE_CHECKING:
    from faena.schedule import Schedule

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule.")]


def register(root: typer.Typer) -> None:
    """Add the group of commands about schedules."""
    group = typer.Typer(
        help="Jobs that are made at their time. Alone: list them.", invoke_without_command=True
    )
    group.callback()(_group(command(listed)))
    for name, function in (
        ("list", listed),
        ("add", add),
        ("remove", remove),
        ("pause", pause),
        ("resume", resume),
        ("run", run),
        ("next", next_),
    ):
        group.command(name)(command(function))
    root.add_typer(group, name="schedules", rich_help_panel="Schedules")


def _group(show: Callable[..., None]) -> Callable[..., None]:
    """Return what runs when no command of the group is named: the list."""
    import functools
    import inspect

    @functools.wraps(show)
    def alone(context: typer.Context, **given: Any) -> None:
        if context.invoked_subcommand is None:
            show(**given)

    plain = inspect.signature(show)
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    alone.__signature__ = inspect.Signature([context, *plain.parameters.values()])  # type: ignore[attr-defined]
    alone.__annotations__ = {"context": typer.Context, **show.__annotations__}
    del alone.__wrapped__
    return alone


def listed(cli: Command) -> None:
    """List the schedules, each with its next tick."""
    cli.run(_list(cli))


def add(
    cli: Command,
    name: Name,
    task: Annotated[str, typer.Argument(help="A registered task.")],
    args: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE...", help="Its arguments; a value is JSON, or else text."),
    ] = None,
    json_args: Annotated[str | None, typer.Option("--args", help="All arguments as a JSON object.")] = None,
    cron: Annotated[str | None, typer.Option(help='When, such as "0 3 * * *".')] = None,
    every: Annotated[float | None, typer.Option(help="Seconds between two ticks.")] = None,
    start: Annotated[str | None, typer.Option(help="Where the ticks of --every are counted from.")] = None,
    timezone: Annotated[str, typer.Option(help="In which --cron is meant.")] = "UTC",
    catch_up: Annotated[CatchUp, typer.Option(help="For ticks missed while no worker ran.")] = CatchUp.ONE,
    overlap: Annotated[
        Overlap, typer.Option(help="While the job of an earlier tick still lives.")
    ] = Overlap.SKIP,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Instead of the task's own.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first.")] = None,
) -> None:
    """Make a schedule, or give the one of that name another definition."""
    given: dict[str, Any] = {
        "args": parse_arguments(args or [], json_args),
        "cron": cron,
        "every": every,
        "start": moment(start),
        "timezone": timezone,
        "catch_up": catch_up,
        "overlap": overlap,
        "queue": queue,
        "priority": priority,
    }
    cli.run(_tell(cli, lambda desk: desk.client.put_schedule(name, task, **given)))


def remove(
    cli: Command,
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Also if it is declared in code (that is in use no more).")
    ] = False,
) -> None:
    """Forget a schedule; its jobs stay. One that is declared in code can be paused instead."""
    cli.run(_remove(cli, name, force=force))


def pause(cli: Command, name: Name) -> None:
    """Let a schedule's ticks pass without a job."""
    cli.run(_tell(cli, lambda desk: desk.client.pause_schedule(name)))


def resume(cli: Command, name: Name) -> None:
    """Go on at the next tick; those that passed meanwhile are not made up for."""
    cli.run(_tell(cli, lambda desk: desk.client.resume_schedule(name)))


def run(cli: Command, name: Name) -> None:
    """Make a schedule's job now, besides its ticks."""
    cli.run(_run(cli, name))


def next_(
    cli: Command,
    name: Name,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many.")] = 5,
) -> None:
    """Tell when a schedule goes next."""
    cli.run(_next(cli, name, count))


async def _list(cli: Command) -> None:
    async with opened(cli) as desk:
        found = await desk.client.schedules()
    if cli.as_json:
        from faena.api.scheduling import schedule_list

        cli.print_json(schedule_list(found).model_dump(mode="json"))
        return
    if not found:
        cli.console.print(
            "No schedules: add one with `faena schedules add`, or with app.schedule() in your code."
        )
        return
    from rich.table import Table
    from rich.text import Text

    from faena.cli.look import age

    names = ("NAME", "TASK", "WHEN", "NEXT", "LAST", "RUNS", "SKIPPED", "FROM")
    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for one in found:
        cells = (
            one.name,
            one.task,
            rhythm(one),
            _next_tick(one),
            f"{age(one.last_at)} ago" if one.last_at else "",
        )
        table.add_row(*map(Text, cells), f"{one.runs:,}", f"{one.skipped:,}", Text(one.source))
    cli.console.print(table)


def rhythm(schedule: Schedule) -> str:
    """Say when a schedule goes: ``0 3 * * * Europe/Madrid``, ``every 300 s``."""
    return f"every {schedule.every:g} s" if schedule.every else f"{schedule.cron} {schedule.timezone}"


def _next_tick(schedule: Schedule) -> str:
    from faena.words import when

    if schedule.paused:
        return "paused"
    return "never" if schedule.next_at is None else when(schedule.next_at)


async def _tell(cli: Command, steer: Callable[[Desk], Any]) -> None:
    async with opened(cli) as desk:
        schedule: Schedule = await steer(desk)
    if cli.as_json:
        from faena.api.scheduling import schedule_answer

        cli.print_json(schedule_answer(schedule).model_dump(mode="json"))
        return
    told = f"{schedule.name}  {schedule.task}  {rhythm(schedule)}  next: {_next_tick(schedule)}"
    cli.console.print(told, markup=False)


async def _remove(cli: Command, name: str, *, force: bool) -> None:
    async with opened(cli) as desk:
        await desk.client.drop_schedule(name, force=force)
    if cli.as_json:
        cli.print_json({"name": name, "dropped": True})
    else:
        cli.console.print(f"{name}  removed", markup=False)


async def _run(cli: Command, name: str) -> None:
    async with opened(cli) as desk:
        inserted = await desk.client.run_schedule(name)
    if cli.as_json:
        from faena.api.schemas import enqueued

        cli.print_json(enqueued(inserted.job, duplicate=inserted.duplicate).model_dump(mode="json"))
        return
    cli.console.print(inserted.job.id + (" (it was there already)" if inserted.duplicate else ""))


async def _next(cli: Command, name: str, count: int) -> None:
    async with opened(cli) as desk:
        times = await desk.client.next_ticks(name, count)
        zone = (await desk.client.schedule(name)).timezone
    if cli.as_json:
        from faena.api.scheduling import ticks

        cli.print_json(ticks(name, times).model_dump(mode="json"))
        return
    from datetime import datetime
    from zoneinfo import ZoneInfo

    for at in times:
        cli.console.print(datetime.fromtimestamp(at, ZoneInfo(zone)).isoformat(" ", "seconds"), markup=False)
