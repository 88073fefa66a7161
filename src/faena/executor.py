"""One attempt, from its claim to its finish, in named steps. It never raises: what happens is an outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from faena import outcomes
from faena.attempt import Attempt, Runner, Why
from faena.batch import Batch
from faena.context import Context
from faena.errors import Unavailable
from faena.isolation.runner import InChild
from faena.job import Job, Outcome, Step
from faena.ports.records import Claim, Held
from faena.ports.store import Store
from faena.reports import Reports
from faena.runners import InLoop, InThread
from faena.slots import Slots
from faena.starts import Start, Starts, Timing
from faena.stopping import Stopping
from faena.task import Task
from faena.threads import Threads

if TYPE_CHECKING:
    from faena.isolation.pool import Pool
    from faena.settings import Settings

logger = logging.getLogger("faena.executor")


class Executor:
    """Runs attempts on one event loop. `running` are those that are not concluded; their functions occupy `slots`."""

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task[Any, Any]],
        store: Store,
        settings: Settings | None,
        pool: Pool,
        slots: int = 1,
        default_timeout: float = 600.0,
        cancel_grace: float = 10.0,
        on_change: Callable[[], None],
        on_released: Callable[[Job], None],
        on_concluded: Callable[[Job], None] | None = None,
    ) -> None:
        self.running: set[Attempt] = set()
        self.slots = Slots(slots)
        self.threads = Threads()
        self.stopping = Stopping(self.running, cancel_grace=cancel_grace, leave=self._leave)
        self._tasks = tasks
        self._settings = settings
        self._default_timeout = default_timeout
        self._on_change = on_change
        """Called when a function or an attempt has ended."""
        self._on_concluded = on_concluded
        """Called when an attempt's outcome is stored: what it held in the store is free."""
        self._on_released = on_released
        """Called when a job was handed back."""
        self._finishing = Batch(store.finish)
        self._reporting = Batch(store.report)
        on_time = Starts(store, on_held=self.held).on_time
        self._in_loop = InLoop(self._context, on_time, self._limit)
        self._in_thread = InThread(self._context, on_time, self._limit, self.threads)
        self._in_child = InChild(self._reports, on_time, self._limit, pool)
        self._concluding: set[asyncio.Task[None]] = set()
        self._unknown: set[str] = set()
        """Names of tasks that jobs had and that nobody registered."""

    async def execute(self, claim: Claim, timing: Timing, *, ended: Callable[[], None] | None = None) -> None:
        """Run one attempt to its end. Calls ``ended`` once when it is concluded, which may be before this returns (a
        function that does not end is left behind). A job that gets no slot in time is handed back; one with ``ended``
        has a slot in the engine that waits for it. Never raises."""
        if ended is not None:
            self.slots.occupy()
        elif not await self.slots.enter():
            await self.hand_back(claim)
            return
        attempt = self._begin(claim, timing, ended)
        outcome: Outcome | None
        try:
            task = self._resolve(attempt)
            result = await self._run(attempt)
            outcome = self._outcome(attempt, task, result)
        except BaseException as error:
            outcome = self._outcome_of_error(attempt, error)
        self._free(attempt)
        await self._finish(attempt, outcome)

    async def hand_back(self, claim: Claim) -> None:
        """Release a job that was claimed and not started."""
        attempt = Attempt(claim.job, lease_until=monotonic())
        self.running.add(attempt)
        await self._finish(attempt, outcomes.released(claim.job))

    def held(self, attempt: Attempt, held: Held) -> None:
        """Take up what the store answered to a report, or to the heartbeat."""
        if not held.held:
            self.stopping.lost(attempt)
        elif held.cancel_requested:
            self.stopping.cancel(attempt)

    def close(self) -> None:
        """Let go of the timer and of idle threads."""
        self.stopping.close()
        self.threads.close()

    def _begin(self, claim: Claim, timing: Timing, ended: Callable[[], None] | None) -> Attempt:
        attempt = Attempt(claim.job, lease_until=timing.lease_until)
        if claim.call_within is not None:
            attempt.start = Start(timing, claim.call_within)
        attempt.ended = ended
        self.running.add(attempt)
        return attempt

    def _resolve(self, attempt: Attempt) -> Task[Any, Any]:
        """Find the task and the place where it runs."""
        task = self._tasks.get(attempt.job.task)
        if task is None:
            self._warn_unknown(attempt)
            raise outcomes.unknown(attempt.job)
        attempt.task = task
        attempt.runner = self._runner(task)
        return task

    def _warn_unknown(self, attempt: Attempt) -> None:
        """Once for each name: its jobs come back again and again."""
        name = attempt.job.task
        if name not in self._unknown:
            self._unknown.add(name)
            logger.warning(
                "this worker knows no task named %s; its jobs wait for a worker that does",
                name,
                extra=attempt.about,
            )

    def _runner(self, task: Task[Any, Any]) -> Runner:
        if task.options.isolation == "process":
            return self._in_child
        return self._in_loop if task.is_async else self._in_thread

    async def _run(self, attempt: Attempt) -> bytes | Outcome:
        """Load the arguments, call the function within its limits, dump its result: where it belongs."""
        assert attempt.runner is not None
        return await attempt.runner.run(attempt)

    def _limit(self, attempt: Attempt) -> None:
        """The function begins: its time runs from now on."""
        timeout = attempt.job.timeout
        if timeout is None and attempt.task is not None:
            timeout = attempt.task.options.timeout
        self.stopping.limit(attempt, self._default_timeout if timeout is None else timeout)

    def _outcome(self, attempt: Attempt, task: Task[Any, Any], result: bytes | Outcome) -> Outcome | None:
        if attempt.lost or attempt.concluded:
            return None
        if isinstance(result, Outcome):
            if result.error is not None:  # a child process tells what its function raised
                self._log_failure(attempt, result)
            return result
        return outcomes.completed(attempt.job, task.options, result)

    def _outcome_of_error(self, attempt: Attempt, error: BaseException) -> Outcome | None:
        if isinstance(error, asyncio.CancelledError) and attempt.why is None:
            current = asyncio.current_task()
            if current is not None and current.cancelling():  # not by us: the loop itself is being ended
                attempt.stop(Why.RELEASE)
        if attempt.lost:
            return None
        options = None if attempt.task is None else attempt.task.options
        outcome = outcomes.from_error(attempt.job, options, error, why=attempt.why)
        if outcome is not None and outcome.error is not None:
            self._log_failure(attempt, outcome)
        return outcome

    @staticmethod
    def _log_failure(attempt: Attempt, outcome: Outcome) -> None:
        failure = outcome.error
        assert failure is not None
        if outcome.step is Step.RETRY:
            logger.info(
                "%s failed and is tried again in %.1f s: %s",
                attempt.job.task,
                outcome.delay,
                failure.told,
                extra=attempt.about,
            )
        else:
            logger.warning("%s failed: %s", attempt.job.task, failure.told, extra=attempt.about)

    def _free(self, attempt: Attempt) -> None:
        """The function has ended (or is left behind): another one may run."""
        if not attempt.freed:
            attempt.freed = True
            self.slots.leave(entered=attempt.started)
            self._on_change()

    async def _finish(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """Store what is told and then the outcome, once; the attempt does not count any more after that."""
        if attempt.concluded:
            return
        attempt.concluded = attempt.over = True
        try:
            if outcome is not None:
                await self._store(attempt, outcome)
        finally:
            self.running.discard(attempt)
            if attempt.ended is not None:
                attempt.ended()
            if self._on_concluded is not None:
                self._on_concluded(attempt.job)
            self._on_change()

    async def _store(self, attempt: Attempt, outcome: Outcome) -> None:
        pause = 0.05
        while True:
            told = attempt.reports is None or await attempt.reports.flush()
            try:
                accepted = await self._finishing(outcome)
            except Unavailable as error:
                if pause == 0.05:
                    logger.warning("an outcome can't be stored yet: %s", error, extra=attempt.about)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            except Exception as error:
                logger.exception("an outcome was refused by the store", extra=attempt.about)
                if outcome.step is Step.FAIL:
                    return  # its lease expires, and the job is rescued
                outcome = outcomes.refused(attempt.job, error)
            else:
                break
        if not told and attempt.reports is not None:
            attempt.reports.give_up()
            logger.warning(
                "the store is full: the last that the function told is lost; its outcome is stored",
                extra=attempt.about,
            )
        if accepted and outcome.step is Step.RELEASE:
            self._on_released(attempt.job)
        if not accepted:
            logger.warning("the store refused a stale outcome (%s)", outcome.step, extra=attempt.about)

    def _leave(self, attempt: Attempt) -> None:
        """Conclude an attempt whose async function swallows its cancellation: it goes on, but nothing of it counts."""
        logger.error(
            "%s does not end; its attempt is concluded without it", attempt.job.task, extra=attempt.about
        )
        outcome = self._outcome_of_error(attempt, asyncio.CancelledError())
        self._free(attempt)
        task = asyncio.get_running_loop().create_task(self._finish(attempt, outcome))
        self._concluding.add(task)
        task.add_done_callback(self._concluding.discard)

    def _context(self, attempt: Attempt) -> Context:
        return attempt.context(self._reports(attempt), self._settings)

    def _reports(self, attempt: Attempt) -> Reports:
        return Reports(attempt, send=self._reporting, on_held=self.held)
