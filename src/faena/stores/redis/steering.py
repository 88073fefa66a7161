"""Verbs that steer what waits: who may go now, pauses, changes, schedules, and why a job is not running."""

from __future__ import annotations

from collections.abc import Sequence

from faena.job import NewJob
from faena.ports.records import Changed, Inserted, Obstacles, Paused, Promoted
from faena.schedule import Schedule
from faena.stores.redis import schedules as kept
from faena.stores.redis.calls import Calls
from faena.stores.redis.rows import (
    Body,
    asked_of,
    deliveries_of,
    gate_of,
    inserted_of,
    jobs_of,
    pack,
)


class Steering(Calls):
    """A part of the store."""

    async def admit(self, *, limit: int) -> Promoted:
        blob, wait = await self._run("admit", limit, again=False)
        return Promoted(deliveries=tuple(deliveries_of(blob)), next_in=float(wait) if wait else None)

    async def change(
        self,
        job_id: str,
        *,
        priority: int | None = None,
        delay: float | None = None,
        due_at: float | None = None,
    ) -> Changed:
        asked = ("" if one is None else repr(one) for one in (priority, delay, due_at))
        changed, _, blob = await self._run("change", job_id, *asked, again=False)
        return Changed(job=jobs_of(blob)[0] if blob else None, changed=bool(changed))

    async def pause(self, *, queue: str | None = None, task: str | None = None) -> bool:
        return bool(await self._run("pause", _named(queue, task), again=False))

    async def resume(self, *, queue: str | None = None, task: str | None = None) -> bool:
        return bool(await self._run("resume", _named(queue, task), again=False))

    async def paused(self) -> list[Paused]:
        answer = await self._run("paused")
        several = [
            _paused(name.decode(), float(at)) for name, at in zip(answer[::2], answer[1::2], strict=True)
        ]
        return sorted(several, key=lambda one: (one.at, one.queue or "", one.task or ""))

    async def obstacles(self, job_id: str) -> Obstacles | None:
        answer = await self._run("obstacles", job_id)
        if answer is None:
            return None
        now, due, queue_paused, task_paused, gate, opens, holders, ahead, delivered = answer
        return Obstacles(
            due_in=max(0.0, float(due) - float(now)) if due else None,
            queue_paused=bool(queue_paused),
            task_paused=bool(task_paused),
            gate=gate_of(gate) if gate else None,
            opens_in=max(0.0, float(opens) - float(now)) if opens else None,
            holders=tuple(holder.decode() for holder in holders),
            ahead=ahead,
            delivered_ago=max(0.0, float(now) - float(delivered)) if delivered else None,
        )

    async def put_schedules(self, schedules: Sequence[Schedule]) -> None:
        if schedules:
            await self._run("put_schedules", kept.asked_of(schedules))

    async def schedules(self) -> list[Schedule]:
        answer = await self._run("schedules")
        pairs = zip(answer[::2], answer[1::2], strict=True)
        return sorted(
            (kept.schedule_of(name.decode(), packed) for name, packed in pairs),
            key=lambda schedule: schedule.name,
        )

    async def tick(
        self, name: str, *, at: float, next_at: float | None, jobs: Sequence[NewJob], missed: int = 0
    ) -> list[Inserted] | None:
        bodies = [pack(Body(timeout=new.timeout, args=new.args)) for new in jobs]
        asked = (name, repr(at), "" if next_at is None else repr(next_at), missed)
        answer = await self._run(
            "tick", self._ttls[0], *asked, pack([asked_of(new) for new in jobs]), *bodies, again=False
        )
        return None if answer is None else inserted_of(jobs, answer)

    async def steer_schedule(
        self, name: str, *, paused: bool | None = None, next_at: float | None = None
    ) -> Schedule | None:
        asked = ("" if paused is None else int(paused), "" if next_at is None else repr(next_at))
        packed = await self._run("steer_schedule", name, *asked)
        return None if packed is None else kept.schedule_of(name, packed)

    async def drop_schedules(self, names: Sequence[str]) -> int:
        return int(await self._run("drop_schedules", pack(names), again=False))


def _named(queue: str | None, task: str | None) -> str:
    if (queue is None) == (task is None):
        raise ValueError("name a queue or a task, not both")
    return f"q{queue}" if task is None else f"t{task}"


def _paused(name: str, at: float) -> Paused:
    kind, rest = name[0], name[1:]
    return Paused(queue=rest, at=at) if kind == "q" else Paused(task=rest, at=at)
