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

    room = ahead = 0

    async def change(self) -> None:
        await asyncio.Event().wait()

    def changed(self) -> None: ...

    def take(self, *_: object) -> None:
        raise AssertionError


class Busy(Nobody):
    """A crew of short jobs: it has room for eight, and lets eight more be on their way."""

    room = ahead = 8


def hands_on(loop: asyncio.AbstractEventLoop, crew: Crew | None = None) -> LoopHands:
    crew = crew or Nobody()

    async def make() -> LoopHands:
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


def test_while_jobs_are_short_some_are_read_while_others_are_on_their_way_and_no_more_than_that() -> None:
    loop = asyncio.new_event_loop()
    hands = hands_on(loop, Busy())
    rooms = []
    for _ in range(4):
        rooms.append(hands.room(0.0) if len(rooms) < 2 else hands._room())
        hands.take([f"job-{len(rooms)}-{number}" for number in range(rooms[-1])])
    loop.close()
    assert rooms == [8, 8, 0, 0]
