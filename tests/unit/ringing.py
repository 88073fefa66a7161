"""An engine in memory, for tests of the worker: its threads wait for messages, and it may fail, lose and repeat."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from faena.errors import EngineDown
from faena.ports.engine import Capabilities, Delivery, Hands, ServeOptions


class Ringing:
    """An engine in memory that may fail, lose and repeat."""

    name = "ringing"
    capabilities = Capabilities(delivers=True, queue_order=False, priority=False, separate_processes=False)

    def __init__(self) -> None:
        self.delivered: list[str] = []
        self.lose = 0
        self.repeat = 1
        self.fail_serving = 0
        self._changed = threading.Condition()
        self._waiting: list[str] = []

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        with self._changed:
            for delivery in deliveries:
                self.delivered.append(delivery.job_id)
                if self.lose > 0:
                    self.lose -= 1
                else:
                    self._waiting += [delivery.job_id] * self.repeat
            self._changed.notify_all()

    def serve(self, hands: Hands, options: ServeOptions) -> RingingServing:
        if self.fail_serving > 0:
            self.fail_serving -= 1
            raise EngineDown("not yet")
        return RingingServing(self, hands, options.threads)

    def depth(self, queue: str) -> int:
        return len(self._waiting)

    def purge(self, queues: Sequence[str]) -> int:
        return 0

    def ping(self) -> None: ...

    def close(self) -> None: ...


class RingingServing:
    def __init__(self, engine: Ringing, hands: Hands, threads: int) -> None:
        self.engine, self.hands, self.stopped = engine, hands, False
        self.threads = [threading.Thread(target=self._take, daemon=True) for _ in range(threads)]

    def run(self) -> None:
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()

    def stop(self) -> None:
        with self.engine._changed:
            self.stopped = True
            self.engine._changed.notify_all()
        for thread in self.threads:
            thread.join(10)

    def _take(self) -> None:
        while True:
            with self.engine._changed:
                self.engine._changed.wait_for(lambda: self.stopped or self.engine._waiting)
                if self.stopped:
                    return
                job_id = self.engine._waiting.pop(0)
            self.hands.run(job_id)
