"""``faena demo``, as a person runs it: a process of its own that talks HTTP and WebSocket to another one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytest.importorskip("pyvips", reason="the media extra is not installed")


def demo(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the demo with its temporary folder below ``folder``."""
    command = [sys.executable, "-m", "faena", "demo", "--megapixels", "1", *arguments]
    told = {**os.environ, "TMPDIR": str(folder), **environment}
    return subprocess.run(command, env=told, cwd=folder, capture_output=True, text=True, timeout=110)


def test_the_demo_shows_live_progress_and_results_and_exits_0(tmp_path: Path) -> None:
    # What is set for other purposes must not reach it: the demo is the embedded default.
    answer = demo(tmp_path, FAENA_ENGINE="direct", API_PORT="1", FAENA_DATA_DIR=str(tmp_path / "untouched"))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "engine huey" in answer.stderr
    assert not (tmp_path / "untouched").exists()

    steps = re.findall(r"the photograph +(\d+) %  (\w+)", answer.stderr)
    assert len([step for step in steps if step[1] == "processing"]) >= 3, "progress while it ran"
    assert steps[-1] == ("100", "completed")
    assert {"a long task", "a user", "notifications"} <= set(
        re.findall(r"^  ([a-z ]+?)  +\d+ %", answer.stderr, re.MULTILINE)
    )

    assert re.search(r"The page: http://127\.0\.0\.1:\d+/", answer.stdout)
    for name in ("original", "thumbnail", "optimized"):
        line = next(line for line in answer.stdout.splitlines() if line.startswith(name))
        assert Path(line.split()[-1]).is_file()


def test_a_demo_that_fails_says_so_and_exits_1(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture at all")
    answer = demo(tmp_path, "--photograph", str(tmp_path / "broken.jpg"))
    assert answer.returncode == 1
    assert "not everything was completed: the photograph" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_kept_demo_tells_its_results_as_json_and_its_server_ends_with_it(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "faena",
        "demo",
        "--megapixels",
        "1",
        "--json",
        "--engine",
        "direct",
        "--keep",
    ]
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        stays = next(line for line in process.stderr if "It stays up at" in line)
        address = stays.split()[4]
        assert httpx.get(f"{address}health", trust_env=False).status_code == 200
        servers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        told: dict[str, Any] = json.loads(process.stdout.read())
    assert {job["status"] for job in told["jobs"]} == {"completed"}
    sizes = {file["name"]: file["bytes"] for file in told["files"]}
    assert 0 < sizes["thumbnail"] < sizes["optimized"] < told["picture"]["bytes"]
    _, alive = psutil.wait_procs(servers, timeout=60)
    assert alive == []
