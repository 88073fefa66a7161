"""What ``faena up``, ``api`` and ``worker`` run: a server, a worker, or both on one loop, and how they stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from faena.cli.desk import Desk, opened
from faena.errors import InvalidSettings

if TYPE_CHECKING:
    from faena.api.server import ApiServer
    from faena.cli.command import Command
    from faena.worker import Worker

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(cli: Command, *, with_worker: bool) -> None:
    """Serve until stopped, with a worker in the same process if asked."""
    _on_a_fast_loop(_serve(cli, with_worker=with_worker))


def work(cli: Command, *, max_jobs: int | None) -> None:
    """Run one worker process, or a crew of them with a supervisor, until stopped."""
    if cli.settings.processes > 1 or max_jobs is not None:
        raise NotImplementedError
    _on_a_fast_loop(_work(cli))


async def _serve(cli: Command, *, with_worker: bool) -> None:
    from faena.api.app import create_app
    from faena.api.server import make_server

    settings = cli.settings
    async with opened(cli) as desk:
        worker = make_worker(cli, desk) if with_worker else None
        api = create_app(
            client=desk.client, app=cli.app, settings=settings, selection=cli.selection, worker=worker
        )
        server = make_server(api, host=settings.host, port=settings.port)
        with listen(settings.host, settings.port) as listening:
            address = address_of(listening)
            _once_started(server, lambda: announce(cli, address=address, worker=with_worker))
            await serve_until_stopped(server, listening, worker)


async def _work(cli: Command) -> None:
    async with opened(cli) as desk:
        worker = make_worker(cli, desk)
        announce(cli, worker=True)
        with on_signals(lambda again: worker.stop(now=again)):
            await worker.run()


async def serve_until_stopped(server: ApiServer, listening: socket.socket, worker: Worker | None) -> None:
    """Run both until a signal. Then the server takes no new request and the worker no new job, at the same time;
    requests under way end first, and jobs within their grace time. A second signal stops both at once."""

    def stop(again: bool) -> None:
        server.should_exit = True
        server.force_exit = again
        if worker is not None:
            worker.stop(now=again)

    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    parts: list[Coroutine[Any, Any, None]] = [server.serve(sockets=[listening])]
    if worker is not None:
        parts.append(worker.run())
    with on_signals(stop):
        await until_all_end(parts, stop=lambda: stop(False))


def _once_started(server: ApiServer, tell: Callable[[], None]) -> None:
    """Call ``tell`` when the server answers."""
    startup = server.startup

    async def started(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        tell()

    server.startup = started  # type: ignore[method-assign]


async def until_all_end(parts: list[Coroutine[Any, Any, None]], *, stop: Callable[[], None]) -> None:
    """Run parts that live and end together: when one ends, the others are told to stop; the first error is raised."""
    tasks = [asyncio.create_task(part) for part in parts]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.wait(tasks)
    for task in tasks:
        task.result()


@contextlib.contextmanager
def on_signals(stop: Callable[[bool], None]) -> Iterator[None]:
    """Call ``stop(False)`` at the first signal to end and ``stop(True)`` at later ones, on the running loop."""
    loop = asyncio.get_running_loop()
    seen = 0

    def received() -> None:
        nonlocal seen
        seen += 1
        stop(seen > 1)

    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        try:
            loop.add_signal_handler(number, received)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(received))
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, before[number])


def make_worker(cli: Command, desk: Desk) -> Worker:
    """Return the worker that the settings describe, on the desk's store and engine."""
    from faena.wiring import make_store, worker_queues
    from faena.worker import Worker, WorkerOptions

    settings = cli.settings
    return Worker(
        tasks=cli.app.tasks,
        store=desk.store,
        engine=desk.engine,
        connect=lambda: make_store(settings, cli.selection),
        options=WorkerOptions(
            queues=worker_queues(settings, cli.app),
            threads=settings.threads,
            lease=settings.lease,
            grace=settings.grace,
        ),
        settings=settings,
        app_ref=settings.app,
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
            "data_dir": str(settings.data_dir),
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
        "data": str(settings.data_dir) if chosen.store == "sqlite" or chosen.engine == "huey" else None,
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        if value:
            grid.add_row(f"  [bold]{name}[/bold]", escape(value))
    console.print(f"[bold]Faena {version('faena')}[/bold]")
    console.print(grid)
    for warning in chosen.warnings:
        console.print(f"  [yellow]WARNING: {escape(warning)}[/yellow]")


def _on_a_fast_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where there is one."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)
