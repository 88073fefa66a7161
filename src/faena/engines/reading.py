"""Reading the queues of a server for a worker of this process, in batches, through its outages.

An engine brings a `Readable` for its server, and what tells the job of one of its messages.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Generic, Protocol, TypeVar

from faena.errors import EngineDown, Rejected
from faena.ports.engine import Hands

log = logging.getLogger(__name__)

ROOM_WAIT: Final = 0.5
"""Seconds after which a worker that is full is asked again, and a stop is noticed at the latest."""
LONGEST_PAUSE: Final = 2.0
"""Seconds between two tries to read from a server that is down."""

Message = TypeVar("Message")
Read = TypeVar("Read", covariant=True)


class RejectedMessage(Rejected):
    """The message is none of Faena's."""


class Readable(Protocol[Read]):
    """Some queues of a server in strict order, for one reader."""

    server: str
    """What to call it."""

    def read(self, limit: int) -> Iterable[Read]:
        """Take up to ``limit`` messages off the queues, as soon as there are any; none after a while, or when woken.
        Raises `EngineDown`."""
        ...

    def settled(self) -> None:
        """What `read` returned is on its way. Never raises."""
        ...

    def wake(self) -> None:
        """Make `read` return, now or when it is called next. Any thread; never raises."""
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


class Reading(Generic[Message]):
    """Reads queues for a worker of this process: as many messages in one visit as the worker has room for."""

    def __init__(self, queues: Readable[Message], job: Callable[[Message], str], hands: Hands) -> None:
        self._queues = queues
        self._job = job
        self._hands = hands
        self._halted = threading.Event()
        self._down_since: float | None = None

    def run(self) -> None:
        """Serve until stopped. A server that is down is waited for."""
        try:
            while not self._halted.is_set():
                room = self._hands.room(ROOM_WAIT)
                if room > 0 and not self._halted.is_set():
                    self._visit(room)
        finally:
            self._queues.close()

    def stop(self) -> None:
        """Take nothing new; `run` returns at once."""
        self._halted.set()
        self._queues.wake()

    def _visit(self, room: int) -> None:
        try:
            taken = self._queues.read(room)
            self._tell_up()
        except EngineDown as error:
            self._tell_down(error)
        else:
            self._hands.take(jobs_in(taken, self._job))
            self._queues.settled()

    def _tell_down(self, error: EngineDown) -> None:
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
            log.warning("%s can't be read; trying again until it can: %s", self._queues.server, error)
        self._halted.wait(min(0.1 + (now - self._down_since) / 4, LONGEST_PAUSE))

    def _tell_up(self) -> None:
        if self._down_since is not None:
            self._down_since = None
            log.warning("%s can be read again", self._queues.server)


def jobs_in(messages: Iterable[Message], job: Callable[[Message], str]) -> list[str]:
    """Return the ids that messages name; those that are none of Faena's are rejected with a warning."""
    ids = []
    for message in messages:
        try:
            ids.append(job(message))
        except RejectedMessage as error:
            log.warning("a message was rejected, it does not come from Faena: %s: %.80r", error, message)
    return ids
