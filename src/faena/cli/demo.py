"""``faena demo``: the whole of Faena once, in a temporary folder, on a real photograph, as a client over HTTP."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faena.cli.command import Command, command
from faena.errors import FaenaError

if TYPE_CHECKING:
    from faena.cli.demo_board import Board
    from faena.cli.demo_server import Visitor

PICTURE = "the photograph"
EXTRAS: dict[str, tuple[str, dict[str, Any]]] = {
    "a long task": ("/tasks", {"task_name": "long_task", "duration": 4, "payload": {"user_id": 123}}),
    "a user": ("/tasks/a", {"user_id": 123, "duration": 2.5}),
    "notifications": ("/tasks/b", {"user_id": 456, "duration": 3, "high": True}),
}
"""What runs beside the photograph, so that several bars move: its name, the route and the body."""


class DemoFailed(FaenaError):
    """The demo did not come to its end; the message says where."""


@dataclass(frozen=True)
class Ended:
    """A job of the demo that has ended."""

    name: str
    job: dict[str, Any]
    seconds: float


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("demo", rich_help_panel="Run")(command(demo))


def demo(
    cli: Command,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, until Ctrl-C.")] = False,
    photograph: Annotated[
        Path | None,
        typer.Option(help="Your own picture in place of a drawn one.", exists=True, dir_okay=False),
    ] = None,
    megapixels: Annotated[float, typer.Option(min=0.1, max=50, help="The size of the drawn one.")] = 12,
) -> None:
    """Start Faena in a temporary folder, give it a photograph, and watch the work live."""
    from httpx import HTTPError
    from websockets.exceptions import WebSocketException

    from faena.cli.demo_server import DemoServer

    folder = Path(cli.flags.get("data_dir") or tempfile.mkdtemp(prefix="faena-demo-"))  # type: ignore[arg-type]
    picture = photograph or _draw(cli, folder, megapixels)
    engine = cli.flags.get("engine")
    with DemoServer(folder, engine=None if engine is None else str(engine)) as server:
        cli.aside.print(f"Faena is up: {server.address}/  (store {server.store}, engine {server.engine})\n")
        try:
            ended = cli.run(_watch(cli, server.address, picture))
        except (OSError, HTTPError, WebSocketException) as error:
            told = str(error) or type(error).__name__
            raise DemoFailed(f"{told}; the server said:\n{server.last_words()}") from error
        _tell(cli, ended, picture, folder, server.address)
        if keep:
            cli.aside.print(f"\nIt stays up at {server.address}/ until Ctrl-C.")
            server.wait()
        else:
            cli.aside.print("\nIt stops now. `faena demo --keep` leaves it up; `faena up` starts your own.")
    failed = [one.name for one in ended if one.job["status"] != "completed"]
    if failed:
        raise DemoFailed(f"not everything was completed: {', '.join(failed)}")


def _draw(cli: Command, folder: Path, megapixels: float) -> Path:
    from faena.cli.look import size
    from faena.words import duration

    try:
        from faena.packs.media.photograph import make_photograph

        start = time.monotonic()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        picture = make_photograph(folder / "photograph.jpg", megapixels)
    except ImportError as error:
        raise DemoFailed(f"the demo needs the media pack ({error}): pip install 'faena[media]'") from None
    weight = size(picture.stat().st_size)
    cli.aside.print(f"Drew a photograph of {weight} in {duration(time.monotonic() - start)}: {picture}")
    return picture


async def _watch(cli: Command, address: str, picture: Path) -> list[Ended]:
    """Make the jobs over HTTP and follow each over the WebSocket until it has ended."""
    from faena.cli.demo_board import make_board
    from faena.cli.demo_server import Visitor

    async with Visitor(address) as visitor:
        start = time.monotonic()
        names = {await visitor.upload(picture): PICTURE}
        answered = time.monotonic() - start
        for name, (route, body) in EXTRAS.items():
            names[await visitor.post(route, body)] = name
        cli.aside.print(f"Uploaded it over HTTP; 202 after {answered * 1000:.0f} ms. Now live:\n")
        with make_board(cli.aside, [*names.values()]) as board:
            async with asyncio.timeout(180):
                return await _follow(visitor, names, board, start)


async def _follow(visitor: Visitor, names: dict[str, str], board: Board, start: float) -> list[Ended]:
    ended: list[Ended] = []
    async for job_id, told in visitor.events([*names]):
        board.show(names[job_id], told["progress"], told["status"], told.get("message"))
        if told["status"] in ("completed", "failed", "cancelled"):
            ended.append(Ended(names[job_id], await visitor.job(job_id), time.monotonic() - start))
    return ended


def _tell(cli: Command, ended: list[Ended], picture: Path, folder: Path, address: str) -> None:
    done = next((one for one in ended if one.name == PICTURE), None)
    files = [] if done is None else made_files(done.job.get("result"), folder)
    before = picture.stat().st_size
    if cli.as_json:
        cli.print_json(
            {
                "address": address,
                "folder": str(folder),
                "picture": {"path": str(picture), "bytes": before},
                "files": [
                    {"name": name, "path": str(path), "bytes": path.stat().st_size} for name, path in files
                ],
                "jobs": [
                    {"name": one.name, "job_id": one.job["job_id"], "status": one.job["status"]}
                    | {
                        "seconds": round(one.seconds, 3),
                        "error": one.job["error"],
                        "result": one.job["result"],
                    }
                    for one in ended
                ],
            }
        )
        return
    _print(cli, ended, picture, files, address)


def made_files(result: Any, folder: Path) -> list[tuple[str, Path]]:
    """Return the files that a result names (``"thumbnail_path": "/media/…"``), found below ``folder``."""
    found: list[tuple[str, Path]] = []
    for name, value in (result if isinstance(result, dict) else {}).items():
        if isinstance(value, dict):
            found += made_files(value, folder)
        elif name.endswith("_path") and isinstance(value, str):
            path = folder / value.lstrip("/")
            if path.is_file() and name != "file_path":
                found.append((name.removesuffix("_path").replace("_", " "), path))
    return found


def _print(
    cli: Command, ended: list[Ended], picture: Path, files: list[tuple[str, Path]], address: str
) -> None:
    from faena.cli.look import size
    from faena.words import duration

    def say(line: str = "") -> None:
        cli.console.print(line, markup=False, soft_wrap=True)  # a path is never cut

    before = picture.stat().st_size
    say()
    say(f"{'original':<11}{size(before):>9}           {picture}")
    for name, path in files:
        after = path.stat().st_size
        say(f"{name:<11}{size(after):>9}  {100 * after / before:5.1f} %  {path}")
    say()
    for one in ended:
        error = one.job["error"]
        told = f" ({error['type']}: {error['message']})" if error else ""
        say(f"{one.name}: {one.job['status']} after {duration(one.seconds)}{told}")
    say(f"\nThe page: {address}/")
