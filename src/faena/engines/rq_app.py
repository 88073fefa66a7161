"""What RQ's own command line is pointed at: ``rq worker --worker-class faena.engines.rq_app.FaenaWorker high default``.

Or, once and for all, ``RQ_WORKER_CLASS=faena.engines.rq_app.FaenaWorker``; RQ itself wants ``RQ_REDIS_URL`` as well. It
reads the same settings as ``faena worker``.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, Final

from redis import Redis
from rq import Queue, SimpleWorker
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from faena.engines.reading import RejectedMessage
from faena.engines.rq import PREFIX, call
from faena.host import Host

log = logging.getLogger(__name__)

READ: Final = (
    *(b"data", b"origin", b"description", b"status", b"worker_name"),
    *(b"created_at", b"enqueued_at", b"started_at", b"ended_at", b"last_heartbeat"),
)
"""The fields that are believed. RQ would import callbacks by name, call webhooks, and retry."""
LONGEST_WAIT: Final = 5
"""Seconds. RQ's own is nearly seven minutes."""
FIXED: Final = {b"timeout": b"-1", b"result_ttl": b"0", b"failure_ttl": b"60"}


def run(*_: str) -> None:
    """Stand for every job of Faena; an RQ worker that would import it is not Faena's."""
    raise RuntimeError("start it as `rq worker --worker-class faena.engines.rq_app.FaenaWorker`")


class FaenaJob(Job):  # type: ignore[misc]
    """A job of RQ's that can only be Faena's: nothing is imported by a name that came from outside."""

    run: Callable[[str], None]

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Read what a message says; raises `NoSuchJobError`, which RQ passes over, if it is none of Faena's."""
        fields = {name: raw_data[name] for name in READ if name in raw_data}
        try:
            call(fields.get(b"data", b""))
            super().restore(fields | FIXED)
        except (RejectedMessage, ValueError) as error:
            log.warning("a message was rejected, it does not come from Faena: %s: %.80r", error, raw_data)
            raise NoSuchJobError(str(error)) from error

    def perform(self) -> None:
        """Run the job that the message is for, to the end of one attempt."""
        job_id, _ = call(self.data)
        type(self).run(job_id)


class FaenaWorker(SimpleWorker):  # type: ignore[misc]
    """A worker of RQ's that runs one job at a time, and whose stop never loses one.

    Whichever signal comes first: nothing new is taken, and the job under way finishes or is handed back within
    FAENA_GRACE. A second signal hands it back at once.
    """

    def __init__(self, queues: Sequence[str | Queue], **options: Any) -> None:
        self._host = Host.from_settings(engine="rq")
        self._stopping = self._failed = False
        given = ",".join(queue if isinstance(queue, str) else queue.name for queue in queues)
        names = list(dict.fromkeys(name.removeprefix(PREFIX) for name in given.split(",") if name))
        self._host.queues = tuple(names)
        ours = {
            "connection": Redis.from_url(str(self._host.settings.broker)),
            "job_class": type("FaenaJob", (FaenaJob,), {"run": staticmethod(self._host.run)}),
            "queue_class": Queue,
            "serializer": JSONSerializer,
        }
        super().__init__([PREFIX + name for name in names], **(options | ours))

    @property
    def dequeue_timeout(self) -> int:
        """So many seconds it waits in Redis at a time: a signal that comes with another one may fail to wake it, and it
        would stop only then."""
        return LONGEST_WAIT

    def work(self, *arguments: Any, **options: Any) -> bool:
        """Work until a signal; ends with status 1 when the Faena worker ended by itself."""
        self._host.start(threads=1, grace=None, on_end=self._interrupt)
        try:
            return bool(super().work(*arguments, **options))
        finally:
            self._stop()
            if not self._host.wait() or self._failed:
                raise SystemExit(1)

    def handle_warm_shutdown_request(self) -> None:
        """The first signal."""
        super().handle_warm_shutdown_request()
        self._stop()

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """The second signal."""
        self._host.stop(now=True)

    def _stop(self) -> None:
        self._stopping = True
        self._host.stop()

    def _interrupt(self) -> None:
        if not self._stopping:
            self._failed = True
            os.kill(os.getpid(), signal.SIGTERM)
