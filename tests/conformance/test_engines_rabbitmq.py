"""The engine suite on Celery and on dramatiq over RabbitMQ, and what RabbitMQ adds."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import dramatiq
import pytest
from tests.conformance.rabbit_transport import (
    RabbitTransport,
    Relay,
    open_relay,
    rabbit_relay,
    rabbit_server,
)
from tests.conformance.test_engines_celery import CALL
from tests.conformance.test_engines_celery import HOSTILE as CELERY_HOSTILE
from tests.conformance.test_engines_dramatiq import HOSTILE as DRAMATIQ_HOSTILE

from faena.cli.checks import FAULT, check_engine
from faena.engines.celery import PREFIX
from faena.engines.celery_rabbit import CeleryRabbitEngine
from faena.engines.dramatiq.rabbit import DramatiqRabbitEngine
from faena.engines.onrabbit import OnRabbit
from faena.engines.rabbit_links import Link, address, check_amqp
from faena.errors import EngineDown, InvalidSettings
from faena.testing.engines import (
    FAENA,
    EngineConformance,
    Recorder,
    Transport,
    WorkerConformance,
    deliveries,
    serving,
)
from faena.testing.engines.base import EngineSuite
from faena.testing.engines.bench import Bench
from faena.testing.engines.processes import Crew, ProcessSuite
from faena.testing.rabbit_server import RabbitServer

__all__ = ["open_relay", "rabbit_relay", "rabbit_server"]

EVERY = bool(os.environ.get("EVERY_COMMAND"))
AMQP_VERSIONS = ("5.2.0", "6.0.0")


class CeleryTransport(RabbitTransport):
    engine_class = CeleryRabbitEngine
    prefix = PREFIX
    refused_versions = AMQP_VERSIONS
    own_commands: Mapping[str, Sequence[str]] = {
        "celery": (
            *("-m", "celery", "-A", "faena.engines.celery_app", "worker", "--pool=threads"),
            *("--concurrency=4", "--without-mingle"),
        )
    }
    hostile = CELERY_HOSTILE

    def messages(self, queue: str) -> list[bytes]:
        return [
            json.dumps([found.properties["application_headers"], json.loads(found.body)]).encode()
            for found in self.waiting(queue)
        ]

    def send(self, queue: str, message: bytes) -> None:
        self.publish(queue, message)
        self.publish(queue, message, application_headers={"task": "t", "origin": "faena"})
        self.publish(queue, CALL.encode(), application_headers={"task": "os.system"})

    def check_version(self, version: str) -> None:
        check_amqp(version)


class DramatiqTransport(RabbitTransport):
    engine_class = DramatiqRabbitEngine
    prefix = "faena-dramatiq:"
    refused_versions = AMQP_VERSIONS
    own_commands: Mapping[str, Sequence[str]] = {
        "dramatiq": (
            *("-m", "dramatiq", "faena.engines.dramatiq_app"),
            *("--processes", "2", "--threads", "4"),
        )
    }
    hostile = DRAMATIQ_HOSTILE

    def messages(self, queue: str) -> list[bytes]:
        return [found.body for found in self.waiting(queue)]

    def send(self, queue: str, message: bytes) -> None:
        self.publish(queue, message)

    def check_version(self, version: str) -> None:
        check_amqp(version)


class OnCelery:
    @pytest.fixture
    def transport(self, rabbit_server: RabbitServer, open_relay: Relay) -> Iterator[Transport]:
        transport = CeleryTransport(rabbit_server, open_relay)
        yield transport
        transport.close()


class OnDramatiq:
    @pytest.fixture
    def transport(self, rabbit_server: RabbitServer, open_relay: Relay) -> Iterator[Transport]:
        transport = DramatiqTransport(rabbit_server, open_relay)
        yield transport
        transport.close()


class TestCeleryAlone(OnCelery, EngineConformance):
    pass


class TestDramatiqAlone(OnDramatiq, EngineSuite if not EVERY else EngineConformance):  # type: ignore[misc]
    """Both read and send by the same code: with EVERY_COMMAND=1 each case is run for dramatiq, too."""

    test_rejects = EngineConformance.test_a_hostile_message_is_rejected_and_the_worker_lives
    test_json = EngineConformance.test_a_message_is_json_and_tells_the_job_and_its_task
    test_order = EngineConformance.test_queues_are_served_in_the_order_given
    test_once = EngineConformance.test_two_workers_share_the_messages_and_none_is_run_twice
    test_outage = EngineConformance.test_a_worker_outlives_its_transport_and_goes_on_when_it_is_back
    test_purge = EngineConformance.test_purge_drops_the_messages_of_the_named_queues_only


class TestCeleryWithAWorker(OnCelery, WorkerConformance):
    pass


class TestDramatiqWithAWorker(OnDramatiq, WorkerConformance):
    pass


class OutageSuite(ProcessSuite):
    """``faena worker`` and an engine's own command line, side by side, through an outage of RabbitMQ."""

    command: str
    killed: bool
    """RabbitMQ itself is killed and started again, which takes seconds; else all connections are cut."""

    async def test_workers_of_both_command_lines_go_on_when_rabbitmq_was_away_and_is_back(
        self, bench: Bench, crew: Crew, rabbit_server: RabbitServer, open_relay: Relay
    ) -> None:
        ours, own = crew.start(FAENA), crew.start(self.command)
        await bench.completed(await bench.enqueue(name="before"))
        (rabbit_server.kill if self.killed else open_relay.cut)()
        meanwhile = await bench.enqueue(name="meanwhile")
        await asyncio.to_thread(rabbit_server.start)
        open_relay.open()
        await bench.completed(meanwhile)
        own.send_signal(signal.SIGSTOP)
        await bench.completed(await bench.enqueue(name="by ours"))
        own.send_signal(signal.SIGCONT)
        ours.terminate()
        assert await crew.end(ours) == 0
        for number in range(5):
            await bench.completed(await bench.enqueue(name=f"by its own {number}"))
        own.terminate()
        assert await crew.end(own) == 0


