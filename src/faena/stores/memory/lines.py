"""Who goes next: the line of plain jobs, the lanes of those with gates, and their turns.

It looks through all jobs that wait, which is fine for thousands.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter

from faena.job import Gate
from faena.ports.records import Paused
from faena.stores.memory.gates import NOBODY, Gatehouse
from faena.stores.memory.row import LaneName, Row

Rank = tuple[str, int]
"""A queue and a priority."""
Closed = Callable[[Iterable[Gate]], Gate | None]


class Lines:
    """The pauses and the gates, and whose turn it is."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.gates = Gatehouse()
        self._clock = clock
        self._pauses: dict[tuple[str | None, str | None], float] = {}
        self._served: dict[LaneName, int] = {}
        """When each lane was served last, or came into being, in services."""
        self._services = 0
        self._waiting: Counter[LaneName] = Counter()
        self._plain_went_last: dict[Rank, bool] = {}

    # Pauses

    def pause(self, queue: str | None, task: str | None) -> bool:
        new = (queue, task) not in self._pauses
        if new:
            self._pauses[queue, task] = self._clock()
        return new

    def resume(self, queue: str | None, task: str | None) -> bool:
        return self._pauses.pop((queue, task), None) is not None

    def paused(self) -> list[Paused]:
        return [Paused(queue=queue, task=task, at=at) for (queue, task), at in self._pauses.items()]

    def queue_paused(self, queue: str) -> bool:
        return (queue, None) in self._pauses

    def task_paused(self, task: str) -> bool:
        return (None, task) in self._pauses

    def is_paused(self, row: Row) -> bool:
        return self.queue_paused(row.job.queue) or self.task_paused(row.job.task)

    def held_back(self, row: Row) -> bool:
        """Tell whether a job is not to be delivered when it becomes pending."""
        return bool(row.gates) or self.is_paused(row)

    # Gates

    def closed(self, row: Row) -> Gate | None:
        """Return the first closed gate of a job."""
        return self.gates.closed(row.gates, self._clock())

    def may_go(self, row: Row) -> bool:
        return not self.is_paused(row) and self.closed(row) is None

    def opens_in(self, waiting: Iterable[Row], expected: Mapping[str, int] = NOBODY) -> float | None:
        """Return the seconds until the next gate with jobs behind it opens by time; ``expected`` are jobs on their way
        that will want to pass, too."""
        now = self._clock()
        lanes = {row.lane: row for row in waiting if row.gates and not self.is_paused(row)}
        closed = [gate for row in lanes.values() if (gate := self.gates.closed(row.gates, now, expected))]
        waits = (self.gates.opens_in(gate, now, expected.get(gate.name, 0)) for gate in closed)
        return min((wait for wait in waits if wait is not None), default=None)

    @staticmethod
    def expected(pending: Iterable[Row]) -> Counter[str]:
        """Count, by gate, the jobs that were given out and not yet claimed."""
        return Counter(gate.name for row in pending if row.delivered_at is not None for gate in row.gates)

    # Turns

    def join(self, row: Row) -> None:
        """Note that a job is pending; its lane may come into being by it."""
        if row.gates:
            self._served.setdefault(row.lane, self._services)
            self._waiting[row.lane] += 1

    def leave(self, row: Row) -> None:
        """Note that a job is no longer pending; its lane may come to an end by it."""
        if row.gates:
            self._waiting[row.lane] -= 1
            if not self._waiting[row.lane]:
                del self._waiting[row.lane], self._served[row.lane]

    def next_ones(self, waiting: Iterable[Row], queues: Iterable[str]) -> Iterator[Row]:
        """Yield who goes next, queue by queue. Each must have passed its gates when the next one is asked for."""
        ranks = self._ranks(waiting)
        for queue in dict.fromkeys(queues):
            for rank in sorted((rank for rank in ranks if rank[0] == queue), key=lambda rank: -rank[1]):
                yield from self._of_rank(rank, ranks[rank], self._closed_now)

    def _closed_now(self, gates: Iterable[Gate]) -> Gate | None:
        return self.gates.closed(gates, self._clock())

    def admissible(self, waiting: Iterable[Row]) -> Iterator[Row]:
        """Yield the jobs to give out, no more of a gate than it has room for beside those given out before."""
        waiting = list(waiting)
        expected = self.expected(waiting)

        def closed(gates: Iterable[Gate]) -> Gate | None:
            return self.gates.closed(gates, self._clock(), expected)

        ranks = self._ranks(row for row in waiting if row.delivered_at is None)
        for rank in sorted(ranks, key=lambda rank: -rank[1]):
            for row in self._of_rank(rank, ranks[rank], closed):
                expected.update(gate.name for gate in row.gates)
                yield row

    def _ranks(self, waiting: Iterable[Row]) -> dict[Rank, list[Row]]:
        ranks: defaultdict[Rank, list[Row]] = defaultdict(list)
        for row in waiting:
            if not self.is_paused(row):
                ranks[row.job.queue, row.job.priority].append(row)
        return ranks

    def _of_rank(self, rank: Rank, rows: list[Row], closed: Closed) -> Iterator[Row]:
        """Yield the jobs of a queue and priority: plain ones and lanes alternate, lanes take turns."""
        rows.sort(key=attrgetter("place"))
        plain = deque(row for row in rows if not row.gates)
        lanes: dict[LaneName, deque[Row]] = {}
        for row in rows:
            if row.gates:
                lanes.setdefault(row.lane, deque()).append(row)
        while True:
            lanes = {lane: line for lane, line in lanes.items() if line and closed(lane[-1]) is None}
            if plain and not (lanes and self._plain_went_last.get(rank, False)):
                self._plain_went_last[rank] = True
                yield plain.popleft()
            elif lanes:
                self._plain_went_last[rank] = False
                yield self._serve(lanes)
            else:
                return

    def _serve(self, lanes: dict[LaneName, deque[Row]]) -> Row:
        """Take the first of the lane that was served longest ago (of two alike, the older lane)."""
        lane = min((lane for lane in self._served if lane in lanes), key=self._served.__getitem__)
        self._services += 1
        self._served[lane] = self._services
        return lanes[lane].popleft()
