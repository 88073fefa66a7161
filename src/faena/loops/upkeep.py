"""All the loops of a worker process, started and stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from faena.job import Job
from faena.loops.admit import Admit
from faena.loops.cron import Cron
from faena.loops.forever import forever
from faena.loops.promote import Deliver, Promote
from faena.loops.prune import Prune
from faena.loops.redeliver import Redeliver
from faena.loops.rescue import Rescue
from faena.making import Maker
from faena.ports.store import Store
from faena.timetable import Declared

END_WITHIN: Final = 1.0


class Upkeep:
    """What a worker does besides running jobs."""

    def __init__(
        self,
        store: Store,
        deliver: Deliver,
        *,
        lease: float,
        maker: Maker,
        redeliver: Redeliver | None,
        schedules: Sequence[Declared],
        app_ref: str,
        enabled: bool = True,
    ) -> None:
        """``redeliver`` is there for engines that deliver, None for the others; ``enabled`` False (QUEUE_ENABLED=0):
        schedules make no jobs. Raises `UnknownTask` and `InvalidArguments` for schedules whose job can't be made."""
        self._store = store
        self._deliver = deliver
        self._lease = lease
        self._maker = maker
        self._redeliver = redeliver
        self._admit = Admit(store, deliver)
        self._cron = Cron(
            store,
            deliver,
            maker=maker,
            declared=schedules,
            app_ref=app_ref,
            on_held_back=self._admit.nudged.set,
        )
        self._enabled = enabled
        self._ending = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, on the running loop."""
        self._running = [asyncio.create_task(loop) for loop in self._loops()]

    async def stop(self) -> None:
        """End, and wait a little for the steps that are under way."""
        self._ending.set()
        self._admit.nudged.set()
        if self._running:
            await asyncio.wait(self._running, timeout=END_WITHIN)

    def ended(self, job: Job) -> None:
        """An attempt was concluded: if it had a slot, another job may have it."""
        self._admit.nudge(limited=self._maker.takes_slots(job.task, job.queue))

    def _loops(self) -> list[Coroutine[Any, Any, None]]:
        loops = [
            self._forever("promote", Promote(self._store, self._deliver)),
            self._forever("rescue", Rescue(self._store, self._deliver, lease=self._lease)),
            self._forever("prune", Prune(self._store)),
        ]
        if self._enabled:
            loops.append(self._forever("cron", self._cron))
        if self._redeliver is not None:
            loops.append(self._forever("redeliver", self._redeliver))
            loops.append(self._forever("admit", self._admit, nudged=self._admit.nudged))
        return loops

    def _forever(
        self, name: str, step: Callable[[], Awaitable[float]], nudged: asyncio.Event | None = None
    ) -> Coroutine[Any, Any, None]:
        return forever(name, step, self._ending, nudged=nudged)
