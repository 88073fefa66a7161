"""How soon a job of a killed process runs again."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.kills import Disturbance, Run

SWEEP = 1 / 3
"""Of a lease: the seconds between two looks of each worker for leases that expired."""


def recovery(runs: list[Run], disturbance: Disturbance, *, lease: float) -> dict[str, float]:
    """Seconds from the kill of a process that held a job to the start of the job's next run. Those that an outage of
    Redis or of the supervisor falls into are told apart."""
    runs_of: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.began):
        runs_of.setdefault(run.job_id, []).append(run)
    calm, disturbed = [], []
    for told in runs_of.values():
        for run, again in itertools.pairwise(told):
            killed_at = disturbance.moments.get(run.pid)
            if killed_at is None or not run.began <= killed_at <= again.began:
                continue
            hit = any(start < again.began and killed_at < end for start, end in disturbance.outages)
            (disturbed if hit else calm).append(again.began - killed_at)
    within = {"lease_s": lease, "sweep_s": lease * SWEEP, "lease_and_sweep_s": lease * (1 + SWEEP)}
    return (
        within | _percentiles(calm) | {f"outage_{key}": told for key, told in _percentiles(disturbed).items()}
    )


def _percentiles(samples: list[float]) -> dict[str, float]:
    ordered = sorted(samples)
    if not ordered:
        return {"samples": 0}
    p99 = ordered[min(len(ordered) - 1, math.ceil(len(ordered) * 0.99) - 1)]
    return {"samples": len(ordered), "p50_s": statistics.median(ordered), "p99_s": p99, "max_s": ordered[-1]}
