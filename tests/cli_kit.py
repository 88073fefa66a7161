"""The command line run in this process: an empty directory, a store of its own, an application of two tasks."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from faena.cli import build
from faena.settings import Settings, env_name

APP = """
from faena import Faena

app = Faena()


@app.task
async def add(left: int, right: int = 1) -> int:
    return left + right


@app.task(queue="slow")
async def crawl(path: str) -> None:
    return None
"""

Result = Any
Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Run a command in an empty directory, with a store of its own and an application of two tasks."""
    (tmp_path / "cli_app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    environment = dict(os.environ)
    for field in Settings.model_fields:
        os.environ.pop(env_name(field), None)
    os.environ |= {
        "FAENA_APP": "cli_app:app",
        "FAENA_DATA_DIR": str(tmp_path / "data"),
        "FAENA_ENGINE": "direct",
    }
    root = logging.getLogger()
    handlers, level, own = [*root.handlers], root.level, logging.getLogger("faena").level
    yield lambda *arguments, **options: CliRunner().invoke(build(), [*arguments], **options)
    os.environ.clear()
    os.environ |= environment
    sys.modules.pop("cli_app", None)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("faena").setLevel(own)


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def enqueued(run: Run, *arguments: str) -> str:
    return str(told(run("enqueue", "add", "left=1", *arguments, "--json"))["job_id"])
