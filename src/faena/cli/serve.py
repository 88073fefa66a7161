"""``faena up``, ``faena api``, ``faena worker``."""

from __future__ import annotations

from typing import Annotated

import typer

from faena.cli.command import Command, command

Host = Annotated[str | None, typer.Option("--host", help="The address to listen on (API_HOST, 127.0.0.1).")]
Port = Annotated[
    int | None, typer.Option("--port", "-p", help="The port; 0 takes a free one (API_PORT, 8000).")
]
Queues = Annotated[
    str | None, typer.Option("--queues", "-q", help="Which queues, in order, with commas (FAENA_QUEUES).")
]
Threads = Annotated[
    int | None, typer.Option("--threads", "-t", help="Jobs at once a process (FAENA_THREADS, 8).")
]
Grace = Annotated[
    float | None, typer.Option("--grace", help="Seconds that a stop lets jobs run on (FAENA_GRACE, 30).")
]


def register(root: typer.Typer) -> None:
    """Add the commands that run until they are stopped."""
    for name, function in (("up", up), ("api", api), ("worker", worker)):
        root.command(name, rich_help_panel="Run")(command(function))


def up(
    cli: Command,
    host: Host = None,
    port: Port = None,
    queues: Queues = None,
    threads: Threads = None,
    grace: Grace = None,
) -> None:
    """Start the server and a worker in one process. Ctrl-C stops them; twice stops at once."""
    cli.load_settings(host=host, port=port, queues=queues, threads=threads, grace=grace)
    _start(cli, "serve", with_worker=True)


def api(cli: Command, host: Host = None, port: Port = None) -> None:
    """Start the server alone; jobs wait for a `faena worker`."""
    cli.load_settings(host=host, port=port)
    cli.selection.check_shared()
    _start(cli, "serve", with_worker=False)


def worker(
    cli: Command,
    queues: Queues = None,
    processes: Annotated[
        int | None, typer.Option("--processes", "-n", help="Worker processes (FAENA_PROCESSES, 1).")
    ] = None,
    threads: Threads = None,
    solo: Annotated[
        bool, typer.Option("--solo", help="One process that runs one job at a time and starts no other.")
    ] = False,
    grace: Grace = None,
    lease: Annotated[
        float | None, typer.Option(help="Seconds of silence until its jobs are taken (FAENA_LEASE, 15).")
    ] = None,
    max_jobs_per_child: Annotated[
        int | None, typer.Option(min=1, help="Replace a process after so many jobs.")
    ] = None,
) -> None:
    """Start workers. SIGTERM or Ctrl-C: finish or hand back within the grace time; twice stops at once."""
    if solo:
        processes, threads = 1, 1
    cli.load_settings(queues=queues, processes=processes, threads=threads, grace=grace, lease=lease)
    cli.selection.check_shared()
    _start(cli, "work", solo=solo, max_jobs=max_jobs_per_child)


def _start(cli: Command, what: str, **options: object) -> None:
    """Load the application while there is no event loop yet, so that its faults are told at once; then run."""
    from faena.cli import running
    from faena.cli.logs import set_up_logging

    set_up_logging(cli.settings)
    _ = cli.app, cli.selection
    getattr(running, what)(cli, **options)
