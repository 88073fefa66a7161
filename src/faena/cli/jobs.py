"""``faena jobs``, ``show``, ``enqueue``, ``cancel``, ``retry``."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from faena.cli.command import Command, command
from faena.cli.desk import Desk, check_names, opened
from faena.errors import InvalidOptions, JobCancelled, JobFailed
from faena.job import OnConflict, Status

if TYPE_CHECKING:
    from rich.console import RenderableType

    from faena.job import Job
    from faena.ports.records import Page, Query, Story

REFRESH = 0.5
"""Seconds between two looks of ``--watch``."""

JobIds = Annotated[list[str], typer.Argument(metavar="JOB_ID...", help="What `faena jobs` shows.")]


def register(root: typer.Typer) -> None:
    """Add the commands about jobs."""
    for name, function in (
        ("jobs", jobs),
        ("show", show),
        ("enqueue", enqueue),
        ("cancel", cancel),
        ("retry", retry),
    ):
        root.command(name, rich_help_panel="Jobs")(command(function))


def jobs(
    cli: Command,
    status: Annotated[
        list[Status] | None, typer.Option("--status", "-s", help="Of this status (may be repeated).")
    ] = None,
    task: Annotated[list[str] | None, typer.Option("--task", "-t", help="Of this task.")] = None,
    queue: Annotated[list[str] | None, typer.Option("--queue", "-q", help="Of this queue.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Of this user.")] = None,
    search: Annotated[str | None, typer.Argument(help="A part of the id, task, key or message.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="The next page, as --json told it.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow them until Ctrl-C.")] = False,
) -> None:
    """List jobs, newest first."""
    from faena.ports.records import Query

    query = Query(
        statuses=tuple(status or ()),
        tasks=tuple(task or ()),
        queues=tuple(queue or ()),
        user=user,
        search=search,
        limit=limit,
        cursor=cursor,
    )
    cli.run(_watch(cli, query) if watch else _list(cli, query))


def show(
    cli: Command,
    job_id: Annotated[str, typer.Argument(help="What `faena jobs` shows.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait until it has ended.")] = False,
) -> None:
    """Show one job with its events."""
    cli.run(_show(cli, job_id, follow=follow))


def enqueue(
    cli: Command,
    task: Annotated[str, typer.Argument(help="A registered task.")],
    args: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE...", help="Its arguments; a value is JSON, or else text."),
    ] = None,
    json_args: Annotated[str | None, typer.Option("--args", help="All arguments as a JSON object.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Instead of the task's own.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first.")] = None,
    delay: Annotated[float | None, typer.Option(min=0, help="Seconds until it is due.")] = None,
    key: Annotated[str | None, typer.Option(help="Unique among the task's live jobs.")] = None,
    keep_key: Annotated[
        str | None,
        typer.Option(help="Seconds for which the key is held even if it ends sooner, or forever."),
    ] = None,
    on_conflict: Annotated[
        OnConflict | None, typer.Option(help="What becomes of it when another job holds the key.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result and print it.")] = False,
) -> None:
    """Make a job of a registered task."""
    from faena.client import JobRequest

    given = parse_arguments(args or [], json_args)
    request = JobRequest(
        task=task,
        args=given,
        queue=queue,
        priority=priority,
        delay=delay,
        key=key,
        keep_key=None if keep_key is None else _keep(keep_key),
        on_conflict=on_conflict,
    )
    cli.run(_enqueue(cli, request, wait=wait))


def cancel(cli: Command, job_ids: JobIds) -> None:
    """Cancel waiting jobs at once; ask running ones to stop."""
    cli.run(_cancel(cli, job_ids))


def retry(
    cli: Command,
    job_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB_ID...]", help="What `faena jobs` shows.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Those that failed, each at most once; say which, or --all.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="All that failed.")] = False,
    task: Annotated[list[str] | None, typer.Option("--task", "-t", help="Failed ones of this task.")] = None,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", "-q", help="Failed ones of this queue.")
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Failed ones with this in id, task, key or message.")
    ] = None,
    canary: Annotated[
        int | None, typer.Option("--canary", min=1, help="Only so many of the failed, to try it.")
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option("--after", help="Only if this job of the canary completed.")
    ] = None,
) -> None:
    """Run ended jobs once more, each as a new job: those named, or with --failed those that failed."""
    filtered = bool(task or queue or search)
    if failed == bool(job_ids) or (not failed and (filtered or everything or after or canary is not None)):
        raise InvalidOptions(
            "name jobs, or say --failed with --task, --queue, --search or --all (and --canary, --after)"
        )
    if failed and filtered == everything:
        raise InvalidOptions("say which failed jobs: with --task, --queue or --search, or --all of them")
    if job_ids:
        cli.run(_retry(cli, job_ids))
        return
    from faena.ports.records import Query

    query = Query(
        statuses=(Status.FAILED,), tasks=tuple(task or ()), queues=tuple(queue or ()), search=search
    )
    cli.run(_retry_failed(cli, query, canary, after or []))


def parse_arguments(pairs: list[str], whole: str | None) -> dict[str, Any]:
    """Return a task's arguments from ``name=value`` pairs and a JSON object; raises `InvalidOptions`."""
    given: Any = {}
    if whole is not None:
        try:
            given = json.loads(whole)
        except ValueError as error:
            raise InvalidOptions(f"--args is no JSON: {error}") from None
        if not isinstance(given, dict):
            raise InvalidOptions('--args must be a JSON object such as {"seconds": 3}')
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InvalidOptions(f"{pair!r} is no argument: write name=value")
        given[name] = _value(value)
    return dict(given)


