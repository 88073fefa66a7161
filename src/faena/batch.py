"""Calls that wait together travel together.

While one call of a store's verb is under way, later ones gather; when it returns, all that gathered go in one
call. No timers: an idle system answers at once, and a busy one makes batches as large as its load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from faena.errors import Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Call = tuple[Item, asyncio.Future[Answer]]


class Batch(Generic[Item, Answer]):
    """One verb of a store, for one item at a time; the calls of one event loop share its round trips.

    A call that fails has changed nothing, or can be repeated. So an item that the store refuses takes nothing with
    it: those that travelled together go once more, each alone.
    """

    def __init__(
        self, verb: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, limit: int = 500
    ) -> None:
        self._verb = verb
        self._limit = limit
        self._waiting: list[Call[Item, Answer]] = []
        self._sender: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Answer:
        """Send one item; returns its answer, or raises what was wrong with it, or with the store."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
                await self._carry(batch)
        finally:
            self._sender = None

    async def _carry(self, batch: Sequence[Call[Item, Answer]]) -> None:
        try:
            answers = await self._verb([item for item, _ in batch])
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, Unavailable):
                for one in batch:
                    await self._carry([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if (
                    not future.done()
                ):  # else its caller was cancelled meanwhile; the write happened all the same
                    future.set_result(answer)
