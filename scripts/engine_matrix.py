"""Which parts of the conformance suite each engine joins, read off the tests themselves."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

FILES = {
    "`direct`": ("direct", "direct_redis"),
    "`huey` on files": ("huey",),
    "`huey` on Redis": ("huey_redis",),
    "`dramatiq`": ("dramatiq",),
    "`celery`": ("celery",),
    "`rq`": ("rq",),
    "`arq`": ("arq",),
    "`celery` on RabbitMQ": ("rabbitmq",),
}
COLUMNS = ("the engine alone", "worker, SQLite", "worker, Redis", "processes, killed")


def table() -> str:
    """Return the parts as a table: `EngineConformance`, `WorkerConformance` on each store, `ProcessConformance`."""
    from tests.conformance.test_engines_redis_store import ENGINES

    from faena.testing.engines import EngineConformance, ProcessConformance, WorkerConformance

    on_redis = {made.__name__.partition("With")[0].lower() for made in ENGINES}
    rows = [f"| engine | {' | '.join(COLUMNS)} |", "| --- |" + " --- |" * len(COLUMNS)]
    for told, files in FILES.items():
        parts = [part for file in files for part in _classes(file)]
        joined = (
            any(issubclass(part, EngineConformance) for part in parts),
            any(issubclass(part, WorkerConformance) for part in parts),
            told != "`huey` on files" and files[0].partition("_")[0] in on_redis,
            any(issubclass(part, ProcessConformance) for part in parts),
        )
        rows.append(f"| {told} | {' | '.join('yes' if one else '' for one in joined)} |")
    return "\n".join(rows)


def _classes(file: str) -> list[type]:
    module = import_module(f"tests.conformance.test_engines_{file}")
    return [each for name, each in vars(module).items() if name.startswith("Test") and isinstance(each, type)]
