"""``faena doctor``: look at everything that a working installation needs, and say what to do about the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator

import typer

from faena.cli.checks import (
    FAULT,
    OK,
    WARNING,
    Finding,
    check_directory,
    check_engine,
    check_extras,
    check_order,
    check_pauses,
    check_store,
    check_workers,
)
from faena.cli.command import Command, command
from faena.cli.desk import opened
from faena.errors import FaenaError, InvalidSettings
from faena.words import counted

MARKS = {OK: "[green]✓[/green]", WARNING: "[yellow]![/yellow]", FAULT: "[red]✗[/red]"}


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("doctor", rich_help_panel="Help")(command(doctor))


def doctor(cli: Command) -> None:
    """Check the settings, the directories, the store, the engine and the workers. Exit code 1 when there is a fault."""
    findings = cli.run(_examine(cli))
    if cli.as_json:
        from msgspec import to_builtins

        cli.print_json({"findings": to_builtins(findings), "ok": not _faults(findings)})
    else:
        _print(cli, findings)
    if _faults(findings):
        raise typer.Exit(1)


async def _examine(cli: Command) -> list[Finding]:
    """Run the checks in order; what needs a part that is broken is not run."""
    findings: list[Finding] = []
    try:
        for step in (_settings, _selection, _application, _directories):
            findings += step(cli)
        findings += check_extras()
        findings += [finding async for finding in _running(cli)]
    except InvalidSettings as error:
        findings += [Finding(check="settings", level=FAULT, told=fault) for fault in error.faults]
    except FaenaError as error:
        findings.append(Finding(check="store", level=FAULT, told=str(error)))
    return findings


def _settings(cli: Command) -> Iterator[Finding]:
    names = ", ".join(sorted(cli.settings.environment())) or "nothing: all defaults"
    yield Finding(check="settings", level=OK, told=f"set: {names}")


def _selection(cli: Command) -> Iterator[Finding]:
    chosen = cli.selection
    told = f"store {chosen.store}, engine {chosen.engine}: {chosen.reason}"
    yield Finding(check="selection", level=OK, told=told)
    for warning in chosen.warnings:
        yield Finding(check="selection", level=WARNING, told=warning)
    if chosen.alone is not None:
        yield Finding(
            check="selection",
            level=FAULT,
            told=f"REDIS_URL is set, and {chosen.alone}: `faena api` and `faena worker` will not start",
            advice="start Redis; or unset REDIS_URL, or set FAENA_STORE=sqlite, everywhere. `faena up` works meanwhile",
        )


def _application(cli: Command) -> Iterator[Finding]:
    name = cli.settings.app or "the shipped packs"
    tasks = counted(len(cli.app.tasks), "task")
    yield Finding(check="application", level=OK, told=f"{name}: {tasks}")
    if cli.settings.app is None:
        from faena import shipped

        for told in shipped.missing:
            yield Finding(check="application", level=WARNING, told=told)


def _directories(cli: Command) -> Iterator[Finding]:
    places = cli.settings.directories
    yield from check_directory("data directory", places.data)
    if places.queue != places.data:
        yield from check_directory("queue directory", places.queue)


async def _running(cli: Command) -> AsyncIterator[Finding]:
    from faena.wiring import worker_queues

    async with opened(cli, tells=True) as desk:
        for finding in await check_store(desk.store):
            yield finding
        yield check_engine(desk.engine)
        for finding in check_order(desk.engine, worker_queues(cli.settings, cli.app)):
            yield finding
        processes, counts = await desk.store.workers(), await desk.store.counts()
        paused = await desk.store.paused()
    queues = {task.options.queue for task in cli.app.tasks.values()}
    for finding in check_workers(processes, counts, queues, desk.engine):
        yield finding
    for finding in check_pauses(paused, counts):
        yield finding


def _faults(findings: Iterable[Finding]) -> int:
    return sum(finding.level == FAULT for finding in findings)


def _print(cli: Command, findings: list[Finding]) -> None:
    from rich.markup import escape

    for finding in findings:
        cli.console.print(
            f"{MARKS[finding.level]} [bold]{escape(finding.check)}[/bold]  {escape(finding.told)}"
        )
        if finding.advice:
            cli.console.print(f"    → {escape(finding.advice)}")
    faults, warnings = _faults(findings), sum(finding.level == WARNING for finding in findings)
    cli.console.print(
        f"\n{counted(faults, 'fault')}, {counted(warnings, 'warning')}"
        if faults or warnings
        else "\nAll is well."
    )
