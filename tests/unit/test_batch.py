"""Calls that travel together: what one of them does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from faena.batch import Batch
from faena.errors import StoreDown


class Verb:
    """Doubles numbers, refuses odd ones, and keeps what it was asked."""

    def __init__(self, *, down: bool = False) -> None:
        self.asked: list[list[int]] = []
        self._down = down

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.asked.append(list(items))
        await asyncio.sleep(0)
        if self._down:
            raise StoreDown("away")
        if any(item % 2 for item in items):
            raise ValueError("odd")
        return [item * 2 for item in items]


async def test_calls_that_wait_together_travel_together() -> None:
    verb = Verb()
    batch = Batch(verb)
    assert await asyncio.gather(*map(batch, [0, 2, 4])) == [0, 4, 8]
    assert verb.asked == [[0, 2, 4]]


async def test_an_item_that_is_refused_takes_nothing_with_it() -> None:
    answers = await asyncio.gather(*map(Batch(Verb()), [2, 3, 4]), return_exceptions=True)
    assert (answers[0], answers[2]) == (4, 8)
    assert isinstance(answers[1], ValueError)


async def test_a_store_that_is_away_is_asked_once_for_all() -> None:
    verb = Verb(down=True)
    answers = await asyncio.gather(*map(Batch(verb), [2, 4]), return_exceptions=True)
    assert all(isinstance(answer, StoreDown) for answer in answers)
    assert verb.asked == [[2, 4]]


async def test_a_caller_that_gives_up_disturbs_nobody() -> None:
    batch = Batch(Verb())
    first, second = asyncio.ensure_future(batch(2)), asyncio.ensure_future(batch(4))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 8
    with pytest.raises(asyncio.CancelledError):
        await first
