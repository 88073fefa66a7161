"""The few figures of the front page, in both languages, from the published results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bench import results
from bench.plots import ENGINES, number

WORDS: Mapping[str, tuple[str, str]] = {
    "head": ("| | | measured by |", "| | | se mide con |"),
    "direct": (
        "jobs a second, `direct` on Redis, two processes",
        "trabajos por segundo, `direct` sobre Redis, dos procesos",
    ),
    "engines": (
        "the same on Celery, RQ, Dramatiq, ARQ, Huey, beside each of them alone",
        "lo mismo sobre Celery, RQ, Dramatiq, ARQ y Huey, frente a cada uno solo",
    ),
    "peers": (
        "the fastest of {} other projects, as it ships and in tables that a crash empties; Faena's `direct`",
        "el más rápido de otros {} proyectos, tal como viene y en tablas que una caída vacía; el `direct` de Faena",
    ),
    "faena": ("{} and {}; {}", "{} y {}; {}"),
    "start": (
        "from enqueue to start on an idle worker, half of the time",
        "de encolar a empezar con el worker libre, la mitad de las veces",
    ),
    "limits": (
        "of a task's speed is left under a rate, an `at_once` and a key",
        "de la velocidad de una tarea queda con `rate`, `at_once` y clave a la vez",
    ),
    "bytes": (
        "a waiting job in Redis, with a million of them",
        "ocupa un trabajo en espera en Redis, con un millón de ellos",
    ),
    "over": (
        "starts above a rate, with {} `kill -9` of workers",
        "arranques por encima de un `rate`, con {} `kill -9` a los workers",
    ),
    "times": ("{} to {} times", "{} a {} veces"),
    "to": ("to", "a"),
    "kills": (
        "jobs lost, or run twice at once, under {} `kill -9` of workers and Redis",
        "trabajos perdidos, o corridos dos veces a la vez, con {} `kill -9` a los workers y a Redis",
    ),
}


ENGLISH, SPANISH = 0, 1


def table(language: int) -> str:
    """Return the figures that there are results for."""

    def told(word: str, *values: object) -> str:
        return WORDS[word][language].format(*values)

    swapped = str.maketrans(",.", ".,") if language == SPANISH else {}
    rows = [
        f"| {what} | {figure.translate(swapped)} | `make bench ARGS={name}` |"
        for what, figure, name in _rows(told)
    ]
    return "\n".join([told("head"), "| --- | --- | --- |", *rows])


def _rows(told: Callable[..., str]) -> Iterator[tuple[str, str, str]]:
    if (engines := results.load("engines")) is not None:
        yield told("direct"), number(engines.figures["direct"]["faena"]["finished_per_s"]), "engines"
        ratios = [engines.figures[name]["ratio"] for name in ENGINES if "ratio" in engines.figures[name]]
        yield told("engines"), told("times", f"{min(ratios):.0f}", f"{max(ratios):.0f}"), "engines"
    if (peers := results.load("peers")) is not None:
        measured = {
            name: found["finished_per_s"]
            for name, found in peers.figures.items()
            if name not in ("direct", "versions") and "finished_per_s" in found
        }
        shipped = {name: rate for name, rate in measured.items() if "_" not in name}
        fastest = (max(shipped.values()), max(measured.values()), peers.figures["direct"]["finished_per_s"])
        yield told("peers", len(shipped)), told("faena", *map(number, fastest)), "peers"
    yield from _more(told)


def _more(told: Callable[..., str]) -> Iterator[tuple[str, str, str]]:
    latency = results.load("latency")
    if latency is not None and (start := latency.figures.get("idle_start_direct_two_processes")):
        yield told("start"), f"{number(start['median_ms'])} ms", "latency"
    if (limits := results.load("limits")) is not None:
        left = sorted(kinds["limited"]["finished_to_plain"] for kinds in limits.figures.values())
        yield told("limits"), f"{left[0]:.0%} {told('to')} {left[-1]:.0%}", "limits"
    if (store := results.load("redis_store")) is not None:
        yield told("bytes"), f"{store.figures['growth'][-1]['bytes_a_job']:,.0f} B", "redis_store"
    yield from _kills(told)


def _kills(told: Callable[..., str]) -> Iterator[tuple[str, str, str]]:
    if (kills := results.load("kills")) is not None:
        runs = [run for run in kills.figures.values() if isinstance(run, dict) and "faults" in run]
        faults = sum(len(run["faults"]) for run in runs)
        yield told("kills", sum(run["kills"] for run in runs)), str(faults), "kills"
    if (rates := results.load("rate_kills")) is not None:
        both = [run for run in rates.figures.values() if isinstance(run, dict)]
        runs = [run.get("ten_in_six_seconds", run) for run in both]
        over = sum(max(run["most_in_any_period"] - run["allowed_in_a_period"], 0) for run in runs)
        yield told("over", sum(run["kills"] for run in runs)), str(over), "rate_kills"


PARTS: Mapping[str, Callable[[], str]] = {
    "figures": lambda: table(ENGLISH),
    "figures-es": lambda: table(SPANISH),
}
