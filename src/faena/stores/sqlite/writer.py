"""All writes of a process pass through here: those that wait together share one transaction and one fsync.

Statements run on the event loop, not in a thread: a batch takes a few microseconds a job, while a thread that
steps through statements fights the loop for Python's lock at every one (measured here: 4 µs a job alone, 1,800 µs
against a busy loop). Only the commit, where the disk is waited for, goes to a thread once the disk has shown that
it is slow. No write lock is ever held while the loop runs something else but that commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import apsw

from faena.errors import StoreDown
from faena.stores.sqlite.faults import as_faena_error
from faena.stores.sqlite.ledger import Ledger

Answer = TypeVar("Answer")
Verb = Callable[[Ledger], Answer]

PATIENCE: Final = 30.0
"""Seconds to wait for the write lock while other processes hold it."""
QUICK: Final = 0.001
"""Seconds: a disk whose commits take less is waited for on the loop."""


class Writer:
    """Runs verbs in transactions that many calls share."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        start: Callable[[apsw.Connection], float],
        committed: Callable[[Ledger], None],
        max_events: int,
    ) -> None:
        self._connection = connection
        self._start = start
        self._committed = committed
        self._max_events = max_events
        self._waiting: list[tuple[Verb[Any], asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "faena-commit")
        self._commit_time = QUICK  # the first commit shows what the disk can do

    async def __call__(self, verb: Verb[Answer]) -> Answer:
        """Run a verb in the next transaction; returns its answer once it is on the disk."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((verb, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await answer

    async def close(self) -> None:
        """Finish what was asked for."""
        if self._task is not None:
            await asyncio.wait([self._task])
        self._thread.shutdown(wait=True)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch: list[tuple[Verb[Any], asyncio.Future[Any]]] = []
                try:
                    await self._begin()
                    batch, self._waiting = self._waiting, []
                    ledger, answers = self._carry_out(batch)
                    await self._commit()
                except Exception as error:
                    self._roll_back()
                    batch = batch or self._take_all()
                    _settle(batch, [as_faena_error(error)] * len(batch))
                else:
                    _settle(batch, answers)
                    self._committed(ledger)
        finally:
            self._task = None

    def _take_all(self) -> list[tuple[Verb[Any], asyncio.Future[Any]]]:
        batch, self._waiting = self._waiting, []
        return batch

    async def _begin(self) -> None:
        """Take the write lock. Asks again and again without holding up the loop: SQLite has no queue for it."""
        give_up = time.monotonic() + PATIENCE
        pause = 0.0002
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except apsw.BusyError as error:
                if time.monotonic() > give_up:
                    raise StoreDown(
                        f"the database was locked by another process for {PATIENCE:g} s"
                    ) from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.005)

    def _carry_out(self, batch: list[tuple[Verb[Any], asyncio.Future[Any]]]) -> tuple[Ledger, list[Any]]:
        """Run each verb in a savepoint of its own: one that fails takes nothing with it."""
        connection, now = self._connection, self._start(self._connection)
        whole = Ledger(connection, now=now, max_events=self._max_events)
        answers: list[Any] = []
        for verb, _ in batch:
            connection.execute("SAVEPOINT verb")
            ledger = Ledger(connection, now=now, max_events=self._max_events)
            try:
                answer = verb(ledger)
                ledger.settle()
                answers.append(answer)
            except Exception as error:
                if not connection.in_transaction:  # a full disk ends the whole transaction
                    raise
                connection.execute("ROLLBACK TO verb")
                answers.append(as_faena_error(error))
            else:
                whole.absorb(ledger)
            connection.execute("RELEASE verb")
        whole.flush()
        return whole, answers

    async def _commit(self) -> None:
        started = time.perf_counter()
        if self._commit_time < QUICK:
            self._connection.execute("COMMIT")
        else:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._timed_commit)
            return
        self._commit_time += 0.1 * (time.perf_counter() - started - self._commit_time)

    def _timed_commit(self) -> None:
        started = time.perf_counter()
        self._connection.execute("COMMIT")
        self._commit_time += 0.1 * (time.perf_counter() - started - self._commit_time)

    def _roll_back(self) -> None:
        """Never raises: who waits for the batch must be told what went wrong first."""
        with contextlib.suppress(apsw.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _settle(batch: list[tuple[Verb[Any], asyncio.Future[Any]]], answers: list[Any]) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():  # its caller was cancelled meanwhile; the write happened all the same
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
