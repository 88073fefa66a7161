"""The worker's hands, when the worker is no more."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from faena.claims import Claims, Crew
from faena.hands import LoopHands
from faena.stores.memory import MemoryStore


class Nobody:
    """A crew that takes nothing."""

    room = 0

    async def change(self) -> None:
        await asyncio.Event().wait()

    def changed(self) -> None: ...

    def take(self, *_: object) -> None:
        raise AssertionError


def hands_on(loop: asyncio.AbstractEventLoop) -> LoopHands:
    async def make() -> LoopHands:
        crew: Crew = Nobody()
        return LoopHands(MemoryStore(), crew, Claims("w", 5.0))

    return loop.run_until_complete(make())


def test_a_thread_that_waits_for_an_attempt_is_let_go_when_the_loop_ends() -> None:
    loop = asyncio.new_event_loop()
    hands = hands_on(loop)
    handed_over = threading.Event()
    hand_over = loop.call_soon_threadsafe

    def tell(*call: Any) -> asyncio.Handle:
        handle = hand_over(*call)
        handed_over.set()
        return handle

    loop.call_soon_threadsafe = tell  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=hands.run, args=("a-job",), daemon=True)
    thread.start()
    assert handed_over.wait(5)
    loop.close()
    thread.join(5)
    assert not thread.is_alive()


def test_what_comes_after_the_loop_has_ended_is_let_fall_in_silence() -> None:
    loop = asyncio.new_event_loop()
    hands = hands_on(loop)
    loop.close()
    hands.take(["a-job"])
    hands.run("another")
