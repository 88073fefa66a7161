"""The command line: one file for each group of commands. Heavy imports stay inside functions: help is quick."""

from __future__ import annotations

import typer

__all__ = ["build", "main"]

NAMES = ("serve", "jobs", "queues", "workers", "steering", "schedules", "doctor", "demo")
"""The modules of this package that add commands, in the order of ``faena --help``."""


def build() -> typer.Typer:
    """Return the whole command line."""
    from importlib import import_module

    root = typer.Typer(
        name="faena",
        help="Background jobs for Python web applications.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit codes: 0 done · 1 it failed · 2 wrong request or settings · 3 no such job, queue, task or "
        "schedule · 4 not now · 5 something does not answer",
    )
    root.callback()(_root)
    for name in NAMES:
        import_module(f"faena.cli.{name}").register(root)
    return root


def main() -> None:
    """Run the command that the arguments name."""
    build()()


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"faena {version('faena')}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", help="Show the version.", is_eager=True, callback=_show_version
    ),
) -> None:
    """Background jobs for Python web applications: live progress, never lost."""
