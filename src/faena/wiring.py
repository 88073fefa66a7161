"""The composition root: from settings to a store, an engine and an application. Nothing else chooses.

`select` decides once, at start, and says why; the banner, ``/health`` and ``faena doctor`` show what it said.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from faena.errors import InvalidSettings, StoreDown
from faena.job import Record
from faena.ping import redis_fault
from faena.queue_directory import Note

if TYPE_CHECKING:
    from faena.app import Faena
    from faena.ports.engine import Engine
    from faena.ports.store import Store
    from faena.settings import Settings

SHIPPED = "faena.shipped:app"
"""The application that runs when none is named."""
DATABASE = "faena.db"
STORES = ("sqlite", "redis", "memory")
REDIS_STORE = "faena.stores.redis.store:RedisStore"
HUEY_ON_REDIS = "faena.engines.huey.redis:HueyRedisEngine"
ON_A_BROKER: Mapping[str, str] = {
    "dramatiq": "faena.engines.dramatiq:DramatiqEngine",
    "celery": "faena.engines.celery:CeleryEngine",
    "rq": "faena.engines.rq:RQEngine",
    "arq": "faena.engines.arq:ARQEngine",
}
"""The engines that need a broker. Each is its vendor's module and its extra, too."""
ON_RABBITMQ: Mapping[str, str] = {
    "dramatiq": "faena.engines.dramatiq.rabbit:DramatiqRabbitEngine",
    "celery": "faena.engines.celery_rabbit:CeleryRabbitEngine",
}
"""Those of them that take a RabbitMQ as their broker, in the order in which they are preferred there."""


OF_AN_ENGINE = ("name", "capabilities", "deliver", "serve", "depth", "purge", "ping", "close")
"""What `faena.ports.engine.Engine` asks for."""


class Selection(Record, frozen=True):
    """Which store and engine this process uses, and why."""

    store: str
    engine: str
    reason: str
    notes: tuple[Note, ...] = ()
    """What a person should know about the choice."""
    alone: str | None = None
    """Why only a single process may run on it: REDIS_URL is set and can't be used. None: any number may."""

    @property
    def on_files(self) -> bool:
        """Jobs, or messages, are files in the data directory."""
        return self.store == "sqlite" or (self.engine == "huey" and self.store != "redis")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those that tell of something that could be better, as sentences."""
        return tuple(str(note) for note in self.notes if note.level != "info")

    def check_shared(self) -> None:
        """Raise `StoreDown` unless a process that shares its jobs with others may run on it."""
        if self.alone is not None:
            raise StoreDown(
                f"REDIS_URL is set, and {self.alone}. A server and workers that are separate processes would not share "
                "their jobs without it, so they do not start: start Redis; or unset REDIS_URL, or set "
                "FAENA_STORE=sqlite, for all of them. `faena up` runs on files meanwhile, in a single process"
            )


def select(settings: Settings) -> Selection:
    """Decide on store and engine. Raises `InvalidSettings` for a choice that can't be had, all faults together."""
    faults = [*_store_faults(settings), *_engine_faults(settings)]
    if faults:
        raise InvalidSettings(faults)
    notes: list[Note] = []
    store, reason, alone = _choose_store(settings, notes)
    engine = settings.engine
    if engine == "auto":
        engine = _choose_on_rabbitmq() if settings.on_rabbitmq else _choose_engine(store, notes)
    files = engine == "huey" and not _huey_on_redis(settings, store)
    if alone is not None and files:
        notes.append(Note(level="info", text="Using Huey driver with filesystem backend"))
    if store == "memory":
        notes.append(
            _warning(
                "The memory store forgets every job when this process ends, and no other process sees it."
            )
        )
    if store == "sqlite" or files:
        notes += settings.directories.notes
    if settings.engine != "auto" and settings.engine not in reason:
        reason += "; FAENA_ENGINE names the engine"
    return Selection(store=store, engine=engine, reason=reason, notes=tuple(notes), alone=alone)


