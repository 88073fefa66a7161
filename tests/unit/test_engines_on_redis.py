"""What the engines on Redis have in common, beyond the conformance suite."""

from __future__ import annotations

import importlib
import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import rq
from redis import Redis

from faena.engines.arq import ARQEngine
from faena.engines.celery import CeleryEngine
from faena.engines.onredis import OnRedis
from faena.engines.rq import RQEngine
from faena.errors import EngineDown
from faena.testing.engines import Recorder, deliveries, serving
from faena.testing.servers import RedisServer
from faena.wiring import HUEY_ON_REDIS, ON_A_BROKER

ENGINES = [CeleryEngine, RQEngine, ARQEngine]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=ENGINES)
def engine_class(request: pytest.FixtureRequest, server: RedisServer) -> type[OnRedis]:
    server.flush()
    return request.param


ON_REDIS = {
    **{name: ON_A_BROKER[name] for name in ("dramatiq", "celery", "rq", "arq")},
    "huey": HUEY_ON_REDIS,
}


@pytest.fixture(params=sorted(ON_REDIS))
def engine_name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_socket_is_as_good_as_a_port(engine_class: type[OnRedis], server: RedisServer) -> None:
    engine, recorder = engine_class(server.socket_url), Recorder()
    with serving(engine, recorder):
        engine.deliver(deliveries("job"))
        assert recorder.wait_ended(1) == ["job"]
    engine.close()


def test_the_rights_that_the_guide_grants_are_enough(server: RedisServer, engine_name: str) -> None:
    module, _, name = ON_REDIS[engine_name].partition(":")
    make = getattr(importlib.import_module(module), name)
    server.flush()
    address = urlsplit(server.url)
    with Redis.from_url(server.url) as redis:
        redis.execute_command("ACL", "SETUSER", "worker", "reset", *granted(engine_name))
    engine, recorder = make(f"redis://worker:secret@{address.hostname}:{address.port}/0"), Recorder()
    with serving(engine, recorder):
        engine.deliver(deliveries("job"))
        assert recorder.wait_ended(1) == ["job"]
    assert engine.depth("default") == 0
    engine.purge(["default"])
    engine.close()


def granted(engine: str) -> list[str]:
    """What docs/operating/redis.md lets a user do who works with this engine."""
    page = (Path(__file__).parents[2] / "docs" / "operating" / "redis.md").read_text("utf-8")
    user = re.search(r"^user worker (.*)$", page, re.MULTILINE)
    assert user is not None
    more = re.search(rf"^\| `{engine}`.*\| `(.*)` \|$", page, re.MULTILINE)
    return [*user[1].split(), *(more[1].split() if more else ())]


def test_a_server_that_hangs_is_down_within_two_seconds(
    engine_class: type[OnRedis], server: RedisServer
) -> None:
    engine = engine_class(server.url)
    engine.ping()
    server.pause()
    try:
        began = time.monotonic()
        with pytest.raises(EngineDown, match="does not answer"):
            engine.deliver(deliveries("job"))
        assert time.monotonic() - began < 2.0
    finally:
        server.resume()
        engine.close()


def test_a_crowd_of_senders_to_a_server_that_hangs_all_hear_of_it_in_time(server: RedisServer) -> None:
    engine = CeleryEngine(server.url)
    waits = []

    def send() -> None:
        began = time.monotonic()
        with pytest.raises(EngineDown):
            engine.deliver(deliveries("job"))
        waits.append(time.monotonic() - began)

    server.pause()
    try:
        senders = [threading.Thread(target=send) for _ in range(60)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    finally:
        server.resume()
        engine.close()
    assert len(waits) == 60
    assert max(waits) < 2.0


def test_an_outage_is_told_once_and_so_is_its_end(
    engine_class: type[OnRedis], caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer() as server, caplog.at_level(logging.WARNING):
        engine, recorder = engine_class(server.url), Recorder()
        with serving(engine, recorder):
            engine.deliver(deliveries("before"))
            recorder.wait_ended(1)
            server.kill()
            time.sleep(0.8)  # several tries
            server.start()
            engine.deliver(deliveries("after"))
            recorder.wait_ended(2)
        engine.close()
    told = [record.message for record in caplog.records]
    assert [text.partition(";")[0] for text in told] == ["Redis can't be read", "Redis can be read again"]


def test_a_bell_leaves_nothing_in_redis(engine_class: type[OnRedis], server: RedisServer) -> None:
    from redis import Redis

    engine = engine_class(server.url)
    with serving(engine, Recorder()):
        pass
    with Redis.from_url(server.url) as redis:
        for key in redis.scan_iter("faena:bell:*"):
            assert 0 < redis.ttl(key) <= 2
    engine.close()


def test_an_rq_of_the_users_own_keeps_its_messages(server: RedisServer) -> None:
    server.flush()
    own = rq.Queue("default", connection=redis.Redis.from_url(server.url))
    own.enqueue("math.sqrt", 4)
    engine, recorder = RQEngine(server.url), Recorder()
    with serving(engine, recorder):
        engine.deliver(deliveries("job"))
        assert recorder.wait_ended(1) == ["job"]
    engine.close()
    assert [job.func_name for job in own.jobs] == ["math.sqrt"]
