"""The composition root: from settings to a store, an engine and an application. Nothing else chooses.

`select` decides once, at start, and says why; the banner, ``/health`` and ``faena doctor`` show what it said.
"""

from __future__ import annotations

import socket
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from faena.errors import InvalidSettings
from faena.job import Record
from faena.queue_directory import Note

if TYPE_CHECKING:
    from faena.app import Faena
    from faena.ports.engine import Engine
    from faena.ports.store import Store
    from faena.settings import Settings

SHIPPED = "faena.shipped:app"
"""The application that runs when none is named."""
DATABASE = "faena.db"
STORES = ("sqlite", "memory")
ENGINES = ("direct", "huey")
REDIS_ANSWERS_WITHIN = 1.0


class Selection(Record, frozen=True):
    """Which store and engine this process uses, and why."""

    store: str
    engine: str
    reason: str
    notes: tuple[Note, ...] = ()
    """What a person should know about the choice."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those that tell of something that could be better, as sentences."""
        return tuple(str(note) for note in self.notes if note.level != "info")


def select(settings: Settings) -> Selection:
    """Decide on store and engine. Raises `InvalidSettings` for a choice that can't be had, all faults together."""
    faults = [*_not_in_this_release(settings), *_missing_extra(settings)]
    if faults:
        raise InvalidSettings(faults)
    notes: list[Note] = []
    why_embedded = _why_embedded(settings, notes)
    store = "sqlite" if settings.store == "auto" else settings.store
    engine = _embedded_engine(notes) if settings.engine == "auto" else settings.engine
    if settings.redis_url is not None and engine == "huey":
        notes.append(Note(level="info", text="Using Huey driver with filesystem backend"))
    if store == "memory":
        notes.append(
            _warning(
                "The memory store forgets every job when this process ends, and no other process sees it."
            )
        )
    if store == "sqlite" or engine == "huey":
        notes += settings.directories.notes
    named = [
        name
        for name, value in (("FAENA_STORE", settings.store), ("FAENA_ENGINE", settings.engine))
        if value != "auto"
    ]
    reason = f"{' and '.join(named)} named it" if named else why_embedded
    return Selection(store=store, engine=engine, reason=reason, notes=tuple(notes))


def make_store(settings: Settings, selection: Selection | None = None) -> Store:
    """Return the selected store, not yet opened."""
    from faena.ports.store import StoreOptions

    options = StoreOptions(
        result_ttl=settings.result_ttl, failure_ttl=settings.failure_ttl, max_crashes=settings.max_crashes
    )
    if (selection or select(settings)).store == "memory":
        from faena.stores.memory import MemoryStore

        return MemoryStore(options=options)
    from faena.stores.sqlite.store import SQLiteStore

    return SQLiteStore(settings.data_dir / DATABASE, options=options)


def make_engine(settings: Settings, selection: Selection | None = None) -> Engine:
    """Return the selected engine."""
    if (selection or select(settings)).engine == "huey":
        from faena.engines.huey import HueyEngine

        return HueyEngine(settings.queue_dir)
    from faena.engines.direct import DirectEngine

    return DirectEngine()


def load_app(reference: str | None = None) -> Faena:
    """Import the `Faena` that ``package.module:app`` names, or the one of a queue driver that is named (None: the
    shipped packs), looking in the current directory too. Raises `InvalidSettings` when it can't; an error inside the
    module passes as it is."""
    from faena.app import Faena

    module_name, _, attribute = (reference or SHIPPED).partition(":")
    if not module_name or not attribute:
        raise InvalidSettings([f"{reference!r} names no application: write package.module:app"])
    found: object = _import(module_name, reference)
    for name in attribute.split("."):
        found = getattr(found, name, None)
    if found is None:
        raise InvalidSettings(
            [f"the module {module_name} has no {attribute!r}: write module:name_of_your_Faena"]
        )
    if not isinstance(found, Faena):
        found = getattr(found, "app", found)  # a `QueueDriver`
    if not isinstance(found, Faena):
        raise InvalidSettings([f"{reference} is of type {type(found).__name__}; it must be a faena.Faena"])
    return found


def worker_queues(settings: Settings, app: Faena) -> tuple[str, ...]:
    """Return the queues that a worker serves, in order: those named, or ``high``, ``default`` and the tasks' others."""
    others = {task.options.queue for task in app.tasks.values()} - {"high", "default"}
    return settings.queues or ("high", "default", *sorted(others))


def _import(name: str, reference: str | None) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        told = f"the application {reference} can't be loaded: there is no module {error.name!r}"
        raise InvalidSettings([f"{told} (looked in {here} and in the installed packages)"]) from None


def _not_in_this_release(settings: Settings) -> list[str]:
    faults = []
    if settings.store not in ("auto", *STORES):
        faults.append(f"FAENA_STORE={settings.store} is not in this release: use {' or '.join(STORES)}")
    if settings.engine not in ("auto", *ENGINES):
        faults.append(f"FAENA_ENGINE={settings.engine} is not in this release: use {' or '.join(ENGINES)}")
    return faults


def _missing_extra(settings: Settings) -> list[str]:
    if settings.engine == "huey" and not _installed("huey"):
        return ["FAENA_ENGINE=huey needs Huey: pip install 'faena[huey]'"]
    return []


def _embedded_engine(notes: list[Note]) -> str:
    if _installed("huey"):
        return "huey"
    notes.append(
        _warning(
            "Huey is not installed (pip install 'faena[huey]'): workers take jobs straight from the store."
        )
    )
    return "direct"


def _why_embedded(settings: Settings, notes: list[Note]) -> str:
    """Say why the embedded default is used, and warn when Redis was asked for."""
    if settings.redis_url is None:
        return "REDIS_URL is not set"
    fault = _redis_fault(settings.redis_url)
    if fault is None:
        notes.append(
            _warning(
                "Redis answers, but this release cannot use it yet (the Redis store and Dramatiq come with the "
                "next one): the embedded store is used."
            )
        )
        return "this release cannot use Redis yet"
    notes.append(_warning(f"Failed to connect to Redis for Dramatiq: {fault}"))
    return "Redis does not answer"


def _warning(text: str) -> Note:
    return Note(level="warning", text=text)


def _redis_fault(url: str) -> str | None:
    """Return None when something that speaks Redis answers there, else why not."""
    try:
        with _connect(url) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
    except (OSError, ValueError) as error:
        return str(error)
    return None if answer[:1] in (b"+", b"-") else "what answers there does not speak Redis"


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(REDIS_ANSWERS_WITHIN)
        connection.connect(parts.path)
        return connection
    plain = socket.create_connection(
        (parts.hostname or "localhost", parts.port or 6379), REDIS_ANSWERS_WITHIN
    )
    if parts.scheme != "rediss":
        return plain
    import ssl

    return ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)


def _installed(module: str) -> bool:
    return find_spec(module) is not None
