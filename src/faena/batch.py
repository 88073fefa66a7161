"""Calls that wait together travel together.

While one call of a store's verb is under way, later ones gather; when it returns, all that gathered go in one
call. No timers: an idle system answers at once, and a busy one makes batches as large as its load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batch(Generic[Item, Answer]):
    """One verb of a store, for one item at a time; the calls of one event loop share its round trips."""

    def __init__(
        self, verb: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, limit: int = 500
    ) -> None:
        self._verb = verb
        self._limit = limit
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Answer:
        """Send one item; returns its answer, or raises what the call that carried it raised."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
                try:
                    answers = await self._verb([item for item, _ in batch])
                except Exception as error:
                    self._settle(batch, error=error)
                else:
                    self._settle(batch, answers=answers)
        finally:
            self._sender = None

    @staticmethod
    def _settle(
        batch: Sequence[tuple[Item, asyncio.Future[Answer]]],
        *,
        answers: Sequence[Answer] = (),
        error: Exception | None = None,
    ) -> None:
        for position, (_, future) in enumerate(batch):
            if future.done():  # its caller was cancelled meanwhile; the write happened all the same
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(answers[position])
