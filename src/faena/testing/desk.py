"""A desk with a store on it: short ways to bring jobs to where a test wants them."""

from __future__ import annotations

from typing import Any

from faena.events import Event, EventType, Told
from faena.job import Failure, Job, NewJob, Outcome, Status, Step
from faena.ports.records import Claim, Count, Held, Inserted, Lease, Obstacles, Query, Report
from faena.ports.store import Store
from faena.testing.clock import FakeClock
from faena.testing.factories import JobFactory

LEASE = 10.0
"""Seconds of every lease that a test takes without saying how long."""

BOOM = Failure(type="ValueError", message="boom", traceback="Traceback…")


class Desk:
    """One open store, its clock, and a factory of jobs. ``store`` is there for every verb that has no short way."""

    def __init__(self, store: Store, clock: FakeClock, jobs: JobFactory) -> None:
        self.store = store
        self.clock = clock
        self.jobs = jobs

    def request(self) -> str:
        """Return a request id that was not used before."""
        return f"request-{self.jobs.id()}"

    async def insert(self, *jobs: NewJob) -> list[Job]:
        """Store jobs and return them."""
        return [inserted.job for inserted in await self.store.insert(jobs)]

    async def enqueue(self, **options: Any) -> Job:
        """Store one new job."""
        return (await self.insert(self.jobs.new(**options)))[0]

    async def ask(self, **options: Any) -> Inserted:
        """Ask for one new job and return what became of it."""
        (inserted,) = await self.store.insert([self.jobs.new(**options)])
        return inserted

    async def claim(
        self, *jobs: Job, lease: float = LEASE, worker: str = "w", request: str = ""
    ) -> list[Claim]:
        """Claim jobs by their ids, under a new request unless one is given."""
        ids = [job.id for job in jobs]
        return await self.store.claim(ids, worker=worker, lease=lease, request=request or self.request())

    async def claim_next(
        self, *queues: str, limit: int = 100, lease: float = LEASE, request: str = ""
    ) -> list[Claim]:
        """Claim what is next in the queues (``default`` if none is named)."""
        return await self.store.claim_next(
            queues or ("default",), worker="w", lease=lease, limit=limit, request=request or self.request()
        )

    async def next_ids(self, *queues: str, limit: int = 100) -> list[str]:
        """Claim what is next and return the ids."""
        return [claim.job.id for claim in await self.claim_next(*queues, limit=limit)]

    async def one_by_one(self, *queues: str, most: int = 100) -> list[str]:
        """Claim one job at a time until there is none (or ``most``) and return the ids."""
        taken: list[str] = []
        while len(taken) < most and (one := await self.next_ids(*queues, limit=1)):
            taken += one
        return taken

    async def admitted(self, *, limit: int = 100) -> list[str]:
        """Let the store give out what is held back and may go, and return the ids."""
        return [delivery.job_id for delivery in (await self.store.admit(limit=limit)).deliveries]

    async def take(self, job: Job, *, lease: float = LEASE) -> Job:
        """Claim one job that must be there to claim."""
        (claim,) = await self.claim(job, lease=lease)
        return claim.job

    async def running(self, *, lease: float = LEASE, **options: Any) -> Job:
        """Return a job that was enqueued and claimed just now."""
        return await self.take(await self.enqueue(**options), lease=lease)

    async def report(self, job: Job, number: int = 1, **parts: Any) -> Held:
        """Report as the holder of ``job``, by the token that this very record bears."""
        (held,) = await self.store.report([Report(job_id=job.id, token=job.token, number=number, **parts)])
        return held

    async def finish(self, job: Job, step: Step = Step.COMPLETE, **parts: Any) -> bool:
        """End the attempt as the holder of ``job``, by the token that this very record bears."""
        (accepted,) = await self.store.finish([Outcome(job_id=job.id, token=job.token, step=step, **parts)])
        return accepted

    async def fail(self, job: Job) -> bool:
        """Fail the job for good."""
        return await self.finish(job, Step.FAIL, error=BOOM)

    async def started(self, job: Job) -> Held:
        """Count the job's start anew, as the holder that this very record names."""
        (held,) = await self.store.started([self.lease_of(job)])
        return held

    @staticmethod
    def lease_of(job: Job) -> Lease:
        """Return the lease that this very record names."""
        return Lease(job_id=job.id, token=job.token)

    async def extend(self, job: Job, *, lease: float = LEASE) -> Held:
        """Extend the lease that this very record names."""
        (held,) = await self.store.extend([Lease(job_id=job.id, token=job.token)], lease=lease)
        return held

    async def crash(self, job: Job) -> Job:
        """Let the lease of a running job expire and rescue it."""
        self.clock.advance(1000.0)
        await self.store.rescue(limit=100)
        return await self.look(job)

    async def look(self, job: Job) -> Job:
        """Return the job as it stands now."""
        (found,) = await self.store.get([job.id])
        assert found is not None, f"job {job.id} has disappeared"
        return found

    async def obstacles(self, job: Job) -> Obstacles:
        """Return what keeps a waiting job from running."""
        found = await self.store.obstacles(job.id)
        assert found is not None, f"job {job.id} does not wait"
        return found

    async def events(self, job: Job) -> tuple[Event, ...]:
        """Return all events of a job."""
        story = await self.store.story(job.id)
        assert story is not None, f"job {job.id} has disappeared"
        return story.events

    async def last_event(self, job: Job) -> Event:
        """Return the latest event of a job."""
        return (await self.events(job))[-1]

    async def statuses(self, job: Job) -> list[Status]:
        """Return the statuses that the job's status events tell, in order."""
        return [event.status for event in await self.events(job) if event.type is EventType.STATUS]

    async def position(self) -> int:
        """Return where the event log ends now."""
        return (await self.store.published(None, wait=0)).position

    async def told_since(self, position: int) -> list[Told]:
        """Return everything in the event log after a position; fails on a gap."""
        told: list[Told] = []
        while part := await self.store.published(position, wait=0):
            assert not part.gap, "the event log has a gap"
            if not part.told:
                return told
            told += part.told
            position = part.position
        return told

    async def in_status(self, status: Status, **options: Any) -> Job:
        """Return a new job that was brought to a status in the shortest way."""
        if status is Status.SCHEDULED:
            return await self.enqueue(**{"delay": 60.0, **options})
        if status is Status.PENDING:
            return await self.enqueue(**options)
        job = await self.running(**options)
        if status is Status.COMPLETED:
            await self.finish(job, result=b"1")
        elif status is Status.FAILED:
            await self.fail(job)
        elif status is Status.CANCELLED:
            await self.finish(job, Step.CANCEL)
        return await self.look(job)

    async def everything(self) -> list[Job]:
        """Return every job, page by page."""
        jobs: list[Job] = []
        query = Query(limit=100)
        while True:
            page = await self.store.find(query)
            jobs += page.jobs
            if page.cursor is None:
                return jobs
            query = Query(limit=100, cursor=page.cursor)

    async def check_counts(self) -> None:
        """Fail unless the counts that the store keeps equal a recount of its jobs."""
        kept = await self.store.counts()
        recount: dict[tuple[str, str, Status], int] = {}
        for job in await self.everything():
            place = (job.queue, job.task, job.status)
            recount[place] = recount.get(place, 0) + 1
        assert as_dict(kept) == recount
        assert all(count.count > 0 for count in kept)


def as_dict(counts: list[Count]) -> dict[tuple[str, str, Status], int]:
    """Return counts by queue, task and status."""
    return {(count.queue, count.task, count.status): count.count for count in counts}
