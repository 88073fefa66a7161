"""What ``faena doctor`` notices."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from faena.cli import checks
from faena.cli.checks import (
    check_directory,
    check_engine,
    check_extras,
    check_order,
    check_pauses,
    check_store,
    check_workers,
)
from faena.engines.direct import DirectEngine
from faena.engines.huey import HueyEngine
from faena.errors import EngineDown
from faena.job import Status
from faena.ports.engine import Capabilities
from faena.ports.records import Count, Paused, StoreHealth, WorkerInfo


def worker(**given: Any) -> WorkerInfo:
    defaults: dict[str, Any] = {
        "id": "w1",
        "host": "here",
        "pid": 1,
        "engine": "direct",
        "queues": ("default",),
        "slots": 1,
        "version": "0",
        "started_at": 0.0,
    }
    return WorkerInfo(**defaults | given)


def waiting(queue: str, count: int) -> Count:
    return Count(queue=queue, task="t", status=Status.PENDING, count=count)


def levels(findings: Any) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    return path


def free(monkeypatch: pytest.MonkeyPatch, amount: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=amount))


def test_a_private_directory_with_room_is_well(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 10**12)
    assert levels(check_directory("data", directory)) == {"data": "ok", "data: room": "ok"}
    assert list(directory.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_a_directory_that_is_open_to_others_is_warned_about(directory: Path) -> None:
    directory.chmod(0o755)
    (finding, *_) = check_directory("data", directory)
    assert finding.level == "warning"
    assert finding.advice.startswith(f"chmod 700 {directory}")


@pytest.mark.parametrize(("amount", "level"), [(10**9, "ok"), (10**9 - 1, "warning"), (10**8 - 1, "fault")])
def test_little_room_is_noticed(
    directory: Path, monkeypatch: pytest.MonkeyPatch, amount: int, level: str
) -> None:
    free(monkeypatch, amount)
    assert levels(check_directory("data", directory))["data: room"] == level


def test_a_network_file_system_is_a_fault(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    mounts = [("/", "ext4"), (str(directory.parent), "nfs4"), (str(directory / "below"), "ext4")]
    partitions = [SimpleNamespace(mountpoint=point, fstype=kind) for point, kind in mounts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: partitions)
    assert levels(check_directory("data", directory))["data: file system"] == "fault"


def test_a_clock_that_differs_is_noticed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = time.time() + 60
    monkeypatch.setattr(checks.time, "time", lambda: ahead)
    finding = next(found for found in check_directory("data", directory) if found.check == "data: clock")
    assert "60 s apart" in finding.told


def test_an_extra_that_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda module: None)
    advices = [found.advice.partition(",")[0] for found in check_extras()]
    extras = ("redis", "huey", "dramatiq", "celery", "rq", "arq", "rabbitmq", "media")
    assert advices == [f"pip install 'faena[{extra}]'" for extra in extras]


class Healthy:
    """A store with nothing but its health."""

    def __init__(self, **given: Any) -> None:
        self.health = StoreHealth(**{"name": "sqlite", "version": "3.54.1", "location": "x"} | given)

    async def check(self) -> StoreHealth:
        return self.health


@pytest.mark.parametrize(
    ("version", "told"), [("3.51.3", False), ("3.51.2", True), ("3.40.1", True), ("4.0", False)]
)
async def test_an_old_sqlite_is_a_fault(version: str, told: bool) -> None:
    findings = await check_store(Healthy(version=version))  # type: ignore[arg-type]
    assert ("store: version" in levels(findings)) is told


async def test_what_the_store_warns_of_is_passed_on() -> None:
    findings = await check_store(Healthy(warnings=("the disk is slow",)))  # type: ignore[arg-type]
    assert [finding.told for finding in findings if finding.level == "warning"] == ["the disk is slow"]


def test_an_engine_that_does_not_answer_is_a_fault() -> None:
    def ping() -> None:
        raise EngineDown("nobody there")

    finding = check_engine(SimpleNamespace(name="huey", ping=ping))  # type: ignore[arg-type]
    assert (finding.level, finding.told) == ("fault", "huey: nobody there")


def test_no_worker_is_a_fault_only_when_jobs_wait() -> None:
    assert levels(check_workers([], [], ["default"], DirectEngine())) == {"workers": "warning"}
    assert levels(check_workers([], [waiting("default", 1)], ["default"], DirectEngine())) == {
        "workers": "fault"
    }


def test_a_queue_that_nobody_serves_is_a_fault_when_jobs_wait_in_it() -> None:
    found = [
        *check_workers(
            [worker()], [waiting("media", 2), waiting("default", 1)], ["default", "idle"], DirectEngine()
        )
    ]
    assert levels(found) == {"workers": "ok", "queue idle": "warning", "queue media": "fault"}
    assert found[-1].advice == "start one: faena worker --queues media"


def test_a_worker_on_another_engine_is_a_fault() -> None:
    found = [*check_workers([worker(engine="huey")], [], ["default"], DirectEngine())]
    assert [finding.level for finding in found] == ["ok", "fault"]
    assert found[1].told == (
        "worker w1 runs huey, and here jobs are left in the store for direct workers: it finds them seconds later, "
        "when they are delivered again. Start all of them with the same FAENA_ENGINE"
    )


def test_a_direct_worker_that_sees_no_messages_is_told_of(tmp_path: Path) -> None:
    found = [*check_workers([worker()], [], ["default"], HueyEngine(tmp_path))]
    assert "sees no message of huey, and they pile up there" in found[1].told


def test_a_pause_that_may_be_forgotten_is_a_warning_with_the_command_that_ends_it() -> None:
    ages = {"media": 7200, "short": 60, "empty": 7200}
    paused = [Paused(queue=name, at=time.time() - age) for name, age in ages.items()]
    paused.append(Paused(task="a task", at=time.time() - 90000))
    counts = [
        waiting("media", 2),
        waiting("short", 5),
        Count(queue="default", task="a task", status=Status.PENDING, count=1),
        Count(queue="empty", task="t", status=Status.SCHEDULED, count=1),
    ]
    media, task = check_pauses(paused, counts)
    assert (media.level, media.advice) == ("warning", "faena resume media, if it was forgotten")
    assert media.told.startswith("the queue media is paused since ")
    assert media.told.endswith("(2 h ago), and 2 jobs wait behind it")
    assert task.told.startswith("the task a task is paused since ")
    assert task.told.endswith("(25 h ago), and 1 job waits behind it")
    assert task.advice == "faena resume --task 'a task', if it was forgotten"


def test_an_engine_that_can_not_keep_an_order_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = DirectEngine()
    assert [*check_order(engine, ["high", "default"])] == []
    unable = Capabilities(delivers=True, queue_order=False, priority=False, separate_processes=True)
    monkeypatch.setattr(engine, "capabilities", unable)
    assert levels(check_order(engine, ["high", "default"])) == {
        "engine: order": "warning",
        "engine: priority": "warning",
    }
    assert levels(check_order(engine, ["default"])) == {"engine: priority": "warning"}
