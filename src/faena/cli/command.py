"""What every command shares: the common flags, how it prints, and how its errors are told.

A command is a function whose first parameter is a `Command`; `command` puts the common flags in its place.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from faena.errors import Conflict, FaenaError, InvalidSettings, NotFound, Rejected, Unavailable, UnknownTask

if TYPE_CHECKING:
    from rich.console import Console

    from faena.app import Faena
    from faena.settings import Settings
    from faena.wiring import Selection

Answer = TypeVar("Answer")

CODES: tuple[tuple[type[FaenaError], int], ...] = (
    (UnknownTask, 3),
    (NotFound, 3),
    (Rejected, 2),
    (Conflict, 4),
    (Unavailable, 5),
)
"""The exit code for each branch of errors, the first that fits; 1 for every other one. What is not there is 3, whatever
was named."""

COMMON = "Common"

AppOption = Annotated[
    str | None, typer.Option("--app", help="Your application, package.module:app.", rich_help_panel=COMMON)
]
DataDirOption = Annotated[
    str | None, typer.Option("--data-dir", help="Where everything is written.", rich_help_panel=COMMON)
]
StoreOption = Annotated[
    str | None, typer.Option("--store", help="auto, sqlite, redis or memory.", rich_help_panel=COMMON)
]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="auto, direct, huey, dramatiq, celery, rq or arq.", rich_help_panel=COMMON),
]
RedisOption = Annotated[
    str | None, typer.Option("--redis-url", help="A Redis server.", rich_help_panel=COMMON)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=COMMON)]
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show where an error comes from.", rich_help_panel=COMMON)
]


@dataclass
class Command:
    """What a command was told by the common flags, and what it makes of them when it asks."""

    flags: dict[str, object] = field(default_factory=dict)
    as_json: bool = False
    debug: bool = False

    def load_settings(self, **flags: object) -> Settings:
        """Load the settings with the command's own flags too, and hand them on to child processes.

        What an application was given in its code stands for it here too; flags still win.
        """
        from faena.settings import Settings

        self.flags |= flags
        settings = Settings.load(**self.flags)
        _hand_on(settings)
        if settings.app is not None:
            settings = self._with_those_of_the_app(settings)
        self.__dict__["settings"] = settings
        return settings

    def _with_those_of_the_app(self, settings: Settings) -> Settings:
        from faena.settings import Settings
        from faena.wiring import load_app

        app = load_app(settings.app)
        if app.settings == settings:
            return settings
        given = {name: value for name, value in self.flags.items() if value is not None}
        return Settings.model_validate(app.settings.given() | given)

    @cached_property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.load_settings()

    @cached_property
    def app(self) -> Faena:
        """The application that the settings name, or the shipped packs."""
        from faena.wiring import load_app

        app = load_app(self.settings.app)
        app.use(self.settings)
        return app

    @cached_property
    def selection(self) -> Selection:
        """The store and the engine, and why."""
        from faena.wiring import select

        return select(self.settings)

    @cached_property
    def console(self) -> Console:
        """Where results go. Without a terminal nothing is cut at 80 columns."""
        return _console(stderr=False)

    @cached_property
    def aside(self) -> Console:
        """Where everything that is no result goes."""
        return _console(stderr=True)

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run a coroutine on a fresh event loop."""
        import asyncio

        return asyncio.run(work)

    def print_json(self, value: object) -> None:
        """Print a value as one JSON document."""
        import json

        typer.echo(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Put the common flags in the place of ``function``'s first parameter, and tell its errors in one line."""
    own, hints = inspect.signature(function), get_type_hints(function, include_extras=True)
    parameters = [part.replace(annotation=hints[part.name]) for part in [*own.parameters.values()][1:]]

    @functools.wraps(function)
    def run(**given: Any) -> None:
        common = {name: given.pop(name) for name in _COMMON}
        as_json, debug = common.pop("as_json"), common.pop("debug")
        with _told_errors(debug=debug, as_json=as_json):
            function(Command(flags=common, as_json=as_json, debug=debug), **given)

    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _COMMON.items()
    ]
    keyword = [part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in parameters]
    run.__signature__ = inspect.Signature([*keyword, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {part.name: part.annotation for part in [*keyword, *shared]}
    del run.__wrapped__
    return run


_COMMON: dict[str, tuple[Any, Any]] = {
    "app": (AppOption, None),
    "data_dir": (DataDirOption, None),
    "store": (StoreOption, None),
    "engine": (EngineOption, None),
    "redis_url": (RedisOption, None),
    "as_json": (JsonOption, False),
    "debug": (DebugOption, False),
}


class _told_errors:  # noqa: N801 - used as a statement
    """Turn Faena's errors into one red line (or one JSON object) and an exit code."""

    def __init__(self, *, debug: bool, as_json: bool) -> None:
        self.debug = debug
        self.as_json = as_json

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(130) from None
        if isinstance(error, BrokenPipeError):
            # Whoever read us has gone (`faena jobs | head`): no complaint at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        if not isinstance(error, FaenaError) or self.debug:
            return
        self._tell(error)
        raise typer.Exit(exit_code(error)) from None

    def _tell(self, error: FaenaError) -> None:
        if self.as_json:
            import json

            faults = error.faults if isinstance(error, InvalidSettings) else []
            told = {"error": type(error).__name__, "message": str(error), "faults": faults}
            typer.echo(json.dumps(told, ensure_ascii=False), err=True)
        else:
            typer.secho(f"{error}", fg=typer.colors.RED, err=True)


def exit_code(error: FaenaError) -> int:
    """Return the exit code that tells this kind of error."""
    return next((code for kind, code in CODES if isinstance(error, kind)), 1)


def _hand_on(settings: Settings) -> None:
    """Put what was set into this process's environment: its children load the same settings."""
    os.environ.update(settings.environment())


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else 200)
