"""The engine that needs no engine: a worker claims batches straight from the store.

It has nothing to deliver to. `Capabilities.delivers` is False, and whoever asks first never calls the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from faena.ports.engine import Capabilities, Delivery, Hands, ServeOptions, Serving


class DirectEngine:
    """No transport at all: the fastest, and it depends on nothing but the store."""

    name: str = "direct"
    capabilities: Capabilities = Capabilities(
        delivers=False, queue_order=True, priority=True, separate_processes=True, head=True
    )

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Do nothing: workers find the jobs in the store."""

    def serve(self, hands: Hands, options: ServeOptions) -> Serving:
        """Refuse: a worker pulls from the store itself."""
        raise TypeError(
            "the direct engine serves nothing: a worker claims from the store (Capabilities.delivers)"
        )

    def depth(self, queue: str) -> int:
        """Return 0: nothing waits outside the store."""
        return 0

    def purge(self, queues: Sequence[str]) -> int:
        """Return 0: nothing waits outside the store."""
        return 0

    def ping(self) -> None:
        """Return: there is nothing that could be down."""

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""