def make_store(settings: Settings, selection: Selection | None = None) -> Store:
    """Return the selected store, not yet opened."""
    from faena.ports.store import StoreOptions

    options = StoreOptions(
        result_ttl=settings.result_ttl, failure_ttl=settings.failure_ttl, max_crashes=settings.max_crashes
    )
    match (selection or select(settings)).store:
        case "memory":
            from faena.stores.memory import MemoryStore

            return MemoryStore(options=options)
        case "redis":
            return cast("Store", _named(REDIS_STORE)(settings.redis_url, options=options))
        case _:
            from faena.stores.sqlite.store import SQLiteStore

            return SQLiteStore(settings.data_dir / DATABASE, options=options)


def make_engine(settings: Settings, selection: Selection | None = None) -> Engine:
    """Return the selected engine. One of somebody else's is made by what FAENA_ENGINE names, from the settings."""
    chosen = selection or select(settings)
    if chosen.engine == "direct":
        from faena.engines.direct import DirectEngine

        return DirectEngine()
    if chosen.engine == "huey" and not _huey_on_redis(settings, chosen.store):
        from faena.engines.huey import HueyEngine

        return HueyEngine(settings.queue_dir)
    if ":" in chosen.engine:
        return _made(chosen.engine, settings)
    on_server = ON_RABBITMQ if settings.on_rabbitmq else {"huey": HUEY_ON_REDIS, **ON_A_BROKER}
    reference = on_server[chosen.engine]
    return cast("Engine", _named(reference)(settings.broker))


def load_app(reference: str | None = None) -> Faena:
    """Import the `Faena` that ``package.module:app`` names, or the one of a queue driver that is named (None: the
    shipped packs), looking in the current directory too. Raises `InvalidSettings` when it can't; an error inside the
    module passes as it is."""
    from faena.app import Faena

    found = _found(reference or SHIPPED, "application")
    if not isinstance(found, Faena):
        found = getattr(found, "app", found)  # a `QueueDriver`
    if not isinstance(found, Faena):
        raise InvalidSettings([f"{reference} is of type {type(found).__name__}; it must be a faena.Faena"])
    return found


def worker_queues(settings: Settings, app: Faena) -> tuple[str, ...]:
    """Return the queues that a worker serves, in order: those named, or ``high``, ``default`` and the tasks' others."""
    others = {task.options.queue for task in app.tasks.values()} - {"high", "default"}
    return settings.queues or ("high", "default", *sorted(others))


def _made(reference: str, settings: Settings) -> Engine:
    """Make somebody else's engine."""
    factory = _found(reference, "engine")
    if not callable(factory):
        told = f"is of type {type(factory).__name__}; it must be a function from settings to an engine"
        raise InvalidSettings([f"FAENA_ENGINE={reference} {told}"])
    made = factory(settings)
    if lacking := [name for name in OF_AN_ENGINE if not hasattr(made, name)]:
        told = f"made no engine but something of type {type(made).__name__}; it lacks {', '.join(lacking)}"
        raise InvalidSettings([f"FAENA_ENGINE={reference} {told} (see faena.ports.engine.Engine)"])
    return cast("Engine", made)


_USUALLY = {"application": "app", "engine": "factory"}


def _found(reference: str, what: str) -> Any:
    """Import what ``package.module:name`` names, looking in the current directory too."""
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise InvalidSettings([f"{reference!r} names no {what}: write package.module:{_USUALLY[what]}"])
    found: object = _import(module_name, f"the {what} {reference}")
    for name in attribute.split("."):
        found = getattr(found, name, None)
    if found is None:
        raise InvalidSettings(
            [f"the module {module_name} has no {attribute!r}: write module:name_of_your_{what}"]
        )
    return found


