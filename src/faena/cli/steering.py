"""``faena why``, ``change``, ``pause``, ``resume``, ``paused``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from faena.cli.command import Command, command
from faena.cli.desk import check_names, opened
from faena.errors import InvalidOptions

if TYPE_CHECKING:
    from faena.insights import Why

JobId = Annotated[str, typer.Argument(metavar="JOB_ID", help="What `faena jobs` shows.")]
QueueName = Annotated[str | None, typer.Argument(metavar="[QUEUE]", help="The queue.")]
TaskName = Annotated[str | None, typer.Option("--task", "-t", help="A task, instead of a queue.")]


def register(root: typer.Typer) -> None:
    """Add the commands that steer."""
    for name, function, panel in (
        ("why", why, "Jobs"),
        ("change", change, "Jobs"),
        ("pause", pause, "Queues and workers"),
        ("resume", resume, "Queues and workers"),
        ("paused", paused, "Queues and workers"),
    ):
        root.command(name, rich_help_panel=panel)(command(function))


def why(cli: Command, job_id: JobId) -> None:
    """Say why a job is not running."""
    cli.run(_why(cli, job_id))


def change(
    cli: Command,
    job_id: JobId,
    priority: Annotated[int | None, typer.Option(min=-1000, max=1000, help="Higher goes first.")] = None,
    delay: Annotated[float | None, typer.Option(min=0, help="Seconds from now until it is due.")] = None,
    at: Annotated[
        str | None, typer.Option(help="When it is due, such as 2026-01-31T09:00 (here) or …T09:00+01:00.")
    ] = None,
) -> None:
    """Give a waiting job another priority or another time."""
    if priority is None and delay is None and at is None:
        raise InvalidOptions("say what to change: --priority, --delay or --at")
    if delay is not None and at is not None:
        raise InvalidOptions("--delay and --at exclude each other")
    cli.run(_change(cli, job_id, priority, delay, moment(at)))


def pause(cli: Command, queue: QueueName = None, task: TaskName = None) -> None:
    """Take no more jobs of a queue, or of a task. Running jobs go on."""
    _check_one(queue, task)
    cli.run(_steer(cli, queue, task, paused=True))


def resume(cli: Command, queue: QueueName = None, task: TaskName = None) -> None:
    """Take jobs of a queue, or of a task, again."""
    _check_one(queue, task)
    cli.run(_steer(cli, queue, task, paused=False))


def paused(cli: Command) -> None:
    """List what is paused, longest first."""
    cli.run(_paused(cli))


def moment(text: str | None) -> datetime | None:
    """Return the time that a flag names; one without a zone is meant here. Raises `InvalidOptions`."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise InvalidOptions(f"{text!r} is no time: write 2026-01-31T09:00, with +01:00 for a zone") from None


def _check_one(queue: str | None, task: str | None) -> None:
    if (queue is None) == (task is None):
        raise InvalidOptions("name a queue, or a task with --task: one of them")


async def _why(cli: Command, job_id: str) -> None:
    async with opened(cli) as desk:
        found = await desk.client.why(job_id)
    if cli.as_json:
        from faena.api.steering import why_answer

        cli.print_json(why_answer(found).model_dump(mode="json"))
        return
    _print_why(cli, found)


def _print_why(cli: Command, found: Why) -> None:
    from rich.text import Text

    from faena.cli.look import COLOURS

    cli.console.print(
        Text.assemble((str(found.status), COLOURS[found.status]), "  ", found.text), soft_wrap=True
    )


async def _change(
    cli: Command, job_id: str, priority: int | None, delay: float | None, at: datetime | None
) -> None:
    async with opened(cli) as desk:
        job = await desk.client.change(job_id, priority=priority, delay=delay, at=at)
    if cli.as_json:
        from faena.api.schemas import answer

        cli.print_json(answer(job).model_dump(mode="json"))
        return
    from faena.words import when

    due = f", due {when(job.due_at)}" if job.status == "scheduled" else ""
    cli.console.print(f"{job.id}  is {job.status} with priority {job.priority}{due}", markup=False)


async def _steer(cli: Command, queue: str | None, task: str | None, *, paused: bool) -> None:
    what, name = ("queue", queue) if queue is not None else ("task", task)
    async with opened(cli) as desk:
        await check_names(cli, desk, queues=[queue] if queue else [], tasks=[task] if task else [])
        turn = desk.client.pause if paused else desk.client.resume
        changed = await turn(queue=queue, task=task)
    if cli.as_json:
        cli.print_json({"queue": queue, "task": task, "paused": paused, "changed": changed})
        return
    so = ("paused" if changed else "was paused already") if paused else _resumed(changed)
    cli.console.print(f"the {what} {name} {'is ' if changed else ''}{so}", markup=False)


def _resumed(changed: bool) -> str:
    return "resumed" if changed else "was not paused"


async def _paused(cli: Command) -> None:
    from faena.api.steering import paused_list

    async with opened(cli) as desk:
        found = await desk.client.paused()
        told = paused_list(found, await desk.store.counts())
    if cli.as_json:
        cli.print_json(told.model_dump(mode="json"))
        return
    if not found:
        cli.console.print("Nothing is paused.")
    from faena.words import when

    for one, answer in zip(found, told.paused, strict=True):
        what, name = ("queue", one.queue) if one.queue is not None else ("task", one.task)
        cli.console.print(f"{what} {name}  since {when(one.at)}, {answer.waiting} waiting", markup=False)
