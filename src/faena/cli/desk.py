"""A store, an engine and a client, opened for the length of one command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faena.cli.command import Command
    from faena.client import Client
    from faena.ports.engine import Engine
    from faena.ports.store import Store


@dataclass(frozen=True)
class Desk:
    """What a command works with."""

    store: Store
    engine: Engine
    client: Client


@asynccontextmanager
async def opened(command: Command, *, tells: bool = False) -> AsyncIterator[Desk]:
    """Open the selected store and engine, with a client for the application's tasks. ``tells``: the command itself says
    what was selected; else one that looks at files because Redis does not answer is told so."""
    from faena.client import Client
    from faena.wiring import make_engine

    if command.selection.alone is not None and not tells:
        where = command.settings.data_dir
        command.aside.print(
            f"REDIS_URL is set, and {command.selection.alone}: these are the jobs on files, in {where}",
            style="yellow",
            markup=False,
            highlight=False,
        )
    store = another_store(command)
    engine = make_engine(command.settings, command.selection)
    await store.open()
    app, enabled = command.app, command.settings.queue_enabled
    client = Client(store, engine, app.tasks, queues=app.queues, enabled=enabled)
    try:
        yield Desk(store=store, engine=engine, client=client)
    finally:
        await client.close()
        await store.close()
        engine.close()


async def check_names(
    command: Command, desk: Desk, *, queues: Iterable[str] = (), tasks: Iterable[str] = ()
) -> None:
    """Refuse queues and tasks that nobody knows. Raises `UnknownName`."""
    from faena.insights import check_known

    app = command.app
    await check_known(desk.store, app.tasks, app.queues, queues=queues, tasks=tasks)


def another_store(command: Command) -> Store:
    """Return a store on the selected jobs, not yet opened; each is for one event loop."""
    from faena.wiring import make_store

    if command.selection.store == "memory":  # all doors to the same jobs: the application knows which
        return command.app.make_store()
    return make_store(command.settings, command.selection)