def _keep(text: str) -> float | Literal["forever"]:
    if text == "forever":
        return "forever"
    try:
        return float(text)
    except ValueError:
        raise InvalidOptions(f"--keep-key must be seconds, or forever, not {text!r}") from None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


async def _list(cli: Command, query: Query) -> None:
    async with opened(cli) as desk:
        await check_names(cli, desk, queues=query.queues, tasks=query.tasks)
        page = await desk.store.find(query)
    if cli.as_json:
        from faena.api.schemas import JobList, summaries

        cli.print_json(JobList(jobs=summaries(page.jobs), cursor=page.cursor).model_dump(mode="json"))
        return
    cli.console.print(_page(page))


async def _watch(cli: Command, query: Query) -> None:
    from rich.live import Live

    async with opened(cli) as desk:
        await check_names(cli, desk, queues=query.queues, tasks=query.tasks)
        with Live(console=cli.console, auto_refresh=False, screen=False) as screen:
            while True:
                screen.update(_page(await desk.store.find(query)), refresh=True)
                await asyncio.sleep(REFRESH)


def _page(page: Page) -> RenderableType:
    from faena.cli.look import jobs_table

    if not page.jobs:
        return "No jobs."
    table = jobs_table(page.jobs)
    if page.cursor is not None:
        table.caption = "There are more: --limit, or a filter (faena jobs --help)"
        table.caption_justify = "left"
    return table


async def _show(cli: Command, job_id: str, *, follow: bool) -> None:
    from faena.errors import NotFound

    async with opened(cli) as desk:
        if follow:
            await desk.client.wait(job_id)
        story = await desk.store.story(job_id)
    if story is None:
        raise NotFound(job_id)
    if cli.as_json:
        from faena.api.schemas import answer, event_of

        events = [event_of(job_id, event).model_dump(mode="json") for event in story.events]
        cli.print_json(answer(story.job).model_dump(mode="json") | {"events": events, "gap": story.gap})
        return
    _print_story(cli, story)


def _print_story(cli: Command, story: Story) -> None:
    from datetime import datetime

    from rich.table import Table

    job, console = story.job, cli.console
    grid = Table.grid(padding=(0, 2))
    for name, value in _facts(job):
        grid.add_row(f"[bold]{name}[/bold]", value)
    console.print(grid)
    if job.error is not None and job.error.traceback:
        console.print(job.error.traceback.rstrip(), style="bright_black", markup=False)
    console.print("\n[bold]Events[/bold]" + (" (earlier ones are no longer kept)" if story.gap else ""))
    for event in story.events:
        at = datetime.fromtimestamp(event.at).astimezone().strftime("%H:%M:%S.%f")[:-3]
        told = " ".join(
            str(part) for part in (event.event, event.message, event.data) if part not in (None, "", {})
        )
        what = f"{event.type:<9}{event.status:<11}{event.progress:5.0f} %  {told}"
        console.print(f"{event.seq:>4}  {at}  {what}", markup=False)