class TestCeleryInProcesses(OnCelery, OutageSuite):
    command = "celery"
    killed = True


class TestDramatiqInProcesses(OnDramatiq, OutageSuite):
    command = "dramatiq"
    killed = False


@pytest.fixture(params=[CeleryTransport, DramatiqTransport])
def engine(
    request: pytest.FixtureRequest, rabbit_server: RabbitServer, open_relay: Relay
) -> Iterator[OnRabbit]:
    transport = request.param(rabbit_server, open_relay)
    engine = transport.engine()
    yield engine
    engine.close()
    transport.close()


def test_a_server_that_hangs_is_down_within_two_seconds_for_a_crowd(
    engine: OnRabbit, open_relay: Relay
) -> None:
    engine.ping()
    waits = []

    def send() -> None:
        began = time.monotonic()
        with pytest.raises(EngineDown, match="does not answer"):
            engine.deliver(deliveries("job"))
        waits.append(time.monotonic() - began)

    open_relay.hold()
    try:
        senders = [threading.Thread(target=send) for _ in range(60)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    finally:
        open_relay.resume()
    assert len(waits) == 60
    assert max(waits) < 2.0


def test_what_is_sent_after_a_short_cut_arrives_without_an_error(engine: OnRabbit, open_relay: Relay) -> None:
    engine.ping()
    open_relay.cut()
    open_relay.open()
    engine.deliver(deliveries("job"))
    assert engine.depth("default") == 1


def test_an_outage_is_told_once_and_so_is_its_end(
    engine: OnRabbit, open_relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    with caplog.at_level(logging.WARNING, "faena"), serving(engine, recorder):
        engine.deliver(deliveries("before"))
        recorder.wait_ended(1)
        open_relay.cut()
        time.sleep(0.8)  # several tries
        open_relay.open()
        engine.deliver(deliveries("after"))
        recorder.wait_ended(2)
    told = [record.message.partition(";")[0] for record in caplog.records]
    assert told == ["RabbitMQ can't be read", "RabbitMQ can be read again"]


def test_an_idle_worker_that_is_brought_more_than_it_has_room_for_gives_it_back_in_order(
    engine: OnRabbit,
) -> None:
    recorder = Recorder()
    recorder.hold()
    with serving(engine, recorder, queues=("first", "second", "third"), threads=1):
        for _ in range(5):
            ended = len(recorder.ended)
            engine.deliver(
                [
                    *deliveries("c", queue="third"),
                    *deliveries("b", queue="second"),
                    *deliveries("a", queue="first"),
                ]
            )
            recorder.wait_begun(ended + 1)
            recorder.release()
            recorder.wait_ended(ended + 3)
            recorder.hold()
    assert sorted(recorder.ended) == [*"aaaaabbbbbccccc"]


def test_a_queue_that_vanishes_under_an_idle_worker_is_made_again_without_a_word(
    rabbit_server: RabbitServer, engine: OnRabbit, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    with caplog.at_level(logging.WARNING, "faena"), serving(engine, recorder):
        engine.deliver(deliveries("before"))
        recorder.wait_ended(1)
        link = Link(rabbit_server.url)
        link._channel.queue_delete(engine._layout.name("default"))
        link.close()
        engine.deliver(deliveries("after"))
        recorder.wait_ended(2)
    assert not caplog.records


def test_dramatiq_itself_can_decode_what_faena_sends(rabbit_server: RabbitServer, open_relay: Relay) -> None:
    transport = DramatiqTransport(rabbit_server, open_relay)
    engine = transport.engine()
    engine.deliver(deliveries("job-1", "job-2"))
    found = [dramatiq.Message.decode(body) for body in transport.messages("default")]
    assert [str(message) for message in found] == ["thumbnail('job-1')", "thumbnail('job-2')"]
    engine.close()
    transport.close()


def test_an_address_may_have_everything_or_nothing() -> None:
    told = address("amqp://ann:p%40ss@queue.example:5673/jobs%2Fone")
    assert (told["host"], told["userid"], told["password"]) == ("queue.example:5673", "ann", "p@ss")
    assert (told["virtual_host"], told["ssl"]) == ("jobs/one", False)
    bare = address("amqps://localhost")
    assert (bare["host"], bare["userid"], bare["virtual_host"]) == ("localhost:5671", "guest", "/")
    assert bare["ssl"]["server_hostname"] == "localhost"
    with pytest.raises(InvalidSettings, match="FAENA_BROKER_URL"):
        CeleryRabbitEngine("amqp://localhost:many")


def test_nothing_that_listens_is_down(unused_tcp_port: int) -> None:
    engine = CeleryRabbitEngine(f"amqp://localhost:{unused_tcp_port}")
    with pytest.raises(EngineDown, match="RabbitMQ does not answer"):
        engine.ping()
    found = check_engine(engine)
    assert (found.check, found.level) == ("engine", FAULT)
    assert "celery: RabbitMQ does not answer" in found.told
