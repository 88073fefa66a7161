"""What ``faena up``, ``api`` and ``worker`` run: a server, a worker, or both on one loop, and how they stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, cast

import typer

from faena.cli.desk import Desk, opened
from faena.errors import InvalidSettings, StoreFault, Unavailable

if TYPE_CHECKING:
    from faena.api.server import ApiServer
    from faena.cli.command import Command
    from faena.worker import Worker, WorkerOptions


WORKER_IS_HEARD_WITHIN = 5.0


def serve(cli: Command, *, with_worker: bool) -> None:
    """Serve until stopped, with a worker in the same process if asked."""
    from faena.process import run_worker_process

    @asynccontextmanager
    async def ready() -> AsyncIterator[Worker]:
        async with opened(cli, tells=True) as desk:
            worker = make_worker(cli, desk) if with_worker else None
            with Server(cli, desk, worker) as server:
                yield cast("Worker", server)  # it runs and stops as a worker does

    raise typer.Exit(run_worker_process(ready))


def work(cli: Command, *, solo: bool, max_jobs: int | None) -> None:
    """Run one worker process, or a crew of them with a supervisor, until stopped."""
    from faena.process import SUPERVISED, run_worker_process

    alone = solo or SUPERVISED in os.environ
    if not alone and (cli.settings.processes > 1 or max_jobs is not None):
        raise typer.Exit(_supervise(cli, max_jobs))

    @asynccontextmanager
    async def ready() -> AsyncIterator[Worker]:
        async with opened(cli, tells=True) as desk:
            if SUPERVISED not in os.environ:
                announce(cli, worker=True)
            yield make_worker(cli, desk, max_jobs=max_jobs)

    raise typer.Exit(run_worker_process(ready))


def _supervise(cli: Command, max_jobs: int | None) -> int:
    """Keep a crew of worker processes; they load the same settings, from the environment."""
    from faena.supervisor import Supervisor

    announce(cli, worker=True)
    command = [sys.executable, "-m", "faena", "worker", "--processes", "1"]
    if max_jobs is not None:
        command += ["--max-jobs-per-child", str(max_jobs)]
    return Supervisor(command, processes=cli.settings.processes, grace=cli.settings.grace).run()


class Server:
    """The server, with a worker beside it or alone, on one loop. They live and end together."""

    recycled = False

    def __init__(self, cli: Command, desk: Desk, worker: Worker | None) -> None:
        from faena.api.app import create_app
        from faena.api.server import GRACE, make_server
        from faena.worker import WorkerOptions

        settings = cli.settings
        api = create_app(
            client=desk.client, app=cli.app, settings=settings, selection=cli.selection, worker=worker
        )
        self._server = make_server(api, host=settings.host, port=settings.port)
        self._worker = worker
        self._cli = cli
        self._store = desk.store
        self._socket = listen(settings.host, settings.port)
        alone = WorkerOptions(queues=(), grace=GRACE)
        self.options: WorkerOptions = alone if worker is None else worker.options

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def stuck(self) -> int:
        """How many functions were left behind and still run."""
        return 0 if self._worker is None else self._worker.stuck

    async def run(self) -> None:
        """Serve and work until stopped; when one part ends, so does the other."""
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        parts: list[Coroutine[Any, Any, None]] = [self._server.serve(sockets=[self._socket])]
        if self._worker is not None:
            parts.append(self._worker.run())
        announcing = asyncio.create_task(self._announce(_started(self._server)))
        try:
            await _until_all_end(parts, stop=self.stop)
        finally:
            announcing.cancel()

    async def _announce(self, answers: asyncio.Event) -> None:
        """Say that we are up when it is true: the server answers, and the worker was heard of (``/health`` is well)."""
        await answers.wait()
        with contextlib.suppress(TimeoutError, Unavailable, StoreFault):
            async with asyncio.timeout(WORKER_IS_HEARD_WITHIN):
                while self._worker and self._worker.id not in {one.id for one in await self._store.workers()}:
                    await asyncio.sleep(0.02)
        announce(self._cli, address=address_of(self._socket), worker=self._worker is not None)

    def stop(self, *, now: bool = False) -> None:
        """Take no new request and no new job, both at once: requests under way end, jobs have their grace time."""
        self._server.should_exit = True
        self._server.force_exit = self._server.force_exit or now
        if self._worker is not None:
            self._worker.stop(now=now)


def _started(server: ApiServer) -> asyncio.Event:
    """Return an event that is set when the server answers."""
    startup, answers = server.startup, asyncio.Event()

    async def start(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        answers.set()

    server.startup = start  # type: ignore[method-assign]
    return answers


async def _until_all_end(parts: list[Coroutine[Any, Any, None]], *, stop: Callable[[], None]) -> None:
    """Run parts that live and end together: when one ends, the others are told to stop; the first error is raised."""
    tasks = [asyncio.create_task(part) for part in parts]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.wait(tasks)
    for task in tasks:
        task.result()


def make_worker(cli: Command, desk: Desk, *, max_jobs: int | None = None) -> Worker:
    """Return the worker that the settings describe, on the desk's store and engine."""
    from faena.cli.desk import another_store
    from faena.wiring import worker_queues
    from faena.worker import Worker, WorkerOptions

    settings = cli.settings
    return Worker(
        tasks=cli.app.tasks,
        store=desk.store,
        engine=desk.engine,
        connect=lambda: another_store(cli),
        options=WorkerOptions(
            queues=worker_queues(settings, cli.app),
            threads=settings.threads,
            lease=settings.lease,
            grace=settings.grace,
            cancel_grace=settings.cancel_grace,
            redeliver_after=settings.redeliver_after,
            max_jobs=max_jobs,
        ),
        settings=settings,
        app_ref=settings.app,
        queues=cli.app.queues,
        schedules=cli.app.schedules.values(),
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `InvalidSettings` when the address can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        told = f"API_HOST={host} API_PORT={port} can't be listened on: {error.strerror or error}"
        raise InvalidSettings(
            [f"{told}; free it, or choose another with --port (0 takes a free one)"]
        ) from None


def address_of(listening: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announce(cli: Command, *, worker: bool, address: str | None = None) -> None:
    """Say what runs, where, and why this store and engine: one JSON line with ``--json``, else a banner on stderr."""
    from faena.wiring import worker_queues

    chosen, settings = cli.selection, cli.settings
    queues = worker_queues(settings, cli.app) if worker else ()
    if cli.as_json:
        import json

        told = {
            "address": address,
            "store": chosen.store,
            "engine": chosen.engine,
            "reason": chosen.reason,
            "warnings": list(chosen.warnings),
            "queues": list(queues),
            "data_dir": str(settings.data_dir) if chosen.on_files else None,
        }
        print(json.dumps(told), flush=True)
        return
    _banner(cli, address, queues)


def _banner(cli: Command, address: str | None, queues: tuple[str, ...]) -> None:
    from importlib.metadata import version

    from rich.markup import escape
    from rich.table import Table

    chosen, settings, console = cli.selection, cli.settings, cli.aside
    rows = {
        "page": address and f"{address}/",
        "API": address and f"{address}/docs",
        "app": settings.app or "the shipped packs",
        "store": f"{chosen.store} ({chosen.reason})",
        "engine": chosen.engine,
        "queues": ", ".join(queues) or None,
        "data": str(settings.data_dir) if chosen.on_files else None,
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        if value:
            grid.add_row(f"  [bold]{name}[/bold]", escape(value))
    console.print(f"[bold]Faena {version('faena')}[/bold]")
    console.print(grid)
    for note in chosen.notes:
        console.print(f"  [yellow]{note.level.upper()}: {escape(str(note))}[/yellow]")
