"""What the page about speed says of kills, idle workers and limits: a section for each result that is published."""

from __future__ import annotations

from bench import results
from bench.plots import ENGINES, number
from bench.results import Result


def sections() -> str:
    """Return the sections that there are results for."""
    told = []
    for name, write in (("footprint", footprint), ("latency", latency), ("kills", kills), ("limits", limits)):
        if (result := results.load(name)) is not None:
            told.append(f"{write(result)}\n\n`{result.command}` on {result.at}: {result.machine}.")
    return "\n\n".join(told) or "Nothing is published yet."


def footprint(result: Result) -> str:
    """An idle worker on each engine."""
    rows = ["### An idle worker", "", "| | memory | processor |", "| --- | --- | --- |"]
    for name, found in result.figures.items():
        if "idle" in found:
            idle = found["idle"]
            rows.append(f"| {_plain(name)} | {idle['rss_mb']:.0f} MB | {idle['cpu_percent']:.1f} % |")
    return "\n".join(rows)


def latency(result: Result) -> str:
    """From enqueue to the function's first line."""
    rows = [
        "### From enqueue to start",
        "",
        "| | half are within | 95 of 100 within |",
        "| --- | --- | --- |",
    ]
    for name, found in result.figures.items():
        if name.startswith("idle_start"):
            told = _plain(name.removeprefix("idle_start_"))
            rows.append(f"| {told} | {number(found['median_ms'])} ms | {number(found['p95_ms'])} ms |")
    return "\n".join(rows)


def kills(result: Result) -> str:
    """How soon a killed process's jobs run again, on each engine."""
    rows = [
        "### From `kill -9` to the next run",
        "",
        "| | jobs | kills | faults | half within | 99 of 100 within | lease and sweep |",
        "|" + " --- |" * 7,
    ]
    for engine in ENGINES:
        found = result.figures.get(f"{engine}_on_redis_one_by_one")
        if found is None or "p99_s" not in found["recovery"]:
            continue
        took = found["recovery"]
        rows.append(
            f"| {engine} on Redis | {found['jobs']:,} | {found['kills']} | {len(found['faults'])} "
            f"| {took['p50_s']:.2f} s | {took['p99_s']:.2f} s | {took['lease_and_sweep_s']:.2f} s |"
        )
    return "\n".join(rows)


def limits(result: Result) -> str:
    """What limits and keys cost, as a part of the rate without them."""
    told = {"limited": "rate, at once and key", "rated": "rate", "crowded": "at once", "keyed": "key"}
    rows = ["### What limits cost", "", "| | finished | enqueued |", "| --- | --- | --- |"]
    for store, kinds in result.figures.items():
        for kind, what in told.items():
            found = kinds[kind]
            parts = (f"{found[f'{key}_to_plain']:.0%}" for key in ("finished", "enqueued"))
            rows.append(f"| {what}, {store} | {' | '.join(parts)} |")
    return "\n".join([*rows, "", "Of the jobs per second of a task with no limit, in the same run."])


def _plain(name: str) -> str:
    return name.replace("_", " ").replace("redis", "Redis").replace("sqlite", "SQLite")
