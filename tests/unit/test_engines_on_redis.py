"""What the engines on Redis have in common, beyond the conformance suite."""

from __future__ import annotations

import importlib
import logging
import re
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import dramatiq
import pytest
import redis
import rq
from msgspec.structs import replace
from redis import Redis

from faena.engines.arq import ARQEngine
from faena.engines.celery import CeleryEngine
from faena.engines.dramatiq import DramatiqEngine
from faena.engines.dramatiq.hosted import HostedConsumer
from faena.engines.onredis import OnRedis, Queues
from faena.engines.rq import KEPT_FOR, RQEngine, RQLayout
from faena.errors import EngineDown
from faena.testing.engines import Recorder, deliveries, serving, until
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


def make_engine(name: str, url: str) -> OnRedis:
    module, _, factory = ON_REDIS[name].partition(":")
    engine: OnRedis = getattr(importlib.import_module(module), factory)(url)
    return engine


class Listing(Recorder):
    """Hands that write down what they are given, in that order."""

    def take(self, ids: Sequence[str]) -> None:
        for job_id in ids:
            self._note(self.ended, job_id)


def test_thousands_for_the_head_of_a_queue_keep_their_order(server: RedisServer, engine_name: str) -> None:
    server.flush()
    engine, listing = make_engine(engine_name, server.url), Listing()
    waiting = deliveries("old-1", "old-2")
    ahead = [replace(one, first=True) for one in deliveries(*(f"lost-{n}" for n in range(2_500)))]
    more_ahead = [replace(one, first=True) for one in deliveries("rescued-1", "rescued-2")]
    new = deliveries(*(f"new-{n}" for n in range(1_200)))
    engine.deliver(waiting)
    engine.deliver([*new, *ahead])
    engine.deliver(more_ahead)
    with serving(engine, listing, threads=5_000):
        found = listing.wait_ended(3_704)
    assert found == [one.job_id for one in (*more_ahead, *ahead, *waiting, *new)]
    engine.close()


def test_a_job_under_way_leaves_nothing_of_its_message(server: RedisServer, engine_name: str) -> None:
    server.flush()
    engine, recorder = make_engine(engine_name, server.url), Recorder()
    recorder.hold()
    with Redis.from_url(server.url) as redis, serving(engine, recorder, threads=1):
        until(lambda: redis.info("clients")["blocked_clients"] == 1, "a reader that waits")
        engine.deliver(deliveries(str(uuid.uuid4())))
        recorder.wait_begun(1)
        bodies = ("rq:job:*", "arq:job:*", "*.msgs")
        until(lambda: not any(redis.keys(body) for body in bodies), "the message is gone")
        assert recorder.ended == []
        recorder.release()
    engine.close()


def test_what_could_not_be_dropped_of_a_message_is_dropped_later(server: RedisServer) -> None:
    class Failing(RQLayout):
        faults = 1

        def forget(self, *of: Any) -> None:
            self.faults -= 1
            if self.faults >= 0:
                raise redis.ConnectionError("gone")
            super().forget(*of)

    server.flush()
    engine = RQEngine(server.url)
    with Redis.from_url(server.url) as client:
        queues = Queues(client, Failing(), ["default"])
        engine.deliver(deliveries(str(uuid.uuid4())))
        assert len(queues.wait()) == 1
        queues.settled()
        assert len(client.keys("rq:job:*")) == 1
        queues.settled()
        assert client.keys("rq:job:*") == []
    engine.close()


def test_an_rq_message_that_nobody_takes_expires(server: RedisServer) -> None:
    server.flush()
    engine = RQEngine(server.url)
    engine.deliver([*deliveries("a"), *(replace(one, first=True) for one in deliveries("b"))])
    with Redis.from_url(server.url) as client:
        lives = [client.ttl(key) for key in client.keys("rq:job:*")]
    assert len(lives) == 2
    assert all(0 < life <= KEPT_FOR for life in lives)
    engine.close()


def test_what_dramatiq_gives_back_goes_to_the_head_of_its_queue(server: RedisServer) -> None:
    server.flush()
    engine, recorder = DramatiqEngine(server.url), Recorder()
    engine.deliver(deliveries("waiting"))
    taken = [
        dramatiq.MessageProxy(
            dramatiq.Message(
                queue_name="default", actor_name="thumbnail", args=(name,), kwargs={}, options={}
            )
        )
        for name in ("taken-1", "taken-2")
    ]
    hosted: Any = SimpleNamespace(engine=engine)
    HostedConsumer(hosted).requeue(taken)
    with serving(engine, recorder, threads=1):
        assert recorder.wait_ended(3) == ["taken-1", "taken-2", "waiting"]
    engine.close()


def test_the_rights_that_the_guide_grants_are_enough(server: RedisServer, engine_name: str) -> None:
    server.flush()
    address = urlsplit(server.url)
    with Redis.from_url(server.url) as redis:
        redis.execute_command("ACL", "SETUSER", "worker", "reset", *granted(engine_name))
    url = f"redis://worker:secret@{address.hostname}:{address.port}/0"
    engine, recorder = make_engine(engine_name, url), Recorder()
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
