"""What ``faena doctor`` looks at: each check returns findings, and none changes anything that lasts."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from faena.errors import FaenaError
from faena.insights import at_work, forgotten, other_engines, unlisted_tasks
from faena.job import WAITING, Record
from faena.words import counted

if TYPE_CHECKING:
    from faena.ports.engine import Engine
    from faena.ports.records import Count, Paused, WorkerInfo
    from faena.ports.store import Store

OK: Final = "ok"
WARNING: Final = "warning"
FAULT: Final = "fault"

LITTLE_SPACE: Final = 1_000_000_000
TOO_LITTLE_SPACE: Final = 100_000_000
CLOCK_MAY_DIFFER: Final = 2.0
OLDEST_SQLITE: Final = (3, 51, 3)
NETWORK_FILESYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smbfs", "smb3", "fuse.sshfs", "9p", "afs"})
EXTRAS: Final = (
    ("redis", "redis", "the Redis store"),
    *((engine, engine, f"the {engine} engine") for engine in ("huey", "dramatiq", "celery", "rq", "arq")),
    ("amqp", "rabbitmq", "Celery or Dramatiq on RabbitMQ"),
    ("pyvips", "media", "the media pack"),
)
"""A module, the extra that brings it, and what it is for."""


class Finding(Record, frozen=True):
    """What a check found: ``ok``, ``warning`` (it works, but) or ``fault`` (it does not), and what to do."""

    check: str
    level: str
    told: str
    advice: str = ""


def check_directory(name: str, path: Path) -> Iterator[Finding]:
    """Look at a directory's permissions, room, file system and clock."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        advice = f"chmod 700 {path}, unless a group of services shares it"
        yield Finding(check=name, level=WARNING, told=f"{path} is open to others ({mode:o})", advice=advice)
    else:
        yield Finding(check=name, level=OK, told=f"{path} ({mode:o})")
    yield _room(name, path)
    yield from _file_system(name, path)
    yield from _clock(name, path)


def _room(name: str, path: Path) -> Finding:
    from faena.cli.look import size

    free = shutil.disk_usage(path).free
    level = FAULT if free < TOO_LITTLE_SPACE else WARNING if free < LITTLE_SPACE else OK
    advice = "" if level == OK else "make room, or name another place with FAENA_DATA_DIR"
    return Finding(check=f"{name}: room", level=level, told=f"{size(free)} free", advice=advice)


def _file_system(name: str, path: Path) -> Iterator[Finding]:
    import psutil

    mounts = sorted(psutil.disk_partitions(all=True), key=lambda mount: len(mount.mountpoint), reverse=True)
    kind = next((mount.fstype for mount in mounts if path.is_relative_to(mount.mountpoint)), "")
    if kind.lower() in NETWORK_FILESYSTEMS:
        yield Finding(
            check=f"{name}: file system",
            level=FAULT,
            told=f"{path} is on a network file system ({kind}), where SQLite's locks do not hold",
            advice="name a local directory with FAENA_DATA_DIR",
        )


def _clock(name: str, path: Path) -> Iterator[Finding]:
    """The file system's clock and ours must agree; a network disk's may not."""
    with tempfile.NamedTemporaryFile(dir=path, prefix=".faena-clock-") as probe:
        apart = abs(os.fstat(probe.fileno()).st_mtime - time.time())
    if apart > CLOCK_MAY_DIFFER:
        told = f"the clock of {path} is {apart:.0f} s apart from this machine's"
        yield Finding(check=f"{name}: clock", level=WARNING, told=told, advice="synchronise both (NTP)")


def check_extras() -> Iterator[Finding]:
    """Look which optional parts are installed. None is needed: `wiring.select` tells of one that would be better."""
    for module, extra, what in EXTRAS:
        if find_spec(module) is None:
            advice = f"pip install 'faena[{extra}]', if you want it"
            yield Finding(check=f"extra {extra}", level=OK, told=f"{what} is not installed", advice=advice)
        else:
            yield Finding(check=f"extra {extra}", level=OK, told="installed")


