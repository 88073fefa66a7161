"""The portal: one loop a process, reached from anywhere."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from user_fakes import MemoryWiring, memory_app

from faena import Faena
from faena.client import Client
from faena.errors import FaenaError, StoreDown, Unavailable
from faena.portal import Portal


def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def wired() -> Any:
    app, wiring = memory_app()
    app.task(double)
    yield app, wiring
    app.close()


async def current_thread(client: Client) -> threading.Thread:
    return threading.current_thread()


def test_many_threads_share_one_portal(wired: tuple[Faena, MemoryWiring]) -> None:
    app, wiring = wired
    together = threading.Barrier(8)

    def enqueue(number: int) -> str:
        together.wait(10)
        return app.tasks["double"].enqueue(number=number).id

    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(enqueue, range(8)))
    assert len(ids) == 8
    assert wiring.opened == 1


FIRST_USE = """
import threading
from faena import Faena

app = Faena()
together = threading.Barrier(16)
{what}
got = []

def use() -> None:
    together.wait(20)
    got.append(first())

threads = [threading.Thread(target=use) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize(
    ("what", "then"),
    [
        (
            "@app.task\ndef job() -> None: ...\nfirst = lambda: job.enqueue().id",
            "print(len(set(map(app.get, got))), [one.name for one in threading.enumerate()].count('faena-portal'))",
        ),
        ("first = lambda: app.make_store()._ledger", "print(len(got), len(set(map(id, got))))"),
    ],
    ids=["portal", "store"],
)
def test_threads_that_come_for_the_first_time_together_get_the_same(what: str, then: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FIRST_USE.format(what=what) + then],
        capture_output=True,
        text=True,
        env={**os.environ, "FAENA_STORE": "memory", "FAENA_ENGINE": "direct"},
        timeout=60,
    )
    assert (ran.stdout, ran.returncode) == ("16 1\n", 0), ran.stderr
    assert ran.stderr.count("The memory store forgets") == 1


async def test_a_blocking_call_works_where_a_loop_is_running(wired: tuple[Faena, MemoryWiring]) -> None:
    job = wired[0].tasks["double"].enqueue(number=1)
    assert wired[0].get(job.id).id == job.id


def test_async_calls_come_from_any_loop(wired: tuple[Faena, MemoryWiring]) -> None:
    app, wiring = wired
    first = asyncio.run(app.tasks["double"].aenqueue(number=1))
    second = asyncio.run(app.tasks["double"].aenqueue(number=2))
    assert first.id < second.id
    assert wiring.opened == 1


def test_the_loop_is_in_a_daemon_thread(wired: tuple[Faena, MemoryWiring]) -> None:
    thread = wired[0]._portal().call(current_thread)
    assert thread.daemon
    assert thread is not threading.current_thread()


def test_a_blocking_call_on_faenas_own_loop_is_refused(wired: tuple[Faena, MemoryWiring]) -> None:
    app, _ = wired

    async def inside(client: Client) -> object:
        return app.tasks["double"].enqueue(number=1)

    with pytest.raises(FaenaError, match="would wait for itself"):
        app._portal().call(inside)


def test_closing_lets_go_and_the_next_call_opens_again(wired: tuple[Faena, MemoryWiring]) -> None:
    app, wiring = wired
    first = app._portal()
    app.close()
    assert wiring.engine.closed
    assert not first.alive
    app.close()
    app.tasks["double"].enqueue(number=1)
    assert wiring.opened == 2


def test_closing_waits_for_what_has_begun(wired: tuple[Faena, MemoryWiring]) -> None:
    app, _ = wired
    portal = app._portal()
    begun = threading.Event()

    async def slow(client: Client) -> str:
        begun.set()
        while portal.alive:
            await asyncio.sleep(0)
        return "done"

    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(portal.call, slow)
        assert begun.wait(10)
        app.close()
        assert answer.result(10) == "done"


