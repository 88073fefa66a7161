"""An app whose tasks do what running must withstand, and a crew that runs them: a worker on a store in memory."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from faena import Cancelled, Context, Faena, Limits, Retry, Snooze
from faena.engines.direct import DirectEngine
from faena.job import Job, Status
from faena.ports.engine import Engine
from faena.ports.records import Story
from faena.ports.store import Store
from faena.settings import Settings
from faena.stores.memory import MemoryStore
from faena.stores.sqlite.store import SQLiteStore
from faena.testing.factories import JobFactory
from faena.worker import Worker, WorkerOptions

MIB = 1024 * 1024
app = Faena("crew", settings=Settings())


@app.task
async def add(a: int, b: int = 2) -> int:
    return a + b


@app.task
def plain_add(a: int, b: int = 2) -> int:
    return a + b


@app.task(min_backoff=0.01, max_backoff=0.02)
async def fails(times: int, ctx: Context) -> str:
    if ctx.attempt <= times:
        raise ValueError("not yet")
    return "done at last"


@app.task(retry_on=(KeyError,))
async def fails_otherwise() -> None:
    raise ValueError("not worth another try")


@app.task
async def asks_for_retry(ctx: Context) -> str:
    if ctx.attempt == 1:
        raise Retry("the server is busy", after=0.01)
    return "done"


@app.task
async def snoozes(ctx: Context) -> str:
    if ctx.checkpoint is None:
        ctx.save({"slept": True})
        raise Snooze(0.01, "too early")
    return "awake"


@app.task
async def exits(code: int) -> None:
    sys.exit(code)


@app.task
def plain_exits(code: int) -> None:
    sys.exit(code)


@app.task
async def returns_a_lock() -> object:
    return threading.Lock()


@app.task
async def returns_much(size: int) -> str:
    return "x" * size


@app.task
async def tells(ctx: Context, steps: int) -> None:
    for step in range(steps):
        ctx.emit("step", {"number": step})
    ctx.progress(70, "nearly")
    ctx.log("a line", level="warning", where="here")


@app.task
def plain_tells(ctx: Context, steps: int) -> None:
    for step in range(steps):
        ctx.emit("step", {"number": step})


@app.task
async def waits_for_ever(ctx: Context) -> None:
    ctx.progress(1, "waiting")
    await asyncio.Event().wait()


@app.task(timeout=0.05, grace=0.05, max_retries=0)
async def takes_too_long(clean_up: bool = False) -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if clean_up:
            return "cleaned up in time"
        raise
    return "never"


@app.task(timeout=0.05, grace=0.05, max_retries=0)
async def ignores_its_timeout(path: str) -> None:
    while not Path(path).exists():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)


class Gate:
    """Lets plain tasks of this process wait for a test."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.left = threading.Event()
        self.after: Callable[[Context], None] = lambda ctx: None
        self.raised: BaseException | None = None


gate = Gate()


def new_gate() -> Gate:
    """Give this test a gate of its own."""
    global gate
    gate = Gate()
    return gate


@app.task(max_retries=0, grace=0.05)
def passes_the_gate(ctx: Context) -> str:
    mine = gate
    mine.entered.set()
    mine.open.wait(30)
    try:
        mine.after(ctx)
    except BaseException as error:
        mine.raised = error
        raise
    finally:
        mine.left.set()
    return "passed"


@app.task(max_retries=0)
async def blocks_the_loop(ctx: Context) -> str:
    gate.entered.set()
    gate.open.wait(30)
    ctx.progress(50)
    return "never"


@app.task
async def heeds_cancellation(ctx: Context) -> None:
    while not ctx.cancelled:
        await asyncio.sleep(0.001)
    ctx.progress(1)


@app.task
async def finishes_all_the_same(ctx: Context) -> str:
    while not ctx.cancelled:
        await asyncio.sleep(0.001)
    return "its work was done"


@app.task
async def says_itself_cancelled() -> None:
    raise Cancelled("of my own accord")


# In child processes


@app.task(isolation="process", max_retries=0)
def child_add(a: int, b: int = 2) -> dict[str, int]:
    return {"sum": a + b, "pid": os.getpid()}


@app.task(isolation="process", max_retries=0)
async def child_async_add(a: int, b: int = 2) -> int:
    await asyncio.sleep(0)
    return a + b


@app.task(isolation="process", max_retries=0)
def child_tells(ctx: Context, steps: int) -> str:
    print("this goes to the worker's standard error, whatever it looks like \x00\x00\x00\x05hello")
    sys.stdout.flush()
    os.write(1, b"and this\n")
    for step in range(steps):
        ctx.emit("step", {"number": step, "big": 2**80})
    ctx.save({"steps": steps})
    ctx.progress(60, "told")
    return f"{ctx.job_id} {ctx.attempt}"


@app.task(isolation="process", max_retries=0, limits=Limits(memory=64 * MIB))
def child_eats_memory(megabytes: int) -> int:
    return len(bytearray(megabytes * MIB))


@app.task(isolation="process", max_retries=0, limits=Limits(cpu=1.0))
def child_spins() -> None:
    while True:
        pass


@app.task(isolation="process", max_retries=0, limits=Limits(files=10))
def child_opens_files(count: int) -> int:
    opened = [open(os.devnull) for _ in range(count)]
    for one in opened:
        one.close()
    return count


@app.task(isolation="process", max_retries=0)
def child_exits(code: int) -> None:
    os._exit(code)


@app.task(isolation="process", max_retries=0)
def child_raises(text: str) -> None:
    raise LookupError(text)


@app.task(isolation="process", max_retries=0)
def child_is_killed(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)
    time.sleep(30)