def _import(name: str, told: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        told = f"{told} can't be loaded: there is no module {error.name!r}"
        raise InvalidSettings([f"{told} (looked in {here} and in the installed packages)"]) from None


def _named(reference: str) -> Callable[..., Any]:
    """Import one of our own stores and engines, only now: each brings its vendor's library."""
    module, _, name = reference.partition(":")
    made: Callable[..., Any] = getattr(import_module(module), name)
    return made


def _store_faults(settings: Settings) -> Iterator[str]:
    if settings.store not in ("auto", *STORES):
        yield f"FAENA_STORE={settings.store} is not in this release: use {', '.join(STORES)}"
    elif settings.store == "redis":
        if settings.redis_url is None:
            yield "FAENA_STORE=redis needs REDIS_URL"
        if fault := _no_redis_store():
            yield f"FAENA_STORE=redis can't be had: {fault}"


def _engine_faults(settings: Settings) -> Iterator[str]:
    engine = settings.engine
    if engine == "huey" and not _installed("huey"):
        yield "FAENA_ENGINE=huey needs Huey: pip install 'faena[huey]'"
    if engine in ON_A_BROKER:
        if not _ours(ON_A_BROKER[engine]):
            yield f"FAENA_ENGINE={engine} is not in this release"
        elif not _installed(engine):
            yield f"FAENA_ENGINE={engine} needs its extra: pip install 'faena[{engine}]'"
        if settings.broker is None:
            yield f"FAENA_ENGINE={engine} needs Redis: set REDIS_URL (or FAENA_BROKER_URL)"
    if settings.on_rabbitmq:
        yield from _rabbitmq_faults(engine)


def _rabbitmq_faults(engine: str) -> Iterator[str]:
    if engine in ("huey", *ON_A_BROKER) and engine not in ON_RABBITMQ:
        able = " or ".join(sorted(ON_RABBITMQ))
        yield f"FAENA_ENGINE={engine} does not run on RabbitMQ (FAENA_BROKER_URL=amqp://…): use {able}"
    elif engine == "auto" and not any(map(_installed, ON_RABBITMQ)):
        yield "FAENA_BROKER_URL=amqp://… needs an engine for it: pip install 'faena[dramatiq,rabbitmq]'"
    elif engine in ("auto", *ON_RABBITMQ) and not _installed("amqp"):
        yield "FAENA_BROKER_URL=amqp://… needs py-amqp: pip install 'faena[rabbitmq]'"


def _choose_store(settings: Settings, notes: list[Note]) -> tuple[str, str, str | None]:
    """Return the store, why it is chosen, and why only a single process may use it (None: any may)."""
    if settings.store != "auto":
        return settings.store, "FAENA_STORE names it", None
    if settings.redis_url is None:
        return "sqlite", "REDIS_URL is not set", None
    if (
        settings.engine in ON_A_BROKER and not settings.on_rabbitmq and _no_redis_store() is None
    ):  # without Redis it could not work anyway: opening the store tells
        return "redis", f"FAENA_ENGINE={settings.engine} needs it", None
    if fault := redis_fault(settings.redis_url):
        notes.append(_warning(f"Failed to connect to Redis for Dramatiq: {fault}"))
        return "sqlite", "Redis does not answer", f"Redis does not answer ({fault})"
    if fault := _no_redis_store():
        notes.append(_warning(f"Redis answers, but {fault}: the embedded store is used."))
        return "sqlite", "Redis can't be used", fault
    return "redis", "Redis answers", None


def _choose_engine(store: str, notes: list[Note]) -> str:
    preferred, name = ("dramatiq", "Dramatiq") if store == "redis" else ("huey", "Huey")
    if _installed(preferred) and (preferred == "huey" or _ours(ON_A_BROKER[preferred])):
        return preferred
    notes.append(
        _warning(
            f"{name} is not installed (pip install 'faena[{preferred}]'): workers take jobs straight from the store."
        )
    )
    return "direct"


def _choose_on_rabbitmq() -> str:
    return next(engine for engine in ON_RABBITMQ if _installed(engine))


def _huey_on_redis(settings: Settings, store: str) -> bool:
    """Huey's messages are in Redis where the jobs are, or where FAENA_BROKER_URL says so; else in files."""
    return store == "redis" or settings.broker_url is not None


def _no_redis_store() -> str | None:
    if not _ours(REDIS_STORE):
        return "this release has no Redis store"
    return None if _installed("redis") else "redis-py is not installed (pip install 'faena[redis]')"


def _warning(text: str) -> Note:
    return Note(level="warning", text=text)


def _installed(module: str) -> bool:
    return find_spec(module) is not None


def _ours(reference: str) -> bool:
    try:
        return find_spec(reference.partition(":")[0]) is not None
    except ModuleNotFoundError:
        return False
