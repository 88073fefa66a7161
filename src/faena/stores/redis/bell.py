"""Hears what every instance publishes: that there is work in a queue, that there is something new in the event log.

One subscriber connection an instance. A ring can be lost while that connection is down: then waiting is short, and
when it is back everybody who waits looks again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection

from faena.stores.redis.faults import OURS

FEED: Final = ("feed",)
DEAF_WAIT: Final = 0.2
"""Seconds that one waits at most while nothing can be heard."""
QUIET: Final = 10.0
"""Seconds of silence after which the connection is asked whether it lives."""
LONGEST_PAUSE: Final = 1.0


def work_of(queue: str) -> tuple[str, ...]:
    """Return the name of the ring for work in a queue."""
    return ("work", queue)


class Bell:
    """Counts rings by their name, and wakes who waits for one."""

    def __init__(self, connect: Callable[[], AbstractConnection], *, root: str) -> None:
        self._make = connect
        self._root = root
        self._counts: dict[tuple[str, ...], int] = {}
        self._all = 0
        self._waiting: dict[asyncio.Future[None], frozenset[tuple[str, ...]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._hearing = False

    async def listen(self) -> None:
        """Begin to hear; returns when that is so, or when the first try failed."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        await self._tried.wait()

    def count(self, names: Collection[tuple[str, ...]]) -> int:
        """Return how often these rang. Note it before looking, then wait for a change."""
        return self._all + sum(self._counts.get(name, 0) for name in names)

    async def changed(self, names: Collection[tuple[str, ...]], since: int, wait: float) -> None:
        """Return when the count of ``names`` is no longer ``since``, after ``wait`` seconds at the latest."""
        if self.count(names) != since:
            return
        ring: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[ring] = frozenset(names)
        try:
            await asyncio.wait([ring], timeout=wait if self._hearing else min(wait, DEAF_WAIT))
        finally:
            self._waiting.pop(ring, None)

    async def close(self) -> None:
        """Stop hearing. Safe to repeat."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._wake_all()

    async def _run(self) -> None:
        pause = 0.05
        while True:
            connection = self._make()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("SUBSCRIBE", self._root + "feed", self._root + "work")
                for _ in range(2):
                    await connection.read_response()
                pause = 0.05
                self._hearing = True
                self._wake_all()
                self._tried.set()
                await self._hear(connection)
            except OURS:
                pass
            finally:
                self._hearing = False
                with contextlib.suppress(*OURS):
                    await connection.disconnect()
            self._tried.set()
            self._wake_all()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _hear(self, connection: AbstractConnection) -> None:
        asked = False
        while True:
            message = await connection.read_response(timeout=QUIET)  # None: silence
            if message is None:
                if asked:
                    return  # it is dead: connect anew
                asked = True
                await connection.send_command("PING", check_health=False)
            else:
                asked = False
                self._heard(message)

    def _heard(self, message: Any) -> None:
        if not isinstance(message, list) or message[0] != b"message":
            return
        feed = message[1].endswith(b"feed")
        name = FEED if feed else work_of(message[2].decode())
        self._counts[name] = self._counts.get(name, 0) + 1
        for ring, names in self._waiting.items():
            if name in names and not ring.done():
                ring.set_result(None)

    def _wake_all(self) -> None:
        self._all += 1
        for ring in self._waiting:
            if not ring.done():
                ring.set_result(None)
