"""Dramatiq's own command line as the host of Faena workers: ``dramatiq faena.engines.dramatiq_app``.

Each of its processes reads Redis or RabbitMQ once for all its threads and queues, in strict order, and runs jobs in
dramatiq's threads. Everything is made when the process boots, so that nothing is shared across its forks.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final, Protocol, cast

import dramatiq

from faena.engines.hosting import Desk
from faena.ports.engine import Delivery, Engine, ServeOptions, Serving

log = logging.getLogger(__name__)

ASK_AGAIN: Final = 0.5
"""Seconds after which one of dramatiq's consumers looks whether it was stopped."""
LOOK_FOR_MASTER: Final = 0.5
WRONG_SETTINGS: Final = 2
STOPPING: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


class HostedWorker(Protocol):
    """The Faena worker beside dramatiq's: it runs what dramatiq's threads hand it."""

    queues: tuple[str, ...]

    def make_engine(self) -> Engine:
        """Make the engine that the settings ask for."""
        ...

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


class WholeEngine(Engine, Protocol):
    """Dramatiq on whatever server."""

    def whole(self) -> Engine:
        """Make one that serves whole messages in the place of ids."""
        ...


class Run:
    """The one actor there is, under whatever name: it runs a job."""

    priority = 0
    options: dict[str, Any] = {}

    def __init__(self, run: Callable[[str], None]) -> None:
        self._run = run

    def __call__(self, job_id: str) -> None:
        """Run the job to the end of one attempt."""
        self._run(job_id)


class HostedBroker(dramatiq.Broker):
    """The broker that dramatiq's command line finds. It does nothing before a worker boots."""

    def __init__(self, make_worker: Callable[[], HostedWorker]) -> None:
        super().__init__(middleware=[HostMiddleware(make_worker)])
        self.queues: set[str] = set()
        self.hosted: Hosted | None = None

    def declare_queue(self, queue_name: str) -> None:
        """Know a queue; each is consumed by a thread of dramatiq's."""
        self.queues.add(queue_name)

    def get_declared_queues(self) -> set[str]:
        """Return the queues that the worker serves."""
        return set(self.queues)

    def get_actor(self, actor_name: str) -> Any:
        """Return the one actor; what was read is known to be a call of it."""
        assert self.hosted is not None
        return Run(self.hosted.worker.run)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30_000) -> HostedConsumer:
        """Make a consumer, of whatever queue comes first."""
        assert self.hosted is not None
        return HostedConsumer(self.hosted)

    def close(self) -> None:
        """Let go of the server."""
        if self.hosted is not None:
            self.hosted.engine.close()


class Hosted:
    """What one process of dramatiq's has at work for Faena."""

    def __init__(self, worker: HostedWorker, engine: WholeEngine, threads: int) -> None:
        self.worker = worker
        self.engine = engine
        self.desk = Desk()
        self.slots = threading.Semaphore(threads)
        """One for each of dramatiq's threads that has nothing to do."""
        options = ServeOptions(queues=worker.queues, threads=threads)
        self._serving: Serving = engine.whole().serve(self.desk, options)
        self._threads = threads
        self._asked = 0
        self._handlers: dict[int, Any] = {}

    def start(self) -> None:
        """Start the worker, then the reader, and from now on stop them at a signal."""
        self.worker.start(threads=self._threads, grace=None, on_end=self._ended)
        threading.Thread(target=self._serving.run, name="faena-reader", daemon=True).start()
        self._handlers = {number: signal.signal(number, self._signalled) for number in STOPPING}
        if (master := multiprocessing.parent_process()) is not None:
            watch = threading.Thread(
                target=_stop_without, args=(master.pid,), name="faena-master", daemon=True
            )
            watch.start()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """Stop in good order the first time, hand back at once the second."""
        self._asked += 1
        if self._asked > 1:
            self.worker.stop(now=True)
            return
        self.desk.close()
        self.worker.stop()
        threading.Thread(target=self._serving.stop, name="faena-stop", daemon=True).start()
        self._handlers[number](number, frame)

    def _ended(self) -> None:
        if not self._asked:
            os.kill(os.getpid(), signal.SIGTERM)


class HostMiddleware(dramatiq.Middleware):
    """Starts the Faena worker when a process boots, and waits for it when the process stops."""

    def __init__(self, make_worker: Callable[[], HostedWorker]) -> None:
        self._make_worker = make_worker

    def before_worker_boot(self, broker: Any, worker: Any) -> None:
        """Start the worker; ends the process when it can't."""
        try:
            broker.hosted = self._hosted(worker)
            broker.hosted.start()
        except Exception as error:
            log.critical("the Faena worker could not start: %s", error)
            sys.exit(WRONG_SETTINGS)
        for queue in broker.hosted.worker.queues:
            broker.declare_queue(queue)

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:
        """Wait until the jobs under way have ended or were handed back."""
        broker.hosted.worker.wait()

    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:
        """End the process with status 1 when the Faena worker ended by itself."""
        if not broker.hosted.worker.wait():
            sys.exit(1)

    def _hosted(self, worker: Any) -> Hosted:
        host = self._make_worker()
        if worker.consumer_whitelist:
            host.queues = _in_order(worker.consumer_whitelist)
            worker.consumer_whitelist = set(host.queues)
        engine = host.make_engine()
        if engine.name != "dramatiq":
            raise TypeError(f"the settings ask for the engine {engine.name}, not for dramatiq")
        return Hosted(host, cast("WholeEngine", engine), worker.worker_threads)


class HostedConsumer(dramatiq.Consumer):
    """Takes one message for each of dramatiq's threads that is idle."""

    def __init__(self, hosted: Hosted) -> None:
        self._hosted = hosted

    def __next__(self) -> dramatiq.MessageProxy | None:
        """Return a message as soon as there are one and a thread for it; None after a moment."""
        if not self._hosted.slots.acquire(timeout=ASK_AGAIN):
            return None
        message = self._hosted.desk.next(ASK_AGAIN)
        if message is None:
            self._hosted.slots.release()
            return None
        return dramatiq.MessageProxy(dramatiq.Message.decode(message.encode()))

    def ack(self, message: dramatiq.MessageProxy) -> None:
        """The thread is idle again."""
        self._hosted.slots.release()

    def nack(self, message: dramatiq.MessageProxy) -> None:
        """The thread is idle again."""
        self._hosted.slots.release()

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        """Send again what was taken off the queue and not begun: it had its turn."""
        self._hosted.engine.deliver(
            [
                Delivery(
                    job_id=message.args[0], task=message.actor_name, queue=message.queue_name, first=True
                )
                for message in messages
            ]
        )


def _in_order(chosen: set[str]) -> tuple[str, ...]:
    """Return the queues that ``--queues`` chose in the order in which they were written, with spaces or commas."""
    written = [argument for argument in sys.argv if argument in chosen]
    names = ",".join([*written, *sorted(chosen)]).split(",")
    return tuple(dict.fromkeys(name for name in names if name))


def _stop_without(master: int | None) -> None:
    """Stop this process when its master is gone, which dramatiq does not do."""
    pause = threading.Event()
    while os.getppid() == master:
        pause.wait(LOOK_FOR_MASTER)
    os.kill(os.getpid(), signal.SIGTERM)
