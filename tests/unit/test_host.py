"""A worker beside an engine's own command line: what a function can't keep from ending."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from faena.process import HUNG

TASKS = """
import asyncio, contextlib, threading
from faena import Faena

app = Faena()
begun = threading.Event()

@app.task
async def swallows_its_cancellation() -> None:
    begun.set()
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

@app.task
async def keeps_a_thread() -> None:
    begun.set()
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.to_thread(threading.Event().wait)

@app.task
async def blocks_the_loop() -> None:
    begun.set()
    threading.Event().wait()
"""

HOSTED = """
import sys, threading
import faena.host, tasks

host = faena.host.Host.from_settings(engine="huey")
host.start(threads=1, grace=0.0, on_end=lambda: print("ended", flush=True))
job = tasks.app.tasks[sys.argv[1]].enqueue()
threading.Thread(target=host.run, args=(job.id,), daemon=True).start()
assert tasks.begun.wait(20)
"""

STOPPED = """
host.stop()
print("stopped" if host.wait() else "failed", flush=True)
"""


def ended(folder: Path, script: str, task: str) -> subprocess.CompletedProcess[str]:
    """Run a process in which a worker runs a job of ``task``, to its end."""
    (folder / "tasks.py").write_text(TASKS)
    (folder / "hosted.py").write_text(HOSTED + script)
    settings = {
        "FAENA_APP": "tasks:app",
        "FAENA_STORE": "sqlite",
        "FAENA_ENGINE": "huey",
        "FAENA_DATA_DIR": str(folder / "data"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.run(
        [sys.executable, folder / "hosted.py", task],
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
        cwd=folder,
        timeout=60,
    )


def test_it_ends_though_an_async_function_swallows_its_cancellation(tmp_path: Path) -> None:
    told = ended(tmp_path, STOPPED, "swallows_its_cancellation")
    assert (told.returncode, told.stdout.split()) == (0, ["ended", "stopped"])
    assert "Traceback" not in told.stderr


def test_a_process_whose_loop_hangs_is_ended_by_force(tmp_path: Path) -> None:
    told = ended(tmp_path, "faena.host.MARGIN = 0.1" + STOPPED, "blocks_the_loop")
    assert (told.returncode, told.stdout) == (HUNG, "")


def test_a_process_that_a_function_left_behind_keeps_is_ended_by_force(tmp_path: Path) -> None:
    told = ended(tmp_path, STOPPED + "faena.host.MARGIN = 0.1\nhost.stop()\n", "keeps_a_thread")
    assert (told.returncode, told.stdout.split()) == (HUNG, ["ended", "stopped"])
