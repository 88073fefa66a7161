"""The published results as the documents show them: tables, and the pictures of `bench.plots`."""

from __future__ import annotations

from bench import results
from bench.plots import ENGINES, PEERS, number, pictures
from bench.results import Result

__all__ = ["engines_table", "growth_table", "how_it_was_measured", "peers_table", "pictures"]

PUBLISHED = ("engines", "peers", "redis_store")
NO_SUCH = ""
NONE = "Nothing is published yet."


def engines_table() -> str:
    """Jobs finished and enqueued a second, with Faena and alone."""
    if (result := results.load("engines")) is None:
        return NONE
    rows = [
        "| engine | Faena on it | it alone | ratio | enqueued by Faena | by it alone |",
        "|" + " --- |" * 6,
    ]
    for name in ENGINES:
        mine = result.figures[name]["faena"]
        other = result.figures[name].get("alone")
        finished, enqueued = (
            (NO_SUCH, NO_SUCH) if other is None else (_of(other, "finished"), _of(other, "enqueued"))
        )
        ratio = NO_SUCH if other is None else f"{result.figures[name]['ratio']:.1f}"
        rows.append(
            f"| `{name}` | {_of(mine, 'finished')} | {finished} | {ratio} | {_of(mine, 'enqueued')} | {enqueued} |"
        )
    return "\n".join([*rows, "", "Jobs per second."])


def peers_table() -> str:
    """Jobs finished and enqueued a second, beside other projects; a peer that was not measured says why."""
    if (result := results.load("peers")) is None:
        return NONE
    rows = ["| | version | finished | enqueued |", "| --- | --- | --- | --- |"]
    for name in PEERS:
        found = result.figures[name]
        label = "Faena, `direct`" if name == "direct" else name.replace("_", ", ")
        version = result.figures["versions"]["faena" if name == "direct" else name]
        if "not_measured" in found:
            rows.append(f"| {label} | {version} | not measured: {found['not_measured']} | |")
        else:
            rows.append(f"| {label} | {version} | {_of(found, 'finished')} | {_of(found, 'enqueued')} |")
    return "\n".join(
        [*rows, "", f"Jobs per second. {result.figures['versions'].get('postgresql', '')}".strip()]
    )


def growth_table() -> str:
    """What a job costs in Redis, and what calls take, as the queue grows."""
    if (result := results.load("redis_store")) is None:
        return NONE
    columns = {
        "bytes a job": "bytes_a_job",
        "claim and release 100": "claim_release_100_ms",
        "first page": "find_ms",
        "filtered": "find_filtered_ms",
        "in the middle": "find_middle_ms",
        "counts": "counts_ms",
        "search that finds nothing": "search_nothing_ms",
    }
    rows = [f"| waiting | {' | '.join(columns)} |", "|" + " --- |" * (len(columns) + 1)]
    for row in result.figures["growth"]:
        told = [
            f"{row[key]:,.0f}" if key == "bytes_a_job" else f"{number(row[key])} ms"
            for key in columns.values()
        ]
        rows.append(f"| {row['pending']:,} | {' | '.join(told)} |")
    return "\n".join(rows)


def how_it_was_measured() -> str:
    """The command, the day, the machine and the versions of each."""
    lines = []
    for name in PUBLISHED:
        if (result := results.load(name)) is not None:
            lines.append(f"- `{result.command}` on {result.at}: {result.machine}; {_versions(result)}.")
    return "\n".join(lines) or NONE


def _versions(result: Result) -> str:
    return ", ".join(f"{library} {version}" for library, version in sorted(result.versions.items()))


def _of(figures: dict[str, float], what: str) -> str:
    return number(figures[f"{what}_per_s"])