async def check_store(store: Store) -> list[Finding]:
    """Ask an open store how it is."""
    health = await store.check()
    details = ", ".join(f"{name} {value}" for name, value in sorted(health.details.items()))
    findings = [
        Finding(
            check="store",
            level=OK,
            told=f"{health.name} {health.version} at {health.location} {details}".strip(),
        ),
        *(Finding(check="store", level=WARNING, told=warning) for warning in health.warnings),
    ]
    if health.name == "sqlite" and (old := _older(health.version, OLDEST_SQLITE)):
        advice = "install apsw 3.51.3 or later, which brings its own SQLite"
        told = f"SQLite {old} may damage a file that two processes write"
        findings.append(Finding(check="store: version", level=FAULT, told=told, advice=advice))
    return findings


def _older(version: str, oldest: Sequence[int]) -> str | None:
    numbers = tuple(int(part) for part in version.split()[-1].split(".")[:3] if part.isdigit())
    return version if numbers and numbers < tuple(oldest) else None


def check_engine(engine: Engine) -> Finding:
    """Ask the engine whether it answers."""
    try:
        engine.ping()
        engine.depth("default")  # a user of Redis may be allowed to ping, and not to see the queues
    except FaenaError as error:
        advice = "jobs are stored meanwhile, and delivered when it answers again"
        return Finding(check="engine", level=FAULT, told=f"{engine.name}: {error}", advice=advice)
    return Finding(check="engine", level=OK, told=f"{engine.name} answers")


def check_order(engine: Engine, queues: Sequence[str]) -> Iterator[Finding]:
    """Say where the engine can't keep the order of the queues, or of priorities."""
    able = engine.capabilities
    if not able.queue_order and len(queues) > 1:
        told = f"{engine.name} takes turns among {', '.join(queues)}: it keeps no strict order of queues"
        advice = f"give the first its own worker (faena worker --queues {queues[0]}), or use direct, which keeps it"
        yield Finding(check="engine: order", level=WARNING, told=told, advice=advice)
    if not able.priority:
        told = f"{engine.name} does not look at priorities within a queue: jobs go in the order they came"
        advice = "use queues for precedence, or direct, which knows both"
        yield Finding(check="engine: priority", level=WARNING, told=told, advice=advice)


def check_workers(
    processes: Sequence[WorkerInfo], counts: Sequence[Count], queues: Iterable[str], engine: Engine
) -> Iterator[Finding]:
    """Look for queues that nobody serves, waiting tasks that nobody knows, workers and servers on another engine."""
    workers = at_work(processes)
    waiting: dict[str, int] = {}
    for count in counts:
        if count.status in WAITING:
            waiting[count.queue] = waiting.get(count.queue, 0) + count.count
    served = {queue for worker in workers for queue in worker.queues}
    if workers:
        yield Finding(
            check="workers", level=OK, told=f"{len(workers)} at work, serving {', '.join(sorted(served))}"
        )
    else:
        level = FAULT if any(waiting.values()) else WARNING
        yield Finding(check="workers", level=level, told="none is at work", advice="start one: faena worker")
    for queue in sorted({*queues, *waiting} - served) if workers else ():
        yield _unserved(queue, waiting.get(queue, 0))
    for told in unlisted_tasks(workers, counts):
        advice = "start a worker whose application has it, or cancel those jobs (faena jobs --task …)"
        yield Finding(check="tasks", level=FAULT, told=told, advice=advice)
    for told in other_engines(processes, engine):
        yield Finding(check="engine: others", level=FAULT, told=told)


def check_pauses(paused: Iterable[Paused], counts: Sequence[Count]) -> Iterator[Finding]:
    """Look for pauses that somebody may have forgotten."""
    for one in forgotten(paused, counts):
        advice = f"{one.resume}, if it was forgotten"
        yield Finding(check="paused", level=WARNING, told=one.told, advice=advice)


def _unserved(queue: str, waiting: int) -> Finding:
    told = f"no worker serves the queue {queue}" + (f", where {_wait(waiting)}" if waiting else "")
    advice = f"start one: faena worker --queues {queue}"
    return Finding(check=f"queue {queue}", level=FAULT if waiting else WARNING, told=told, advice=advice)


def _wait(waiting: int) -> str:
    return f"{counted(waiting, 'job')} {'waits' if waiting == 1 else 'wait'}"
