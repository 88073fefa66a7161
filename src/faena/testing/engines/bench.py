"""A store, a transport and workers around it, in this process: what the worker part of the suite drives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from faena.client import Client
from faena.job import Job, Status
from faena.ports.engine import Engine
from faena.ports.store import Store
from faena.settings import Settings
from faena.task import JobRequest
from faena.testing.engines.base import PATIENCE, Transport
from faena.testing.witness import Witness, app

LEASE = 1.0
REDELIVER_AFTER = 0.5


class Bench:
    """Open with `opened_bench`. Jobs are enqueued through ``client``; every worker has a store of its own."""

    def __init__(
        self, transport: Transport, make_store: Callable[[], Store], client: Client, witness: Witness
    ) -> None:
        self.transport = transport
        self.client = client
        self.witness = witness
        self._make_store = make_store

    @property
    def engine(self) -> Engine:
        """The client's engine."""
        return self.client.engine

    async def enqueue(self, task: str = "note", **options: Any) -> Job:
        """Enqueue one job; ``name`` and ``seconds`` are its arguments, all else its options."""
        args: dict[str, object] = {key: options.pop(key) for key in ("name", "seconds") if key in options}
        inserted = await self.client.enqueue(JobRequest(task=task, args=args, **options))
        return inserted.job

    async def ended(self, job: Job) -> Job:
        """Return a job once it has ended."""
        return await self.client.wait(job.id, PATIENCE)

    async def completed(self, job: Job) -> Job:
        """Return a job once it has ended, as it should."""
        ended = await self.ended(job)
        assert ended.status is Status.COMPLETED, ended
        return ended

    async def begun(self, name: str, times: int = 1) -> None:
        """Return once a job has begun so many attempts."""
        await self.until(lambda: len(self.witness.sights(name)) >= times, f"{name} to begin {times} times")

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Return as soon as ``holds()``; fail after a while, saying what was waited for."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not holds():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"waited {PATIENCE:g} s in vain: {what}") from None

    @asynccontextmanager
    async def worker(
        self, *, queues: tuple[str, ...] = ("high", "default", "low"), threads: int = 4, lease: float = LEASE
    ) -> AsyncIterator[None]:
        """Run a worker for the length of an ``async with``."""
        from faena.worker import Worker, WorkerOptions

        store, engine = self._make_store(), self.transport.engine()
        await store.open()
        worker = Worker(
            tasks=app.tasks,
            store=store,
            engine=engine,
            connect=self._make_store,
            options=WorkerOptions(
                queues=queues, threads=threads, lease=lease, grace=5.0, redeliver_after=REDELIVER_AFTER
            ),
            settings=Settings.load(),
            app_ref="faena.testing.witness:app",
        )
        running = asyncio.create_task(worker.run())
        try:
            yield
            assert not running.done(), f"the worker ended by itself: {running}"
        finally:
            worker.stop()
            try:
                await asyncio.wait_for(running, PATIENCE)
            finally:
                await store.close()
                engine.close()


@asynccontextmanager
async def opened_bench(transport: Transport, directory: Path, witness: Witness) -> AsyncIterator[Bench]:
    """Make a bench on the transport's store, with ``directory`` for what it keeps in files."""

    def make_store() -> Store:
        return transport.make_store(directory)

    async with AsyncExitStack() as stack:
        store, engine = make_store(), transport.engine()
        await store.open()
        stack.push_async_callback(store.close)
        stack.callback(engine.close)
        client = Client(store, engine, app.tasks)
        stack.push_async_callback(client.close)
        yield Bench(transport, make_store, client, witness)
