"""A worker process of the crew's app on a SQLite file: ``python crew_process.py FILE [option=value …]``."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import crew_kit
from faena.engines.direct import DirectEngine
from faena.process import run_worker_process
from faena.stores.sqlite.store import SQLiteStore
from faena.worker import Worker, WorkerOptions


def main(path: Path, options: dict[str, float]) -> int:
    warnings.simplefilter("error")

    @contextlib.asynccontextmanager
    async def open_worker() -> AsyncIterator[Worker]:
        store = SQLiteStore(path)
        await store.open()
        try:
            yield Worker(
                tasks=crew_kit.app.tasks,
                store=store,
                engine=DirectEngine(),
                connect=lambda: SQLiteStore(path),
                options=WorkerOptions(**{"queues": ("default",), "threads": 2} | options),  # type: ignore[arg-type]
                settings=crew_kit.app.settings,
                app_ref="crew_kit:app",
            )
        finally:
            await store.close()

    return run_worker_process(open_worker)


def read(text: str) -> float:
    return int(text) if text.isdigit() else float(text)


if __name__ == "__main__":
    given = (word.split("=", 1) for word in sys.argv[2:])
    sys.exit(main(Path(sys.argv[1]), {name: read(value) for name, value in given}))
