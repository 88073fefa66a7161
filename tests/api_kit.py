"""A small Faena for tests of the API: tasks, a memory store whose jobs are driven by hand, a client, a server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
from fastapi import FastAPI
from pydantic import BaseModel

from faena import Context, Faena
from faena.api.app import create_app
from faena.api.server import ApiServer, make_server
from faena.client import Client
from faena.engines.direct import DirectEngine
from faena.events import EventType, NewEvent
from faena.job import Failure, Job, Outcome, Step
from faena.packs.demo import pack as demo
from faena.ports.records import Report, WorkerInfo
from faena.ports.store import Store, StoreOptions
from faena.settings import Settings
from faena.stores.memory import MemoryStore
from faena.task import JobRequest
from faena.wiring import Selection

UNKNOWN = "018f0000-0000-7000-8000-00000000ffff"


class Address(BaseModel):
    """A type of its own, for the schemas."""

    street: str
    number: int = 1


def make_tasks() -> Faena:
    """Return an app with three tasks and the demo pack."""
    app = Faena(name="kit")

    @app.task(topic="sums")
    async def add(a: int, b: int = 0) -> int:
        """Add two numbers."""
        return a + b

    @app.task(queue="media", max_retries=0, topic="media")
    async def thumbnail(ctx: Context, media_id: int, size: int = 300) -> dict[str, int]:
        return {"media_id": media_id, "size": size}

    @app.task(name="ship.to")
    async def ship(address: Address, weights: list[float]) -> None: ...

    app.include(demo)
    return app


class Kit:
    """A client, its store, and hands that play the worker."""

    def __init__(self, store: Store | None = None) -> None:
        self.app = make_tasks()
        self.store: Store = store or MemoryStore(options=StoreOptions())
        self.client = Client(self.store, DirectEngine(), self.app.tasks)
        self.settings = Settings()
        self.selection = Selection(store="memory", engine="direct", reason="the test chose")
        self.reports: dict[str, int] = {}
        self.tokens: dict[str, int] = {}

    @property
    def api(self) -> FastAPI:
        """A fresh application."""
        return create_app(client=self.client, app=self.app, settings=self.settings, selection=self.selection)

    def listen_again(self) -> None:
        """Take a new client: a server that stops ends the streams of the one before."""
        self.client = Client(self.store, DirectEngine(), self.app.tasks)

    async def enqueue(self, task: str = "add", *, args: dict[str, Any] | None = None, **options: Any) -> Job:
        inserted = await self.client.enqueue(JobRequest(task=task, args=args or {"a": 1}, **options))
        return inserted.job

    async def claim(self, job_id: str) -> None:
        """Begin an attempt."""
        [claim] = await self.store.claim([job_id], worker="w", lease=60, request=f"claim {job_id}")
        self.tokens[job_id] = claim.job.token

    async def start(self, task: str = "add", **options: Any) -> Job:
        """Return a job that runs."""
        job = await self.enqueue(task, **options)
        await self.claim(job.id)
        return job

    async def progress(self, job_id: str, percent: float, message: str | None = None) -> None:
        await self._report(job_id, progress=percent, message=message)

    async def emit(self, job_id: str, *names: str, data: Any = None) -> None:
        """Tell events of these names, all in one report."""
        events = tuple(NewEvent(type=EventType.EVENT, event=name, data=data) for name in names)
        await self._report(job_id, events=events)

    async def log(self, job_id: str, message: str) -> None:
        await self._report(job_id, events=(NewEvent(type=EventType.LOG, event="info", message=message),))

    async def complete(self, job_id: str, result: Any = None) -> None:
        await self._finish(job_id, Step.COMPLETE, result=msgspec.json.encode(result))

    async def fail(self, job_id: str, message: str = "it broke") -> None:
        failure = Failure(type="ValueError", message=message, traceback="Traceback …")
        await self._finish(job_id, Step.FAIL, error=failure)

    async def beat(self, *queues: str, engine: str = "direct", tasks: tuple[str, ...] = ()) -> None:
        """Let a worker be alive."""
        worker = WorkerInfo(
            id="w", host="here", pid=1, engine=engine, queues=queues or ("default",), slots=8,
            version="0", started_at=0.0, running=("x",), memory=1, tasks=tasks,
        )  # fmt: skip
        await self.store.beat(worker, ttl=60)

    async def _report(self, job_id: str, **parts: Any) -> None:
        number = self.reports[job_id] = self.reports.get(job_id, 0) + 1
        [held] = await self.store.report(
            [Report(job_id=job_id, token=self.tokens[job_id], number=number, **parts)]
        )
        assert held.held

    async def _finish(self, job_id: str, step: Step, **parts: Any) -> None:
        outcome = Outcome(job_id=job_id, token=self.tokens[job_id], step=step, **parts)
        assert await self.store.finish([outcome]) == [True]


@contextlib.asynccontextmanager
async def opened(kit: Kit) -> AsyncIterator[Kit]:
    """Open a kit's store, and close everything at the end."""
    await kit.store.open()
    try:
        yield kit
    finally:
        await kit.client.close()
        await kit.store.close()


def http(api: FastAPI) -> httpx.AsyncClient:
    """Return a client that calls the application in this process."""
    transport = httpx.ASGITransport(app=api, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


class Running:
    """A real server in this loop."""

    def __init__(self, server: ApiServer, port: int) -> None:
        self.server = server
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"


@contextlib.asynccontextmanager
async def serving(api: FastAPI, *, port: int = 0) -> AsyncIterator[Running]:
    """Serve an application on loopback. It takes connections from the first moment on."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        taken = listening.getsockname()[1]
        server = make_server(api, host="127.0.0.1", port=taken)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield Running(server, taken)
        finally:
            server.should_exit = True
            await running
