"""The engine: it only delivers job ids.

A doorbell that may lose, repeat or reorder rings: the store makes it correct. An engine is handed the worker's
`Hands` and never learns what a job is. Its own retries, results and delays stay switched off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from faena.job import Record


class Hands(Protocol):
    """The worker as an engine sees it: who runs the jobs that it brings.

    An engine that can read several messages at once asks for `room` and then lets that many be taken; one that
    hands messages out one by one runs each in a thread of its own. Any thread may call; nothing here raises; an id
    that is unknown, finished or held elsewhere is a no-op.
    """

    def room(self, wait: float) -> int:
        """Return how many jobs the worker takes now, as soon as it takes one: those that could begin within a few
        milliseconds. 0 after ``wait`` seconds, or at once when the worker stops."""
        ...

    def take(self, ids: Sequence[str]) -> None:
        """Begin jobs, no more than `room` said, as soon as there are slots; returns at once."""
        ...

    def run(self, job_id: str) -> None:
        """Run a job to the end of one attempt; blocks until then."""
        ...


class Delivery(Record, frozen=True):
    """A job to hand to an engine: its id, and what a transport may use to order and to show it."""

    job_id: str
    task: str
    queue: str
    priority: int = 0
    first: bool = False
    """It had its turn, and its worker or its message was lost: it goes to the head of its queue where the engine can
    (`Capabilities.head`). Of several the first given comes first."""


class Capabilities(Record, frozen=True):
    """What an engine can and can't do; the docs' table and the conformance suite read this, never the type."""

    delivers: bool
    """False: the worker claims straight from the store, and there is nothing to deliver to."""
    queue_order: bool
    """Queues are served strictly in the order given."""
    priority: bool
    """Within a queue, a higher priority goes first."""
    separate_processes: bool
    """Producer and worker may be different processes."""
    head: bool = False
    """What is sent as `Delivery.first` goes before all that waits in its queue with the same priority."""


class ServeOptions(Record, frozen=True):
    """How a worker process wants to be served."""

    queues: tuple[str, ...]
    """In order of precedence."""
    threads: int
    """How many jobs may be under way at once."""
    grace: float = 30.0
    """Seconds that `Serving.run` waits for calls of `Hands.run` under way, once it is stopped."""


class Serving(Protocol):
    """An engine at work inside this process."""

    def run(self) -> None:
        """Serve until stopped; blocks its thread. Raises `EngineDown` when the engine went away: start again."""
        ...

    def stop(self) -> None:
        """Take nothing new and make `run` return: when the calls of `Hands.run` under way have ended, or after the
        grace time. Any thread; returns at once."""
        ...


class Engine(Protocol):
    """A transport for job ids."""

    name: str
    capabilities: Capabilities

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Send job ids. Synchronous, thread-safe; raises `EngineDown` within 2 s when it can't."""
        ...

    def serve(self, hands: Hands, options: ServeOptions) -> Serving:
        """Prepare to consume queues in this process, and to bring each id to ``hands``."""
        ...

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue. Raises `EngineDown`."""
        ...

    def purge(self, queues: Sequence[str]) -> int:
        """Drop the waiting messages of queues; returns how many. (The jobs themselves are the store's.)"""
        ...

    def ping(self) -> None:
        """Return if the engine answers, else raise `EngineDown`."""
        ...

    def close(self) -> None:
        """Let go of every connection. Safe to repeat."""
        ...
