"""The gates of a memory store: who runs behind them, and when the last ones started."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from faena.job import Gate, Window

NOBODY: Final[Mapping[str, int]] = {}


class Gatehouse:
    """All gates by their names. A gate needs no setting up: its rule comes with each job."""

    def __init__(self) -> None:
        self._starts: dict[str, list[float]] = {}
        self._longest: dict[str, float] = {}
        self._running: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def closed(self, gates: Iterable[Gate], now: float, expected: Mapping[str, int] = NOBODY) -> Gate | None:
        """Return the first gate that is closed; ``expected`` are jobs on their way that will want to pass, too."""
        return next(
            (gate for gate in gates if not self._is_open(gate, now, expected.get(gate.name, 0))), None
        )

    def _is_open(self, gate: Gate, now: float, expected: int) -> bool:
        if gate.at_once is not None and len(self.running(gate.name)) + expected >= gate.at_once:
            return False
        return all(
            len(self._within(gate.name, window, now)) + expected < window.count for window in gate.windows
        )

    def opens_in(self, gate: Gate, now: float, expected: int = 0) -> float | None:
        """Return the seconds until a closed gate opens; None when that hangs on a job that runs or is expected."""
        if gate.at_once is not None and len(self.running(gate.name)) + expected >= gate.at_once:
            return None
        waits = [0.0]
        for window in gate.windows:
            starts = self._within(gate.name, window, now)
            if expected >= window.count:
                return None
            if len(starts) + expected >= window.count:
                waits.append(starts[len(starts) + expected - window.count] + window.period - now)
        return max(waits)

    def running(self, name: str) -> Collection[str]:
        """Return the ids of the jobs that run behind a gate."""
        return self._running.get(name, {})

    def _within(self, name: str, window: Window, now: float) -> list[float]:
        return [at for at in self._starts.get(name, []) if at > now - window.period]

    def enter(self, job_id: str, gates: Collection[Gate], now: float) -> None:
        """Note the start of a job that passes its gates."""
        for gate in gates:
            if gate.at_once is not None:
                self._running[gate.name][job_id] = None
        self.start(gates, now)

    def start(self, gates: Iterable[Gate], now: float) -> None:
        """Count a start under the rates of gates."""
        for gate in gates:
            if gate.windows:
                starts = self._starts.setdefault(gate.name, [])
                starts.append(max([now, *starts[-1:]]))  # times never go back
                longest = max(window.period for window in gate.windows)
                self._longest[gate.name] = max(longest, self._longest.get(gate.name, 0.0))

    def leave(self, job_id: str, gates: Iterable[Gate]) -> None:
        """Note that a job runs no longer."""
        for gate in gates:
            inside = self._running.get(gate.name, {})
            inside.pop(job_id, None)
            if not inside:
                self._running.pop(gate.name, None)

    def forget(self, now: float) -> None:
        """Drop the starts that no window sees any more."""
        for name, longest in list(self._longest.items()):
            kept = [at for at in self._starts[name] if at > now - longest]
            if kept:
                self._starts[name] = kept
            else:
                del self._starts[name], self._longest[name]
