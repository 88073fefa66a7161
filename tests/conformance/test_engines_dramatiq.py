"""The engine suite on dramatiq, over Redis."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import dramatiq
import psutil
import pytest
from dramatiq.brokers.redis import RedisBroker
from tests.conformance.redis_transport import OURS, RedisTransport, fresh_server, redis_server

from faena.engines.dramatiq import DramatiqEngine
from faena.engines.dramatiq.engine import check_version
from faena.engines.dramatiq.hosted import _in_order
from faena.testing.engines import (
    EngineConformance,
    ProcessConformance,
    Transport,
    WorkerConformance,
    deliveries,
)
from faena.testing.engines.bench import Bench
from faena.testing.engines.processes import Crew
from faena.testing.servers import RedisServer

__all__ = ["fresh_server", "redis_server"]

NAMESPACE = "faena-dramatiq"
HONEST: dict[str, object] = {
    "queue_name": "default",
    "actor_name": "t",
    "args": ["evil"],
    "kwargs": {},
    "options": {"redis_message_id": "1", "fn": "faena.run"},
    "message_id": "1",
    "message_timestamp": 1,
}


def _but(**changes: object) -> bytes:
    return json.dumps(HONEST | changes).encode()


HOSTILE = [
    _but(actor_name="os.system", options={"redis_message_id": "1"}),
    _but(options={"redis_message_id": "1", "fn": "os.system"}),
    _but(args=["evil", "more"]),
    _but(args=[["evil"]]),
    _but(kwargs={"job": "evil"}),
    _but(args=["x" * 10_000]),
    _but()[:-20],
    pickle.dumps(print),
    b"\xff\xfe\x00",
    b"null",
    b"",
]


class DramatiqTransport(RedisTransport):
    engine_class = DramatiqEngine
    hostile = HOSTILE
    refused_versions = ("1.17.1", "3.0.0")
    own_commands: Mapping[str, Sequence[str]] = {
        "dramatiq": (
            *("-m", "dramatiq", "faena.engines.dramatiq_app"),
            *("--processes", "2", "--threads", "4"),
        )
    }

    def messages(self, queue: str) -> list[bytes]:
        ids = self.redis.lrange(f"{NAMESPACE}:{queue}", 0, -1)
        return [self.redis.hget(f"{NAMESPACE}:{queue}.msgs", token) for token in ids]

    def send(self, queue: str, message: bytes) -> None:
        token = f"sent-past-the-engine-{self.redis.incr('sent')}"
        self.redis.hset(f"{NAMESPACE}:{queue}.msgs", token, message)
        self.redis.rpush(f"{NAMESPACE}:{queue}", token)

    def check_version(self, version: str) -> None:
        check_version(version)


class OnDramatiq:
    @pytest.fixture
    def transport(self, fresh_server: RedisServer) -> Transport:
        return DramatiqTransport(fresh_server)


class TestDramatiqAlone(OnDramatiq, EngineConformance):
    pass


class TestDramatiqWithAWorker(OnDramatiq, WorkerConformance):
    pass


class TestDramatiqInProcesses(OnDramatiq, ProcessConformance):
    commands = (*OURS, "dramatiq")

    async def test_dramatiqs_log_shows_the_task_by_its_name_with_the_job(
        self, bench: Bench, crew: Crew, tmp_path: Path
    ) -> None:
        worker = crew.start("dramatiq", "-v", "--queues", "low,default")
        jobs = [await bench.enqueue(name=queue, queue=queue) for queue in ("low", "default")]
        for job in jobs:
            await bench.completed(job)
        worker.send_signal(signal.SIGTERM)
        assert await crew.end(worker) == 0
        log = (tmp_path / "worker-0.log").read_text()
        assert all(f"note('{job.id}')" in log for job in jobs)

    async def test_a_killed_process_takes_its_siblings_along_and_its_job_is_run_by_the_next(
        self, bench: Bench, crew: Crew
    ) -> None:
        worker = crew.start("dramatiq")
        job = await bench.enqueue(name="job", seconds=60.0)
        await bench.begun("job")
        children = psutil.Process(worker.pid).children(recursive=True)
        os.kill(bench.witness.sights("job")[0].pid, signal.SIGKILL)
        assert await crew.end(worker) != 0
        await bench.until(
            lambda: not any(child.is_running() for child in children), "all its processes to end"
        )
        crew.start("dramatiq")
        assert (await bench.completed(job)).crashes == 1

    async def test_a_redis_that_is_silent_ends_it_with_a_sentence_and_no_traceback(self, crew: Crew) -> None:
        worker = crew.start("dramatiq", REDIS_URL="redis://127.0.0.1:1", FAENA_STORE="redis")
        assert await crew.end(worker) == 2
        assert "could not start: Redis at redis://127.0.0.1:1 cannot be reached" in crew.logs()
        assert "Traceback" not in crew.logs()

    async def test_settings_that_no_worker_can_start_with_end_it_at_once(self, crew: Crew) -> None:
        worker = crew.start("dramatiq", FAENA_APP="nowhere:app")
        assert await crew.end(worker) == 2
        assert "nowhere" in crew.logs()


def test_dramatiqs_own_broker_reads_what_faena_sends(fresh_server: RedisServer) -> None:
    # A namespace of its own: a worker of the test before may still be hanging up.
    engine = DramatiqEngine(fresh_server.url, namespace="read-by-dramatiq")
    broker = RedisBroker(url=fresh_server.url, namespace=engine.namespace, middleware=[])
    engine.deliver(deliveries("job-1", "job-2"))
    fetched = [dramatiq.Message.decode(data) for data in broker.do_fetch("default", 10)]
    assert [str(message) for message in fetched] == ["thumbnail('job-1')", "thumbnail('job-2')"]
    for message in fetched:
        broker.do_ack("default", message.options["redis_message_id"])
    assert broker.do_qsize("default") == engine.depth("default") == 0
    broker.client.close()
    engine.close()


def test_queues_are_served_in_the_order_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dramatiq", "faena.engines.dramatiq_app", "-Q", "z", "b", "a"])
    assert _in_order({"a", "b", "z"}) == ("z", "b", "a")


def test_queues_of_the_command_line_may_be_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dramatiq", "faena.engines.dramatiq_app", "--queues", "z,b,", "a"])
    assert _in_order({"z,b,", "a"}) == ("z", "b", "a")
