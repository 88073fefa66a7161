"""Huey's own command line as the host of a Faena worker: ``huey_consumer faena.engines.huey_app.huey``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from huey.consumer import Consumer
from huey.exceptions import ConfigurationError

from faena.engines.huey.engine import FaenaHuey, Storage


class HostedWorker(Protocol):
    """The Faena worker beside huey's consumer: it runs what the consumer hands it."""

    def run(self, job_id: str) -> None:
        """Run a job to the end of one attempt."""
        ...

    def start(self, *, threads: int, grace: float | None, on_end: Callable[[], None]) -> None:
        """Start, and return when it can run jobs. ``on_end`` is called when it has ended, for whatever reason."""
        ...

    def stop(self, *, now: bool = False) -> None:
        """Finish or hand back the jobs under way. Returns at once; safe in a signal handler."""
        ...

    def wait(self) -> bool:
        """Wait for its end; True: it ended because it was stopped."""
        ...


class HostedHuey(FaenaHuey):
    """The `Huey` object that ``huey_consumer`` imports."""

    def __init__(self, intake: Storage, worker: HostedWorker) -> None:
        super().__init__(intake, worker)
        self._worker = worker

    def create_consumer(self, **options: Any) -> HostedConsumer:
        """Make the consumer as the command line's options ask; threads only."""
        if options.get("worker_type", "thread") != "thread":
            raise ConfigurationError(
                f"Faena runs huey's workers as threads, not as {options['worker_type']}: leave -k away. For several "
                "processes start huey_consumer several times, or use `faena worker --processes N`"
            )
        return HostedConsumer(self, self._worker, **options | {"periodic": False, "scheduler_interval": 60})


class HostedConsumer(Consumer):  # type: ignore[misc]
    """A consumer whose stop never loses a job.

    Whichever signal comes first: nothing new is taken, and jobs under way finish or are handed back within the grace
    time (``--shutdown-timeout``, else FAENA_GRACE). A second signal hands them back at once.
    """

    _signum: int | None

    def __init__(self, app: HostedHuey, worker: HostedWorker, **options: Any) -> None:
        super().__init__(app, **options)
        self._worker = worker
        self._stopped = False

    def start(self) -> None:
        """Start the Faena worker first: what huey's threads take must find somebody to run it. Huey itself looks at
        signals only once it has started: one that came before would end the process in the middle of a job."""
        self._set_signal_handlers()
        self._worker.start(threads=self.workers, grace=self.shutdown_timeout, on_end=self.stop_flag.set)
        super().start()

    def run(self) -> None:
        """Run until a signal; ends with status 1 when the Faena worker ended by itself."""
        super().run()
        if not self._worker.wait():
            sys.exit(1)

    def stop(self, graceful: bool = False) -> None:
        """Stop the intake, then the jobs, then huey's threads."""
        self._stopped = True
        self.stop_flag.set()
        self.huey.storage.halt()
        self._worker.stop()
        self._worker.wait()
        self.shutdown_timeout = 1.0  # all that is left to end are threads that wait for nothing
        super().stop(graceful=True)
        self.huey.storage.close()

    def loop(self, health_check_ts: float | None = None) -> float | None:
        """Stop in good order also when it was the Faena worker that ended."""
        if self.stop_flag.is_set() and not self._stopped:
            self.stop()
        return super().loop(health_check_ts)  # type: ignore[no-any-return]

    def _handle_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._signum is not None:
            self._worker.stop(now=True)
            return
        self._signum = signum
        self._restart, self._graceful = self._signal_actions[signum]
