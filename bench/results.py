"""The published results: what a measurement gave, when, where and by which command, in ``bench/results/NAME.json``."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from faena.job import Record
from faena.testing.servers import redis_program

FOLDER = Path(__file__).parent / "results"
LIBRARIES = ("faena", "apsw", "redis", "huey", "dramatiq", "celery", "rq", "arq")


class Result(Record, frozen=True):
    """One measurement."""

    name: str
    command: str
    at: str
    """The day, in UTC."""
    machine: str
    versions: dict[str, str]
    figures: dict[str, Any]


def save(name: str, figures: object) -> Path:
    """Keep the figures of a measurement that just ended."""
    result = {
        "name": name,
        "command": f"python -m bench {name}",
        "at": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "figures": figures,
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return path


def load(name: str) -> Result | None:
    """Read a published result; None if there is none."""
    path = FOLDER / f"{name}.json"
    return Result(**json.loads(path.read_text("utf-8"))) if path.exists() else None


def machine() -> str:
    """Describe this machine in one line."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} processors ({_processor()}), {memory:.0f} GiB, {platform.system()}"


def versions() -> dict[str, str]:
    """Return the versions of what took part."""
    found = {"python": platform.python_version(), "redis-server": _redis()}
    for library in LIBRARIES:
        try:
            found["redis-py" if library == "redis" else library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if not models:
        return platform.machine()
    return " ".join(models[0].replace("(R)", "").replace(" Processor", "").split())


def _redis() -> str:
    if (program := redis_program()) is None:
        return "none"
    told = subprocess.run([str(program), "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"v=([\d.]+)", told)
    return found[1] if found else told.strip()