def test_a_call_on_a_closed_portal_is_refused(wired: tuple[Faena, MemoryWiring]) -> None:
    portal = wired[0]._portal()
    portal.close()
    with pytest.raises(Unavailable, match="call again"):
        portal.call(current_thread)


def test_what_opening_raises_reaches_the_caller_and_the_next_call_tries_again() -> None:
    app, wiring = memory_app()
    app.task(double)
    wiring.store, working = Broken(), wiring.store
    with pytest.raises(StoreDown, match="no such disk"):
        app.tasks["double"].enqueue(number=1)
    wiring.store = working
    assert app.tasks["double"].enqueue(number=1).id
    app.close()


def test_threads_that_come_while_it_is_opened_fail_together_and_not_one_after_another() -> None:
    app, wiring = memory_app()
    app.task(double)
    wiring.store = hanging = Hanging()
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(lambda: app.tasks["double"].enqueue(number=1)) for _ in range(4)]
        assert hanging.asked.wait(10)
        until_waiting(app, 3)
        hanging.go_on.set()
        for call in calls:
            assert isinstance(call.exception(10), StoreDown)
    assert wiring.opened == 1


class Broken:
    def beside(self) -> Broken:
        return self

    async def open(self) -> None:
        raise StoreDown("no such disk")

    async def close(self) -> None: ...


class Hanging(Broken):
    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    async def open(self) -> None:
        self.asked.set()
        await asyncio.to_thread(self.go_on.wait, 10)
        raise StoreDown("it hangs")


def until_waiting(app: Faena, count: int) -> None:
    """Return when ``count`` threads wait for the portal that is being opened."""
    deadline = time.monotonic() + 10
    portals = app._portals
    assert portals is not None
    while (
        sum(1 for frame in sys._current_frames().values() if frame.f_code is portals.get.__func__.__code__)
        < count
    ):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


async def test_a_cancelled_await_cancels_its_call(wired: tuple[Faena, MemoryWiring]) -> None:
    portal = wired[0]._portal()
    begun, ended = threading.Event(), threading.Event()

    async def forever(client: Client) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(portal.acall(forever))
    await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(ended.wait, 10)


def test_an_error_of_a_call_reaches_its_caller(wired: tuple[Faena, MemoryWiring]) -> None:
    async def wrong(client: Client) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wired[0]._portal().call(wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are a matter of POSIX")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_gets_a_portal_of_its_own(wired: tuple[Faena, MemoryWiring]) -> None:
    app, wiring = wired
    app.tasks["double"].enqueue(number=1)
    parent = app._portal()
    child = os.fork()
    if child == 0:  # pragma: no cover (in the child)
        try:
            app.tasks["double"].enqueue(number=2)
            parent.close()
            own = app._portal()
            os._exit(0 if own is not parent and own.alive and wiring.opened == 2 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert app._portal() is parent
    assert app.tasks["double"].enqueue(number=3).id


def test_at_exit_what_was_opened_is_closed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            from user_fakes import memory_app, KeepingEngine

            app, wiring = memory_app()
            wiring.engine.close = lambda: print("closed")

            @app.task
            def job() -> None: ...

            print(job.enqueue().status)
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    ran = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (ran.stdout.split(), ran.stderr, ran.returncode) == (["pending", "closed"], "", 0)


def test_a_script_on_the_embedded_store_ends_without_a_word(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            from faena import Faena

            app = Faena()

            @app.task
            def job() -> None: ...

            print(job.enqueue().status)
        """)
    )
    settings = {"FAENA_STORE": "sqlite", "FAENA_ENGINE": "direct", "FAENA_DATA_DIR": str(tmp_path / "data")}
    ran = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
        cwd=tmp_path,
        timeout=60,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("pending\n", "", 0)


def test_opening_is_of_the_portals_own_loop() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    @asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        loops.append(asyncio.get_running_loop())
        yield object()
        loops.append(asyncio.get_running_loop())

    async def loop_of(client: Client) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    portal = Portal(connect)
    loops.append(portal.call(loop_of))
    portal.close()
    assert len(set(loops)) == 1
    assert len(loops) == 3
