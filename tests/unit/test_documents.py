"""The documents: what they show exists, what they link is there, what is generated is up to date."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.main import get_command

import faena
from faena.cli import build
from faena.settings import Settings, env_name

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)

OTHER_VARIABLES = {"FAENA_CONFIG", "FAENA_HISTORIES"}
"""Which are read elsewhere than in the settings."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def script(name: str) -> ModuleType:
    """Load a file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shell_lines() -> list[str]:
    """Every line of every shell block, without comments."""
    return [
        line.split("#")[0].strip()
        for path in DOCUMENTS
        for kind, body in BLOCK.findall(path.read_text("utf-8"))
        if kind in ("sh", "bash")
        for line in body.splitlines()
    ]


def make_targets() -> dict[str, str]:
    """Every target that a person may name, with its help."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    helps = dict(re.findall(r"^([a-z]+):.*## (.*)$", makefile, re.MULTILINE))
    return {target: helps.get(target, "") for target in phony[1].split()}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    missing = [link for link in LINK.findall(path.read_text("utf-8")) if not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_python_block_is_python(path: Path) -> None:
    for kind, body in BLOCK.findall(path.read_text("utf-8")):
        if kind == "python":
            compile(body, name_of(path), "exec")


def test_what_is_generated_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "generate_docs.py"), "--check"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_stale_part_is_noticed() -> None:
    text = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb"
    assert script("generate_docs").filled(text, {"x": lambda: "new"}) == text.replace("old", "new")


def test_every_make_target_has_help() -> None:
    targets = make_targets()
    assert [target for target, told in targets.items() if not told] == []
    expected = {"help", "setup", "demo", "up", "test", "lint", "bench", "docs", "clean"}
    assert expected <= set(targets)


def test_every_command_in_the_documents_exists() -> None:
    commands = get_command(build()).commands
    shown = {line.split()[1] for line in shell_lines() if line.startswith("faena ")}
    assert shown <= set(commands)
    assert {"up", "doctor", "worker"} <= shown


def command_of(line: str, commands: dict[str, Any]) -> Any:
    """Return the command that a line runs; a group's own is named by its second word."""
    _, name, *rest = line.split()
    command = commands[name]
    return getattr(command, "commands", {}).get(rest[0] if rest else "", command)


def test_every_flag_in_the_documents_exists() -> None:
    commands = get_command(build()).commands
    unknown = [
        line
        for line in shell_lines()
        if line.startswith("faena ")
        for flag in re.findall(r"(?<=\s)--[\w-]+", line)
        if not any(flag in parameter.opts for parameter in command_of(line, commands).params)
    ]
    assert unknown == []


def test_every_make_target_in_the_documents_exists() -> None:
    shown = {line.split()[1] for line in shell_lines() if line.startswith("make ")}
    assert shown <= set(make_targets())
    assert "demo" in shown


def test_the_spanish_readme_mirrors_the_english_one() -> None:
    english, spanish = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.es.md"))
    for pattern in (r"^#+ ", r"^```\w+", r"^- \*\*", r"^make \w+"):
        assert len(re.findall(pattern, english, re.MULTILINE)) == len(
            re.findall(pattern, spanish, re.MULTILINE)
        )


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if f": {page}\n" not in navigation] == []


def test_what_deploying_shows_is_there() -> None:
    page = (ROOT / "docs" / "operating" / "deploying.md").read_text("utf-8")
    blocks = [(kind, body) for kind, body in BLOCK.findall(page) if kind in ("ini", "yaml")]
    (compose,) = (yaml.safe_load(body) for kind, body in blocks if kind == "yaml")
    services = [one for one in compose["services"].values() if one.get("command", [""])[0] == "faena"]
    lines = [one["command"] for one in services]
    lines += [line.split()[1:] for _, body in blocks for line in re.findall(r"/bin/(faena .*)", body)]
    commands = get_command(build()).commands
    assert (
        {line[1] if line[0] == "faena" else line[0] for line in lines} == {"worker", "api"} <= set(commands)
    )
    named = {name for one in services for name in one["environment"]}
    named |= {name for _, body in blocks for name in re.findall(r"^([A-Z][A-Z_]+)=", body, re.MULTILINE)}
    assert named <= {env_name(field) for field in Settings.model_fields}


SETTING = re.compile(r"\b(?:FAENA|COATI|API|REDIS|QUEUE|RESULT|FAILURE|TASK|IDEMP)_[A-Z_]+\b")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_setting_that_a_document_names_exists(path: Path) -> None:
    known = {env_name(field) for field in Settings.model_fields} | OTHER_VARIABLES
    assert set(SETTING.findall(path.read_text("utf-8"))) <= known


def test_what_troubleshooting_quotes_is_what_faena_says() -> None:
    said = [
        node.value
        for path in (ROOT / "src" / "faena").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    page = (ROOT / "docs" / "operating" / "troubleshooting.md").read_text("utf-8")
    cells = re.findall(r"^\| (?:`\d+` \| )?(`.*?) \|", page, re.MULTILINE)
    quoted = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    assert len(quoted) > 40
    assert [text for text in quoted if not any(text in one for one in said)] == []


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text("utf-8")
    missing = [name for name in faena.__all__ if not re.search(rf"\b{name}\b", page)]
    assert missing == []


def test_the_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[\w.!+]+", line)] == []


@pytest.mark.parametrize(
    "text",
    [
        "index-url = x",
        "https://py" + "pi.example.org/simple",
        "see /home/" + "ana/faena",
        "cd /ro" + "ot/faena",
    ],
)
def test_addresses_and_paths_of_one_machine_are_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.md").write_text(f"fine\n{text}\n")
    (found,) = script("check_tree").faults(tmp_path, tmp_path / "file.md")
    assert found.startswith("file.md:2: ")


def test_ordinary_text_is_let_alone(tmp_path: Path) -> None:
    (tmp_path / "file.md").write_text(
        "/var/lib/coati/queue /tmp/x src/shop/main.py http://127.0.0.1:8000/ /home/you/x\n"
    )
    assert script("check_tree").faults(tmp_path, tmp_path / "file.md") == []
