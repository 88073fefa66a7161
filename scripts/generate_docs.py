"""Write the parts of the documents that come from the code, between their marks.

``<!-- generated: name -->`` … ``<!-- end -->``. Usage: python scripts/generate_docs.py [--check]
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import speed, speed_more  # noqa: E402
from scripts import engine_matrix, front_figures, python_reference  # noqa: E402

MARKED = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Write what changed; with ``--check``, only say so and return 1."""
    check = "--check" in arguments
    stale = []
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]:
        before = path.read_text("utf-8")
        after = filled(before, PARTS)
        if before != after:
            stale.append(path)
            if not check:
                path.write_text(after, "utf-8")
    for name, drawn in speed.pictures().items():
        picture = ROOT / "docs" / "images" / name
        if not picture.exists() or picture.read_text("utf-8") != drawn:
            stale.append(picture)
            if not check:
                picture.write_text(drawn, "utf-8")
    for path in stale:
        told = "is not up to date: run `make format`" if check else "written"
        print(f"{path.relative_to(ROOT)} {told}")
    return 1 if check and stale else 0


def filled(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """Return the text with every marked part written anew; raises `KeyError` for an unknown name."""

    def write(match: re.Match[str]) -> str:
        return f"{match[1]}{parts[match['name']]().strip()}\n{match[3]}"

    return MARKED.sub(write, text)


def state_diagram() -> str:
    """The transition table as a picture."""
    from faena.job import diagram

    return f"```mermaid\n{diagram()}\n```"


def steps_table() -> str:
    """The transition table as a table."""
    from faena.job import TRANSITIONS

    rows = ["| step | from | to |", "| --- | --- | --- |"]
    for step, transition in TRANSITIONS.items():
        sources = ", ".join(sorted(f"`{source}`" if source else "nothing" for source in transition.sources))
        rows.append(f"| `{step}` | {sources} | `{transition.target}` |")
    return "\n".join(rows)


def settings_table() -> str:
    """Every setting with its names, its default and what it is."""
    from faena.settings import Settings, env_name, public_name

    rows = ["| environment | `faena.toml` | default | what |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{_shown(field.default)}`"
        rows.append(f"| `{env_name(name)}` | `{public_name(name)}` | {default} | {field.description} |")
    return "\n".join(rows)


def engines_table() -> str:
    """What each engine says that it can do."""
    from importlib import import_module

    from faena.engines.direct import DirectEngine
    from faena.engines.huey import HueyEngine
    from faena.wiring import HUEY_ON_REDIS, ON_A_BROKER, ON_RABBITMQ

    named = {"`direct`": DirectEngine, "`huey` on files": HueyEngine}
    for told, reference in {
        "`huey` on Redis": HUEY_ON_REDIS,
        **{f"`{n}`": r for n, r in ON_A_BROKER.items()},
        **{f"`{n}` on RabbitMQ": r for n, r in ON_RABBITMQ.items()},
    }.items():
        module, _, name = reference.partition(":")
        named[told] = getattr(import_module(module), name)
    columns = {
        "messages": "delivers",
        "queue order": "queue_order",
        "priority": "priority",
        "processes": "separate_processes",
        "head": "head",
    }
    rows = [f"| engine | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for told, engine in named.items():
        can = ("yes" if getattr(engine.capabilities, capability) else "no" for capability in columns.values())
        rows.append(f"| {told} | {' | '.join(can)} |")
    return "\n".join(rows)


def folder_engine() -> str:
    """The example of an engine by somebody else."""
    return f"```python\n{(ROOT / 'examples' / 'engine_on_a_folder.py').read_text('utf-8').rstrip()}\n```"


def commands() -> str:
    """What each command's own help says."""
    from typer.main import get_command

    from faena.cli import build

    parts = []
    for name, command in _with_groups(get_command(build())):
        lines = [f"### faena {name}", "", str(command.help).strip(), ""]
        for parameter in command.params:
            if parameter.name == "help":
                continue
            told = getattr(parameter, "help", None) or ""
            if getattr(parameter, "rich_help_panel", None) == "Common":
                continue
            if parameter.param_type_name == "argument":
                shown = (parameter.metavar or str(parameter.name).upper()).strip("[]")
                shown = shown if parameter.required else f"[{shown}]"
            else:
                shown = ", ".join(parameter.opts)
            lines.append(f"- `{shown}` {told}")
        parts.append("\n".join(lines).strip())
    return "\n\n".join(parts)


def _with_groups(root: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command with its whole name, those of a group after the group."""
    for name, command in root.commands.items():
        yield f"{prefix}{name}", command
        if hasattr(command, "commands"):
            yield from _with_groups(command, f"{name} ")


def make_targets() -> str:
    """What ``make help`` says."""
    command = ["make", "--no-print-directory", "help"]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return f"```text\n{told.stdout.rstrip()}\n```"


def _shown(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return f"{value:g}" if isinstance(value, float) else value


PARTS: Mapping[str, Callable[[], str]] = {
    "state-diagram": state_diagram,
    "steps": steps_table,
    "settings": settings_table,
    "commands": commands,
    "engines": engines_table,
    "engine-matrix": engine_matrix.table,
    "folder-engine": folder_engine,
    "make": make_targets,
    "speed-engines": speed.engines_table,
    "speed-peers": speed.peers_table,
    "speed-redis-store": speed.growth_table,
    "speed-how": speed.how_it_was_measured,
    "speed-more": speed_more.sections,
    **front_figures.PARTS,
    **python_reference.PARTS,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
