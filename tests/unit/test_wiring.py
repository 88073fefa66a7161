"""The composition root: what is chosen, and what is said about it."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from faena import Faena, wiring
from faena.cli.running import make_worker
from faena.errors import InvalidSettings, StoreDown
from faena.queue_directory import Candidate
from faena.settings import Settings
from faena.wiring import load_app, make_engine, make_store, select


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def module_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A current directory whose modules are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("wired_"):
            del sys.modules[name]


@pytest.fixture
def redis_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the Redis store and the engines were here, and their libraries installed."""
    monkeypatch.setattr(wiring, "_ours", lambda reference: True)
    monkeypatch.setattr(wiring, "_installed", lambda module: True)


engines = redis_store


@contextmanager
def server_that_answers(answer: bytes) -> Iterator[str]:
    """A server on loopback that answers one connection with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(64)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"
        thread.join()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_without_redis_the_embedded_default_is_chosen_and_says_why(data_dir: Path) -> None:
    chosen = select(Settings(data_dir=data_dir))
    assert (chosen.store, chosen.engine, chosen.reason) == ("sqlite", "huey", "REDIS_URL is not set")
    assert chosen.warnings == ()


def test_a_redis_that_does_not_answer_is_told_in_the_words_of_seed_004(
    data_dir: Path, redis_store: None
) -> None:
    url = f"redis://127.0.0.1:{closed_port()}/0"
    chosen = select(Settings(data_dir=data_dir, redis_url=url))
    assert (chosen.store, chosen.engine) == ("sqlite", "huey")
    assert chosen.reason == "Redis does not answer"
    (warning,) = chosen.warnings
    assert warning.startswith("Failed to connect to Redis for Dramatiq: [Errno ")
    assert "Connection refused" in warning
    assert str(chosen.notes[-1]) == "Using Huey driver with filesystem backend"


def test_a_redis_that_answers_is_used_with_dramatiq(data_dir: Path, redis_store: None) -> None:
    with server_that_answers(b"+PONG\r\n") as url:
        chosen = select(Settings(data_dir=data_dir, redis_url=url))
    assert (chosen.store, chosen.engine, chosen.reason) == ("redis", "dramatiq", "Redis answers")
    assert (chosen.notes, chosen.alone) == ((), None)
    assert not data_dir.exists()


def test_without_dramatiq_workers_on_redis_take_jobs_straight_from_the_store(
    data_dir: Path, redis_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "_installed", lambda module: module != "dramatiq")
    chosen = select(Settings(data_dir=data_dir, store="redis", redis_url="redis://localhost:1"))
    assert (chosen.store, chosen.engine) == ("redis", "direct")
    assert "pip install 'faena[dramatiq]'" in chosen.warnings[0]


def test_a_redis_that_can_not_be_used_for_want_of_its_extra_is_told(
    data_dir: Path, redis_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "_installed", lambda module: module != "redis")
    with server_that_answers(b"+PONG\r\n") as url:
        chosen = select(Settings(data_dir=data_dir, redis_url=url))
    assert (chosen.store, chosen.engine) == ("sqlite", "huey")
    assert "pip install 'faena[redis]'" in chosen.warnings[0]
    with pytest.raises(StoreDown, match="redis-py is not installed"):
        chosen.check_shared()
    with pytest.raises(InvalidSettings, match="FAENA_STORE=redis can't be had: redis-py is not installed"):
        select(Settings(data_dir=data_dir, store="redis", redis_url="redis://localhost:1"))


def test_on_a_silent_redis_only_a_single_process_may_run(data_dir: Path, redis_store: None) -> None:
    chosen = select(Settings(data_dir=data_dir, redis_url=f"redis://127.0.0.1:{closed_port()}/0"))
    with pytest.raises(StoreDown, match=r"REDIS_URL is set, and Redis does not answer .*Connection refused"):
        chosen.check_shared()
    select(Settings(data_dir=data_dir)).check_shared()


def test_a_named_store_is_taken_without_asking_redis(data_dir: Path, redis_store: None) -> None:
    url = f"redis://127.0.0.1:{closed_port()}/0"
    chosen = select(Settings(data_dir=data_dir, redis_url=url, store="sqlite"))
    assert (chosen.store, chosen.engine, chosen.alone, chosen.notes) == ("sqlite", "huey", None, ())


def test_an_engine_that_needs_redis_keeps_its_jobs_there_and_never_falls_back(
    data_dir: Path, redis_store: None, engines: None
) -> None:
    url = f"redis://127.0.0.1:{closed_port()}/0"
    for engine in wiring.ON_A_BROKER:
        chosen = select(Settings(data_dir=data_dir, redis_url=url, engine=engine))
        assert (chosen.store, chosen.engine, chosen.alone) == ("redis", engine, None)
        on_sqlite = select(Settings(data_dir=data_dir, broker_url=url, engine=engine))
        assert (on_sqlite.store, on_sqlite.engine) == ("sqlite", engine)


def test_an_engine_without_its_broker_or_its_extra_is_refused(
    data_dir: Path, engines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "_installed", lambda module: False)
    with pytest.raises(InvalidSettings) as caught:
        select(Settings(data_dir=data_dir, engine="celery"))
    assert caught.value.faults == [
        "FAENA_ENGINE=celery needs its extra: pip install 'faena[celery]'",
        "FAENA_ENGINE=celery needs Redis: set REDIS_URL (or FAENA_BROKER_URL)",
    ]


def test_a_rabbitmq_is_for_dramatiq_and_celery_and_the_jobs_stay_where_they_are(
    data_dir: Path, engines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "amqp://localhost//"
    for engine in ("dramatiq", "celery"):
        settings = Settings(data_dir=data_dir, broker_url=url, engine=engine)
        chosen = select(settings)
        assert (chosen.store, chosen.engine, chosen.alone) == ("sqlite", engine, None)
        made = make_engine(settings, chosen)
        assert (made.name, type(made)) == (engine, wiring._named(wiring.ON_RABBITMQ[engine]))
    assert select(Settings(data_dir=data_dir, broker_url=url)).engine == "dramatiq"
    monkeypatch.setattr(wiring, "_installed", lambda module: module in ("celery", "amqp", "redis"))
    assert select(Settings(data_dir=data_dir, broker_url=url)).engine == "celery"
    with server_that_answers(b"+PONG\r\n") as redis_url:
        chosen = select(Settings(data_dir=data_dir, broker_url=url, redis_url=redis_url, engine="celery"))
    assert (chosen.store, chosen.engine) == ("redis", "celery")


def test_what_can_not_run_on_rabbitmq_is_told_with_what_to_do(
    data_dir: Path, engines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(engine: str) -> str:
        with pytest.raises(InvalidSettings) as caught:
            select(Settings(data_dir=data_dir, broker_url="amqps://localhost", engine=engine))
        return caught.value.faults[-1]

    told = "does not run on RabbitMQ (FAENA_BROKER_URL=amqp://…): use celery or dramatiq"
    assert [fault(engine) for engine in ("huey", "rq", "arq")] == [
        f"FAENA_ENGINE={engine} {told}" for engine in ("huey", "rq", "arq")
    ]
    monkeypatch.setattr(wiring, "_installed", lambda module: module != "amqp")
    assert fault("celery") == "FAENA_BROKER_URL=amqp://… needs py-amqp: pip install 'faena[rabbitmq]'"
    assert fault("auto") == "FAENA_BROKER_URL=amqp://… needs py-amqp: pip install 'faena[rabbitmq]'"
    monkeypatch.setattr(wiring, "_installed", lambda module: False)
    assert "pip install 'faena[dramatiq,rabbitmq]'" in fault("auto")


def test_an_engine_of_the_users_own_is_named_by_what_makes_it(module_path: Path, data_dir: Path) -> None:
    (module_path / "wired_engine.py").write_text(
        "from faena.engines.direct import DirectEngine\n"
        "class Mine(DirectEngine):\n"
        "    name = 'mine'\n"
        "def make(settings):\n"
        "    return Mine()\n"
    )
    settings = Settings(data_dir=data_dir, engine="wired_engine:make")
    assert select(settings).engine == "wired_engine:make"
    assert make_engine(settings).name == "mine"
    with pytest.raises(InvalidSettings, match="has no 'missing': write module:name_of_your_engine"):
        make_engine(Settings(data_dir=data_dir, engine="wired_engine:missing"))


def test_what_answers_but_is_not_redis_is_told(data_dir: Path) -> None:
    with server_that_answers(b"HTTP/1.1 400 Bad Request\r\n") as url:
        chosen = select(Settings(data_dir=data_dir, redis_url=url))
    assert "does not speak Redis" in chosen.warnings[0]


def test_a_redis_that_hangs_is_given_up_within_two_seconds(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        chosen = select(
            Settings(data_dir=data_dir, redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        )
        took = time.monotonic() - began
    assert chosen.warnings == ("Failed to connect to Redis for Dramatiq: timed out",)
    assert 1.5 < took < 2.5


def test_a_redis_address_with_an_impossible_port_is_told(data_dir: Path) -> None:
    chosen = select(Settings(data_dir=data_dir, redis_url="redis://localhost:99999/0"))
    assert chosen.warnings[0].startswith("Failed to connect to Redis for Dramatiq: ")


def test_a_temporary_directory_is_told_in_the_words_of_seed_004(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    refused, taken = tmp_path / "file" / "queue", tmp_path / "coati_queue"
    order = (Candidate(path=refused), Candidate(path=taken, own=True, temporary=True))
    monkeypatch.setattr("faena.queue_directory.candidates", lambda: order)
    told = [f"{note.level.upper()}: {note.text}" for note in select(Settings()).notes]
    assert told == [
        f"ERROR: Insufficient permissions for queue storage at {refused}",
        f"WARNING: Using temporary directory for queue storage: {taken}",
    ]


def test_what_is_named_is_taken(data_dir: Path) -> None:
    chosen = select(Settings(data_dir=data_dir, engine="direct"))
    assert (chosen.store, chosen.engine) == ("sqlite", "direct")
    assert chosen.reason == "REDIS_URL is not set; FAENA_ENGINE names the engine"
    assert select(Settings(data_dir=data_dir, store="sqlite")).reason == "FAENA_STORE names it"


def test_what_this_release_can_not_do_is_refused_all_at_once(
    data_dir: Path, engines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidSettings) as caught:
        select(Settings(data_dir=data_dir, store="postgres", engine="rq"))
    assert caught.value.faults == [
        "FAENA_STORE=postgres is not in this release: use sqlite, redis, memory",
        "FAENA_ENGINE=rq needs Redis: set REDIS_URL (or FAENA_BROKER_URL)",
    ]


def test_a_missing_huey_is_refused_when_named_and_replaced_when_not(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "_installed", lambda module: False)
    with pytest.raises(InvalidSettings, match=r"pip install 'faena\[huey\]'"):
        select(Settings(data_dir=data_dir, engine="huey"))
    chosen = select(Settings(data_dir=data_dir))
    assert chosen.engine == "direct"
    assert "Huey is not installed" in chosen.warnings[0]


def test_the_memory_store_is_warned_about(data_dir: Path) -> None:
    chosen = select(Settings(data_dir=data_dir, store="memory", engine="direct"))
    assert "forgets every job" in chosen.warnings[0]


async def test_the_selected_store_and_engine_are_made(data_dir: Path) -> None:
    settings = Settings(data_dir=data_dir)
    store, engine = make_store(settings), make_engine(settings)
    assert (store.name, engine.name) == ("sqlite", "huey")
    await store.open()
    await store.close()
    engine.close()
    assert (data_dir / "faena.db").is_file()


def test_the_store_gets_the_times_of_the_settings(data_dir: Path) -> None:
    settings = Settings(data_dir=data_dir, store="memory", engine="direct")
    assert make_store(settings).name == "memory"
    assert make_engine(settings).name == "direct"


def test_an_application_is_loaded_by_name_from_the_current_directory(module_path: Path) -> None:
    (module_path / "wired_app.py").write_text("from faena import Faena\nmine = Faena(name='mine')\n")
    assert load_app("wired_app:mine").name == "mine"


def test_the_shipped_packs_run_when_none_is_named() -> None:
    app = load_app()
    assert isinstance(app, Faena)
    assert "generate_thumbnail" in app.tasks


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("wired_nowhere:app", "there is no module 'wired_nowhere'"),
        ("wired_empty:app", "has no 'app'"),
        ("wired_wrong:app", "it must be a faena.Faena"),
        ("wired_empty", "write package.module:app"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_clearly(module_path: Path, reference: str, told: str) -> None:
    (module_path / "wired_empty.py").write_text("")
    (module_path / "wired_wrong.py").write_text("app = 1\n")
    with pytest.raises(InvalidSettings, match=told):
        load_app(reference)


def test_a_fault_inside_the_module_is_not_hidden(module_path: Path) -> None:
    (module_path / "wired_broken.py").write_text("import a_module_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        load_app("wired_broken:app")


async def test_the_command_lines_worker_takes_its_times_from_the_settings(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, engine="direct", lease=3, grace=4, cancel_grace=5)
    app = Faena(settings)
    selection = select(settings)
    cli = SimpleNamespace(settings=settings, app=app)
    desk = SimpleNamespace(
        store=wiring.make_store(settings, selection), engine=make_engine(settings, selection)
    )
    options = make_worker(cast(Any, cli), cast(Any, desk)).options
    assert (options.lease, options.grace, options.cancel_grace) == (3, 4, 5)


def test_what_makes_no_engine_is_refused_in_words(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_engines.py").write_text("SOMETHING = 3\n\ndef make(settings): return {}\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name, told in (
        ("SOMETHING", "is of type int; it must be"),
        ("make", "lacks name, capabilities, deliver"),
    ):
        settings = Settings(data_dir=data_dir, engine=f"no_engines:{name}")
        with pytest.raises(InvalidSettings, match=told):
            make_engine(settings)
