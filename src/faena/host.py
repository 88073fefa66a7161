"""A Faena worker inside an engine's own command line (``huey_consumer …``): its loop runs in a thread beside.

The engine's process owns the main thread, the signals and the consuming; it hands job ids to `Host.run`. The worker
is the one that ``faena worker`` runs, with its heartbeat and loops, told that its engine is served by somebody else.
The modules ``faena.engines.*_app`` are the only ones below that use it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Self

from faena.errors import FaenaError
from faena.ports.engine import Capabilities, Delivery, Engine, Hands, ServeOptions, Serving
from faena.process import MARGIN, end_by_force_after, loop_factory

if TYPE_CHECKING:
    from faena.app import Faena
    from faena.settings import Settings
    from faena.wiring import Selection
    from faena.worker import Worker

log = logging.getLogger(__name__)

START_WITHIN: Final = 30.0
"""Seconds until the worker must be able to run jobs."""


class ServedElsewhere:
    """An engine for the worker of a `Host`: it delivers as the real one does, and its messages are consumed outside."""

    def __init__(self, engine: Engine, on_serve: Callable[[Hands], None]) -> None:
        self.name: str = engine.name
        self.capabilities: Capabilities = engine.capabilities
        self._engine = engine
        self._on_serve = on_serve

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """As the engine does."""
        self._engine.deliver(deliveries)

    def serve(self, hands: Hands, options: ServeOptions) -> Serving:
        """Hand ``hands`` to the host."""
        return Elsewhere(lambda: self._on_serve(hands))

    def depth(self, queue: str) -> int:
        """As the engine does."""
        return self._engine.depth(queue)

    def purge(self, queues: Sequence[str]) -> int:
        """As the engine does."""
        return self._engine.purge(queues)

    def ping(self) -> None:
        """As the engine does."""
        self._engine.ping()

    def close(self) -> None:
        """As the engine does."""
        self._engine.close()


class Elsewhere:
    """Serving that happens in somebody else's threads."""

    def __init__(self, on_run: Callable[[], None]) -> None:
        self._on_run = on_run
        self._stopped = threading.Event()

    def run(self) -> None:
        """Say that jobs can come; return when stopped."""
        self._on_run()
        self._stopped.wait()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped.set()


class Host:
    """One worker for the settings' app, started and stopped once."""

    def __init__(self, settings: Settings, selection: Selection, app: Faena) -> None:
        from faena.wiring import worker_queues

        self.settings = settings
        self.queues = worker_queues(settings, app)
        self._selection = selection
        self._app = app
        self._hands: Hands | None = None
        self._worker: Worker | None = None
        self._ready = threading.Event()
        self._stopping = False
        self._grace = settings.grace
        self._fault: BaseException | None = None
        self._thread: threading.Thread | None = None

    @classmethod
    def from_settings(cls, *, engine: str) -> Self:
        """Make one from the environment and the settings' file, for a command line that stands for ``engine``."""
        from faena.settings import Settings
        from faena.wiring import load_app, select

        settings = Settings.load(engine=engine)
        selection = select(settings)
        selection.check_shared()
        for warning in selection.warnings:
            log.warning(warning)
        return cls(settings, selection, load_app(settings.app))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the app's tasks."""
        return tuple(self._app.tasks)

    def make_engine(self) -> Engine:
        """Make the engine that the settings ask for, for who consumes its messages outside the worker."""
        from faena.wiring import make_engine

        return make_engine(self.settings, self._selection)

    def run(self, job_id: str) -> None:
        """Run a job to the end of one attempt. Any thread, between `start` and the end; never raises."""
        if self._hands is not None:
            self._hands.run(job_id)

    def start(self, *, threads: int, grace: float | None, on_end: Callable[[], None]) -> None:
        """Start the worker, with ``threads`` jobs at once, and return when it can run jobs; raises why it can't.
        ``on_end`` is called when it has ended, for whatever reason."""
        if grace is not None:
            self._grace = grace
        self._thread = threading.Thread(
            target=self._live, args=(threads, on_end), name="faena-worker", daemon=True
        )
        self._thread.start()
        if not self._ready.wait(START_WITHIN):
            raise TimeoutError(f"the Faena worker did not start within {START_WITHIN:g} s")
        if self._fault is not None:
            raise self._fault

    def stop(self, *, now: bool = False) -> None:
        """Make the worker finish or hand back its jobs (``now``: hand back). Returns at once; any thread, and safe in a
        signal handler. If the process lives on for `MARGIN` beyond the grace time, whatever keeps it, it is ended by
        force (with the status `HUNG`)."""
        self._stopping = True
        if self._worker is not None:
            self._worker.stop(now=now)
        if self._thread is not None:
            end_by_force_after(MARGIN if now else self._grace + MARGIN)

    def wait(self) -> bool:
        """Wait for the worker's end; True: it ended because it was stopped."""
        if self._thread is not None:
            self._thread.join()
        return self._stopping and self._fault is None

    def _live(self, threads: int, on_end: Callable[[], None]) -> None:
        try:
            runner = asyncio.Runner(loop_factory=loop_factory())
            try:
                runner.run(self._work(threads))
            finally:
                if self._worker is not None and self._worker.stuck:
                    runner.get_loop().close()  # the runner's end would wait for them for ever
                else:
                    runner.close()
        except BaseException as error:
            self._fault = error
            if self._ready.is_set():  # else `start` raises it
                trace = None if isinstance(error, FaenaError) else error
                log.critical("the Faena worker ended: %s: %s", type(error).__name__, error, exc_info=trace)
        finally:
            self._ready.set()
            on_end()

    async def _work(self, threads: int) -> None:
        from faena.wiring import make_store
        from faena.worker import Worker, WorkerOptions

        store = make_store(self.settings, self._selection)
        engine = ServedElsewhere(self.make_engine(), self._serve)
        await store.open()
        try:
            self._worker = Worker(
                tasks=self._app.tasks,
                store=store,
                engine=engine,
                connect=lambda: make_store(self.settings, self._selection),
                options=WorkerOptions(
                    queues=self.queues,
                    threads=threads,
                    lease=self.settings.lease,
                    grace=self._grace,
                    cancel_grace=self.settings.cancel_grace,
                    redeliver_after=self.settings.redeliver_after,
                ),
                settings=self.settings,
                app_ref=self.settings.app,
                queues=self._app.queues,
                schedules=self._app.schedules.values(),
            )
            await self._worker.run()
        finally:
            await store.close()
            engine.close()

    def _serve(self, hands: Hands) -> None:
        self._hands = hands
        self._ready.set()
