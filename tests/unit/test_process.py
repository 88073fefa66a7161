"""How a worker's process ends when the worker itself breaks."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from faena.process import HUNG

WORKER = """
import asyncio, contextlib, logging, sys
from faena import StoreDown
from faena.process import run_worker_process
from faena.worker import WorkerOptions

class Breaks:
    options, recycled, stuck = WorkerOptions(queues=(), grace=0.1), False, {stuck}

    def stop(self, *, now: bool = False) -> None: ...

    async def run(self) -> None:
        begun = asyncio.Event()
        self.task = asyncio.ensure_future(ignores_cancellation(begun) if self.stuck else begun.wait())
        await asyncio.sleep(0)
        raise {error}

async def ignores_cancellation(begun: asyncio.Event) -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

@contextlib.asynccontextmanager
async def opened():
    yield Breaks()
    print("the store is closed")

logging.basicConfig(format="%(levelname)s %(message)s")
sys.exit(run_worker_process(opened))
"""


def ended(folder: Path, *, error: str, stuck: int) -> subprocess.CompletedProcess[str]:
    """Run a worker that breaks to the end of its process."""
    script = folder / "worker.py"
    script.write_text(textwrap.dedent(WORKER).format(error=error, stuck=stuck))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, timeout=30
    )


@pytest.mark.parametrize("stuck", [0, 1])
def test_a_worker_that_breaks_says_so_and_ends_with_a_status_of_its_own(tmp_path: Path, stuck: int) -> None:
    told = ended(tmp_path, error='RuntimeError("the intake broke")', stuck=stuck)
    assert told.returncode == HUNG
    assert "CRITICAL the worker broke and its process ends with status 70: start another one" in told.stderr
    assert "RuntimeError: the intake broke" in told.stderr
    assert told.stdout == "the store is closed\n"


def test_an_error_that_says_what_to_do_is_left_to_the_command(tmp_path: Path) -> None:
    told = ended(tmp_path, error='StoreDown("start Redis")', stuck=0)
    assert told.returncode == 1
    assert "CRITICAL" not in told.stderr
    assert "StoreDown: start Redis" in told.stderr


HANDLER_HELD = """
held = threading.Event()

def hold() -> None:
    handler.acquire()
    held.set()
    threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
"""
PIPE_FULL = """
os.set_blocking(1, False)
with contextlib.suppress(BlockingIOError):
    while True:
        os.write(1, b"x")
os.set_blocking(1, True)
"""
EXITS = """
import contextlib, logging, os, threading
from faena.process import exit_now

handler = logging.StreamHandler()
logging.getLogger().addHandler(handler)
{stuck}
print("last words", end="")
exit_now(70)
"""


@pytest.mark.parametrize(
    ("stuck", "heard"),
    [(HANDLER_HELD, b"last words"), (PIPE_FULL, b"")],
    ids=["a log handler is held", "nobody reads"],
)
def test_a_process_ends_though_its_last_words_cannot_be_written(stuck: str, heard: bytes) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", EXITS.format(stuck=stuck)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    with process:
        try:
            assert process.wait(30) == HUNG
        finally:
            process.kill()
        assert process.stdout is not None
        assert process.stdout.read().lstrip(b"x") == heard
