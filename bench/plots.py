"""Pictures of the published results, as SVG: `python scripts/generate_docs.py` writes them into ``docs/images``.

Greys and middling colours that are readable on white and on black; no fonts, scripts or styles from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from bench import results
from bench.results import Result

Figures = Mapping[str, Any]

INK: Final = "#757575"
LINE: Final = "#9e9e9e"
COLOURS: Final = ("#2f7ed8", "#e08214", "#3a9d5d", "#9b5fc0", "#d1495b")
WIDTH: Final = 760
LEFT: Final = 110
RIGHT: Final = 90
BAR: Final = 15
FONT: Final = 'font-family="system-ui, sans-serif"'
ENGINES: Final = ("direct", "huey", "dramatiq", "celery", "rq", "arq")
PEERS: Final = ("direct", "pgqueuer_volatile", "pgqueuer", "saq", "streaq", "taskiq")
CALLS: Final = {
    "claim_release_100_ms": "claim and release 100",
    "find_ms": "first page",
    "find_filtered_ms": "filtered page",
    "find_middle_ms": "page in the middle",
    "counts_ms": "counts",
}


def pictures() -> dict[str, str]:
    """Return every picture that there are results for, by its file's name."""
    drawn = {}
    for name, draw in (("engines", engines), ("peers", peers), ("redis_store", redis_store)):
        if (result := results.load(name)) is not None:
            drawn[f"speed-{name.replace('_', '-')}.svg"] = draw(result)
    return drawn


def engines(result: Result) -> str:
    """Jobs finished a second on each engine, with Faena and alone."""
    rows = {
        name: [result.figures[name]["faena"]["finished_per_s"], _alone(result.figures[name])]
        for name in ENGINES
        if name in result.figures
    }
    return bars("Jobs finished per second", ("Faena on it", "it alone"), rows, told(result))


def peers(result: Result) -> str:
    """Jobs finished and enqueued a second, beside other projects."""
    rows = {
        ("Faena direct" if name == "direct" else name.replace("_", " ")): [
            found["finished_per_s"],
            found["enqueued_per_s"],
        ]
        for name in PEERS
        if "finished_per_s" in (found := result.figures.get(name, {}))
    }
    return bars("Jobs per second", ("finished", "enqueued"), rows, told(result))


def redis_store(result: Result) -> str:
    """How long calls take while the queue grows."""
    rows = result.figures["growth"]
    points = {label: [(row["pending"], row[key]) for row in rows] for key, label in CALLS.items()}
    return lines("Milliseconds a call while jobs wait in Redis", points, told(result))


def told(result: Result) -> str:
    """Say where and when."""
    return f"{result.at} · {result.machine} · {result.command}"


def _alone(figures: Figures) -> float | None:
    return figures["alone"]["finished_per_s"] if "alone" in figures else None


def bars(title: str, series: Sequence[str], rows: Mapping[str, Sequence[float | None]], foot: str) -> str:
    """Return lying bars, one group a row; None: no bar."""
    most = max(value for values in rows.values() for value in values if value is not None)
    group = BAR * len(series) + 14
    parts = [_text(LEFT, 24, title, size=16), *_legend(series, 44)]
    for number, (label, values) in enumerate(rows.items()):
        top = 62 + number * group
        parts.append(_text(LEFT - 10, top + BAR * len(series) / 2 + 4, label, anchor="end"))
        for place, value in enumerate(values):
            if value is not None:
                parts += _bar(top + place * BAR, value, most, COLOURS[place])
    height = 62 + len(rows) * group + 26
    return _svg(title, height, [*parts, _text(LEFT, height - 8, foot, size=11)])


def _bar(top: float, value: float, most: float, colour: str) -> Iterator[str]:
    length = max(1.0, value / most * (WIDTH - LEFT - RIGHT))
    yield f'<rect x="{LEFT}" y="{top:g}" width="{length:.1f}" height="{BAR - 2}" rx="2" fill="{colour}"/>'
    yield _text(LEFT + length + 6, top + BAR - 4, number(value), size=12)


def lines(title: str, points: Mapping[str, Sequence[tuple[float, float]]], foot: str) -> str:
    """Return lines over powers of ten."""
    height, top, bottom = 360, 84, 300
    every = [point for series in points.values() for point in series]
    first, last = (math.log10(pick(x for x, _ in every)) for pick in (min, max))
    most = max(y for _, y in every) * 1.1

    def place(x: float, y: float) -> tuple[float, float]:
        along = (math.log10(x) - first) / max(last - first, 1e-9)
        return LEFT + along * (WIDTH - LEFT - RIGHT), bottom - y / most * (bottom - top)

    parts = [_text(LEFT, 24, title, size=16), *_legend(tuple(points), 48)]
    for step in range(5):
        value = most * step / 4
        _, y = place(10**first, value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{LINE}" stroke-opacity=".35"/>')
        parts.append(_text(LEFT - 10, y + 4, f"{value:.2g} ms", anchor="end", size=12))
    for x in sorted({x for x, _ in every}):
        parts.append(_text(place(x, 0)[0], bottom + 20, f"{x:,.0f} jobs", anchor="middle", size=12))
    for colour, series in zip(COLOURS, points.values(), strict=False):
        path = " ".join(
            f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(place(*p) for p in series)
        )
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
    return _svg(title, height, [*parts, _text(LEFT, height - 8, foot, size=11)])


def number(value: float) -> str:
    """Write a number with three significant places, as people do."""
    places = 3 - len(str(int(value)))
    return f"{round(value, places):,.{max(places, 0)}f}"


def _legend(series: Sequence[str], y: float) -> Iterator[str]:
    x = float(LEFT)
    for colour, label in zip(COLOURS, series, strict=False):
        yield f'<rect x="{x:g}" y="{y - 10:g}" width="11" height="11" rx="2" fill="{colour}"/>'
        yield _text(x + 16, y, label, size=12)
        x += 34 + 6.6 * len(label)


def _text(x: float, y: float, text: str, *, size: int = 13, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" fill="{INK}">{escape(text)}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" {FONT}>'
    return "\n".join([head, f"<title>{escape(title)}</title>", *parts, "</svg>", ""])