def _facts(job: Job) -> list[tuple[str, RenderableType]]:
    from rich.text import Text

    from faena.cli import look
    from faena.words import duration

    waited = None if job.started_at is None else job.started_at - job.created_at
    ran = None if job.started_at is None or job.finished_at is None else job.finished_at - job.started_at
    facts: list[tuple[str, RenderableType | None]] = [
        ("job", job.id),
        ("task", Text(f"{job.task} on queue {job.queue}")),
        ("status", look.status(job)),
        ("progress", look.bar(job)),
        ("message", Text(job.message) if job.message else None),
        (
            "attempt",
            f"{job.attempt} of {job.max_attempts}" + (f", {job.crashes} crashes" if job.crashes else ""),
        ),
        ("created", f"{look.age(job.created_at)} ago"),
        ("due", look.age(job.due_at) if job.status is Status.SCHEDULED else None),
        ("waited", duration(waited) if waited is not None else None),
        ("ran", duration(ran) if ran is not None else None),
        ("worker", job.worker),
        ("key", Text(job.key) if job.key else None),
        ("again", f"of {job.origin}" if job.origin else None),
        ("arguments", Text(job.args.decode())),
        ("result", Text(job.result.decode()) if job.result is not None else None),
        ("error", Text(job.error.told, style="red") if job.error else None),
    ]
    return [(name, value) for name, value in facts if value is not None]


async def _enqueue(cli: Command, request: Any, *, wait: bool) -> None:
    from faena.api.schemas import enqueued

    async with opened(cli) as desk:
        inserted = await desk.client.enqueue(request)
        job = await desk.client.wait(inserted.job.id) if wait else inserted.job
    if cli.as_json:
        cli.print_json(enqueued(job, duplicate=inserted.duplicate).model_dump(mode="json"))
    elif wait and job.result is not None:
        cli.console.print(job.result.decode(), markup=False)
    elif not wait:
        cli.console.print(f"{job.id}" + (" (it was there already)" if inserted.duplicate else ""))
    if wait and job.status is Status.FAILED:
        raise JobFailed(job.id, job.error)
    if wait and job.status is Status.CANCELLED:
        raise JobCancelled(job.id)


async def _cancel(cli: Command, job_ids: list[str]) -> None:
    said = {"cancelled": "cancelled", "requested": "asked to stop", "final": "had ended already"}
    told = []
    async with opened(cli) as desk:
        await _known(desk, job_ids)
        for job_id in job_ids:
            result = await desk.client.cancel(job_id)
            told.append({"job_id": job_id, "task_id": job_id, "result": str(result)})
            if not cli.as_json:
                cli.console.print(f"{job_id}  {said[result]}")
    if cli.as_json:
        cli.print_json(told)


async def _retry(cli: Command, job_ids: list[str]) -> None:
    from faena.api.schemas import enqueued
    from faena.client import refuse_live

    told = []
    async with opened(cli) as desk:
        for job in await _known(desk, job_ids):
            refuse_live(job)
        for job_id in job_ids:
            job = (await desk.client.retry(job_id)).job
            told.append(enqueued(job).model_dump(mode="json"))
            if not cli.as_json:
                cli.console.print(f"{job_id}  runs again as {job.id}")
    if cli.as_json:
        cli.print_json(told)


async def _known(desk: Desk, job_ids: list[str]) -> list[Job]:
    """Return jobs; raises `NotFound` for the first that is not there, before anything is done to the others."""
    return [await desk.client.get(job_id) for job_id in job_ids]


async def _retry_failed(cli: Command, query: Query, canary: int | None, after: list[str]) -> None:
    from faena.words import counted

    async with opened(cli) as desk:
        await check_names(cli, desk, queues=query.queues, tasks=query.tasks)
        answer = await desk.client.retry_many(query, canary=canary, after=after)
    if cli.as_json:
        from faena.api.steering import retried

        cli.print_json(retried(answer.jobs, answer.left).model_dump(mode="json"))
        return
    for job in answer.jobs:
        cli.console.print(f"{job.origin}  runs again as {job.id}")
    left = f"; {counted(answer.left, 'failed job')} left" if answer.left else ""
    cli.console.print(f"{counted(len(answer.jobs), 'job')} run again{left}")
