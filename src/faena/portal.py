"""From plain code, and from any event loop, to the one loop that owns the store's connection.

A portal is an event loop in a daemon thread, with a client of its own. It works in scripts, threads, notebooks
(where a loop is running already) and web endpoints, plain or async.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from time import monotonic
from typing import Final, TypeVar

from faena.client import Client
from faena.errors import FaenaError, Unavailable
from faena.locks import ProcessLock

T = TypeVar("T")
Connect = Callable[[], AbstractAsyncContextManager[Client]]
Request = Callable[[Client], Awaitable[T]]

CLOSE_WITHIN: Final = 5.0
"""Seconds that closing waits for calls under way, the last one of all at the interpreter's exit."""


class Portal:
    """A client on a loop in a thread of its own, opened at once; raises what opening raises."""

    def __init__(self, connect: Connect) -> None:
        self.pid = os.getpid()
        self._connect = connect
        self._loop = asyncio.new_event_loop()
        self._opened = threading.Event()
        self._fault: BaseException | None = None
        self._client: Client | None = None
        self._leave: asyncio.Event | None = None
        self._calls: set[asyncio.Task[object]] = set()
        self._closed = False
        self._gate = threading.Lock()
        """Between a call that begins and a close: what has begun is waited for, and nothing begins later."""
        self._thread = threading.Thread(target=self._run, name="faena-portal", daemon=True)
        self._thread.start()
        self._opened.wait()
        if self._fault is not None:
            raise self._fault
        atexit.register(self.close)

    def call(self, request: Request[T]) -> T:
        """Run ``request(client)`` on the portal's loop and block until it is done."""
        if threading.current_thread() is self._thread:
            raise FaenaError(
                "a blocking call from Faena's own loop would wait for itself: use the async one and await it"
            )
        future = self._begin(request)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # a Ctrl-C ends the request too; a finished one is not touched
            raise

    async def acall(self, request: Request[T]) -> T:
        """Run ``request(client)`` on the portal's loop, awaited from any loop."""
        return await asyncio.wrap_future(self._begin(request))

    @property
    def alive(self) -> bool:
        """False when closed, or in a process forked since (where the thread is not)."""
        return self.pid == os.getpid() and self._thread.is_alive() and not self._closed

    def close(self) -> None:
        """Let calls under way end, close the client and the store. Safe to repeat; does nothing in a forked child."""
        atexit.unregister(self.close)
        if not self.alive or threading.current_thread() is self._thread:
            return
        assert self._leave is not None
        with self._gate:
            self._closed = True
            self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(CLOSE_WITHIN)

    def _begin(self, request: Request[T]) -> Future[T]:
        with self._gate:
            if self._closed:
                raise Unavailable("Faena was closed while this call began: call again")
            return asyncio.run_coroutine_threadsafe(self._do(request), self._loop)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if self._opened.is_set():
                raise
            self._fault = error
        finally:
            self._opened.set()

    async def _serve(self) -> None:
        self._leave = asyncio.Event()
        async with self._connect() as self._client:
            self._opened.set()
            await self._leave.wait()
            if self._calls:
                await asyncio.wait(self._calls, timeout=CLOSE_WITHIN / 2)

    async def _do(self, request: Request[T]) -> T:
        call = asyncio.current_task()
        assert call is not None
        assert self._client is not None
        self._calls.add(call)
        try:
            return await request(self._client)
        finally:
            self._calls.discard(call)


class Portals:
    """One portal a process, made at the first call, and a new one after a fork or a close."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._current: Portal | None = None
        self._inherited: list[Portal] = []
        """Of the parent process: kept, since letting go of them would close its connections from here."""
        self._lock = ProcessLock()
        self._fault: FaenaError | None = None
        self._fault_at = 0.0
        """What the last opening failed with, and when, by the monotonic clock."""

    def get(self) -> Portal:
        """Return this process's portal. Threads that come while it is opened wait for the same end, be it a failure:
        where the store is down they do not try one after another."""
        portal, asked_at = self._current, monotonic()
        if portal is not None and portal.alive:
            return portal
        with self._lock.own():
            if self._current is None or not self._current.alive:
                if self._fault is not None and self._fault_at > asked_at:
                    raise self._fault
                self._replace()
            assert self._current is not None
            return self._current

    def close(self) -> None:
        """Close the portal, if there is one."""
        with self._lock.own():
            if self._current is not None and self._current.alive:
                self._current.close()
                self._current = None

    def _replace(self) -> None:
        if self._current is not None and self._current.pid != os.getpid():
            self._inherited.append(self._current)
        self._current = self._fault = None
        try:
            self._current = Portal(self._connect)
        except FaenaError as error:
            self._fault, self._fault_at = error, monotonic()
            raise
