"""Live bars for the demo: drawn on a terminal, told in lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from faena.job import Status

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

STEP = 10
"""Without a terminal, a line at each change of status and at every so many per cent."""


class Board(Protocol):
    """Shows how far each job is."""

    def show(self, name: str, progress: float, status: str, message: str | None) -> None:
        """Show where the job of that name stands now."""
        ...


@contextmanager
def make_board(console: Console, names: Sequence[str]) -> Iterator[Board]:
    """Return the board that suits where we print."""
    if not console.is_terminal:
        yield Lines(console)
        return
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description:<16}"),
        BarColumn(40),
        TextColumn("{task.percentage:3.0f} %  {task.fields[told]}"),
        console=console,
    ) as progress:
        yield Bars(progress, names)


class Bars:
    """Bars that move."""

    def __init__(self, progress: Progress, names: Sequence[str]) -> None:
        self._progress = progress
        self._rows: dict[str, TaskID] = {
            name: progress.add_task(name, total=100, told="waiting") for name in names
        }

    def show(self, name: str, progress: float, status: str, message: str | None) -> None:
        from faena.cli.look import COLOURS

        told = f"[{COLOURS[Status(status)]}]{status}[/] {message or ''}"
        self._progress.update(self._rows[name], completed=progress, told=told)


class Lines:
    """A line for each change that matters."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, tuple[str, int]] = {}

    def show(self, name: str, progress: float, status: str, message: str | None) -> None:
        mark = (status, int(progress // STEP))
        if self._told.get(name) != mark:
            self._told[name] = mark
            self._console.print(
                f"  {name:<16} {progress:3.0f} %  {status} {message or ''}".rstrip(), markup=False
            )