@app.task(isolation="process", max_retries=0, timeout=0.1, grace=0.1)
def child_sleeps_in_c(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(60)  # holds the interpreter's lock: nothing in the child can run


@app.task(isolation="process", max_retries=0, timeout=0.1, grace=10.0)
def child_cleans_up(ctx: Context) -> None:
    try:
        while True:
            time.sleep(0.001)
    except TimeoutError:
        ctx.log("cleaned up")
        raise


@app.task(isolation="process", max_retries=0)
def child_returns_much(size: int) -> str:
    return "x" * size


@app.task(isolation="process", max_retries=0)
def child_heeds_cancellation(ctx: Context) -> None:
    ctx.progress(1, "running")
    while True:
        ctx.check()
        time.sleep(0.001)


@app.task(isolation="process", max_retries=0)
def child_ignores_everything(ctx: Context) -> None:
    ctx.emit("pid", os.getpid())
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


class Crew:
    """A worker at work on a store, and what a test asks of both."""

    def __init__(self, store: Store, worker: Worker, running: asyncio.Task[None]) -> None:
        self.store = store
        self.worker = worker
        self.running = running
        self._jobs = JobFactory()

    async def enqueue(
        self, task: str, *, max_attempts: int | None = None, timeout: float | None = None, **args: Any
    ) -> str:
        """Store a job; returns its id."""
        found = app.tasks.get(task)
        attempts = max_attempts or (1 if found is None else found.options.max_retries + 1)
        body = b"{}" if found is None else found.dump_args(args)
        job = self._jobs.new(task=task, args=body, max_attempts=attempts, timeout=timeout)
        await self.store.insert([job])
        return job.id

    async def run(self, task: str, **options_and_args: Any) -> Job:
        """Store a job and wait for its end."""
        return await self.final(await self.enqueue(task, **options_and_args))

    async def final(self, job_id: str) -> Job:
        """Wait until a job has ended."""
        return await self.until(job_id, lambda story: story.job.status.final)

    async def until(self, job_id: str, true: Callable[[Story], bool]) -> Job:
        """Wait until something is true of a job and its events."""
        position = (await self.store.published(None, wait=0)).position
        async with asyncio.timeout(30):
            while True:
                story = await self.store.story(job_id)
                assert story is not None
                if true(story):
                    return story.job
                position = (await self.store.published(position, wait=5)).position

    async def started(self, job_id: str) -> Job:
        """Wait until a job runs and has told its first progress."""
        return await self.until(job_id, lambda story: story.job.progress > 0)

    async def processing(self, job_id: str) -> Job:
        """Wait until a job was claimed."""
        return await self.until(job_id, lambda story: story.job.status is Status.PROCESSING)

    async def events(self, job_id: str) -> list[Any]:
        """Return the task's own events and log lines of a job."""
        story = await self.store.story(job_id)
        assert story is not None
        return [event for event in story.events if event.type in ("event", "log")]


@contextlib.asynccontextmanager
async def crew(
    *, engine: Engine | None = None, store: MemoryStore | None = None, **options: Any
) -> AsyncIterator[Crew]:
    """Run a worker around a test. It is stopped at once in the end, if the test has not."""
    kept = store or MemoryStore()
    await kept.open()
    worker = Worker(
        tasks=app.tasks,
        store=kept,
        engine=engine or DirectEngine(),
        connect=kept.beside,
        options=WorkerOptions(**{"queues": ("default",), "threads": 4, "grace": 5.0, "lease": 5.0} | options),
        settings=app.settings,
        app_ref="crew_kit:app",
    )
    at_work = Crew(kept, worker, asyncio.create_task(worker.run()))
    try:
        yield at_work
    finally:
        worker.stop(now=True)
        await at_work.running
        await kept.close()


# In worker processes


def _mark(path: str, word: str) -> None:
    with open(path, "a") as file:
        file.write(f"{word}\n")


@app.task(max_retries=0)
async def waits_for_file(ctx: Context, log: str, end: str) -> str:
    ctx.progress(1)
    while not Path(end).exists():
        await asyncio.sleep(0.01)
    _mark(log, f"ended {ctx.job_id}")
    return "ended"


@app.task(max_retries=0)
def plain_waits_for_file(ctx: Context, end: str) -> str:
    ctx.progress(1)
    while not Path(end).exists():
        time.sleep(0.01)
    return "ended"


@app.task(max_retries=0)
async def blocks_until_file(ctx: Context, end: str) -> str:
    ctx.emit("blocking")
    await asyncio.sleep(0.1)
    while not Path(end).exists():
        time.sleep(0.01)
    return "ended"


@app.task(max_retries=3)
async def kills_its_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Process:
    """A worker process on a SQLite file, and a store on the same file."""

    def __init__(self, store: Store, process: asyncio.subprocess.Process) -> None:
        self.crew = Crew(store, None, None)  # type: ignore[arg-type]
        self.process = process

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        os.kill(self.process.pid, number)  # asyncio's own would reap a child that has just ended

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def process(path: Path, **options: float) -> AsyncIterator[Process]:
    """Run a worker process around a test."""
    store = SQLiteStore(path / "faena.db")
    await store.open()
    child = await asyncio.create_subprocess_exec(*command(path, **options), env=environment())
    try:
        yield Process(store, child)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
        await store.close()


def command(path: Path, **options: float) -> list[str]:
    """Return the command of a worker process."""
    script = str(Path(__file__).with_name("crew_process.py"))
    return [
        sys.executable,
        script,
        str(path / "faena.db"),
        *(f"{name}={value}" for name, value in options.items()),
    ]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
