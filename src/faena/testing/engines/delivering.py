"""Sending: nothing is lost, nothing but JSON travels, and a transport that is down says so at once."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from faena.errors import EngineDown
from faena.ports.engine import Engine
from faena.testing.engines.base import EngineSuite, Recorder, Transport, deliveries, serving

SOON = 2.0
"""Seconds within which `deliver` must have given up."""


class Delivering(EngineSuite):
    """Cases 1, 2, 8, 18, 19 and 21."""

    def test_what_is_sent_is_run_once(self, engine: Engine) -> None:
        recorder = Recorder()
        with serving(engine, recorder):
            engine.deliver(deliveries("job-1"))
            recorder.wait_ended(1)
            engine.deliver(deliveries("job-2"))
            assert recorder.wait_ended(2) == ["job-1", "job-2"]

    def test_what_was_sent_before_anyone_served_is_run(self, engine: Engine) -> None:
        recorder = Recorder()
        engine.deliver(deliveries("early"))
        with serving(engine, recorder):
            assert recorder.wait_ended(1) == ["early"]

    def test_a_message_is_json_and_tells_the_job_and_its_task(
        self, engine: Engine, transport: Transport
    ) -> None:
        engine.deliver(deliveries("job-1"))
        (message,) = transport.messages("default")
        json.loads(message)
        assert b"job-1" in message
        assert b"thumbnail" in message

    def test_eight_threads_send_a_thousand_and_all_arrive(self, engine: Engine) -> None:
        ids = [f"job-{n}" for n in range(1000)]
        recorder = Recorder()
        with serving(engine, recorder), ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda job_id: engine.deliver(deliveries(job_id)), ids))
            assert Counter(recorder.wait_ended(1000)) == Counter(ids)

    def test_five_thousand_in_one_call_all_arrive(self, engine: Engine) -> None:
        ids = [f"job-{n}" for n in range(5000)]
        recorder = Recorder()
        engine.deliver(deliveries(*ids))
        with serving(engine, recorder):
            assert Counter(recorder.wait_ended(5000)) == Counter(ids)

    def test_five_hundred_senders_at_once_all_get_through(self, engine: Engine) -> None:
        start = threading.Barrier(500)

        def send(number: int) -> None:
            start.wait()
            engine.deliver(deliveries(f"job-{number}"))

        with ThreadPoolExecutor(500) as pool:
            list(pool.map(send, range(500)))
        assert engine.depth("default") == 500

    def test_nothing_sent_is_nothing_said(self, engine: Engine) -> None:
        engine.deliver([])
        assert engine.depth("default") == 0

    def test_another_process_sends_and_this_one_runs(self, engine: Engine, transport: Transport) -> None:
        if not engine.capabilities.separate_processes:
            pytest.skip(f"{engine.name} lives in one process")
        recorder = Recorder()
        with serving(engine, recorder):
            sender = multiprocessing.get_context("spawn").Process(target=_send, args=(transport.maker(), 100))
            sender.start()
            assert len(set(recorder.wait_ended(100))) == 100
            sender.join()
        assert sender.exitcode == 0

    def test_an_idle_worker_starts_at_once(self, engine: Engine, transport: Transport) -> None:
        recorder = Recorder()
        sender = transport.engine()
        with serving(engine, recorder):
            sender.deliver(deliveries("warm-up"))
            recorder.wait_begun(1)
            waits = sorted(_start_latency(sender, recorder, n) for n in range(2, 12))
        sender.close()
        assert waits[5] < 0.06, f"it took {waits[5] * 1000:.0f} ms in the median"

    def test_depth_counts_what_waits_queue_by_queue(self, engine: Engine) -> None:
        engine.deliver([*deliveries("a", "b", queue="default"), *deliveries("c", queue="high")])
        assert (engine.depth("default"), engine.depth("high"), engine.depth("other")) == (2, 1, 0)

    def test_purge_drops_the_messages_of_the_named_queues_only(self, engine: Engine) -> None:
        engine.deliver([*deliveries("a", "b"), *deliveries("c", queue="high"), *deliveries("d", queue="low")])
        assert engine.purge(["default", "high", "default"]) == 3
        assert (engine.depth("default"), engine.depth("high"), engine.depth("low")) == (0, 0, 1)

    def test_queue_names_may_hold_any_character(self, engine: Engine) -> None:
        recorder = Recorder()
        queue = "media: fotos/ñandú 'x'\""
        with serving(engine, recorder, queues=(queue,)):
            engine.deliver(deliveries("job-1", queue=queue))
            assert recorder.wait_ended(1) == ["job-1"]
        assert engine.depth(queue) == 0

    def test_a_transport_that_is_down_is_told_within_two_seconds(
        self, engine: Engine, transport: Transport
    ) -> None:
        engine.deliver(deliveries("before"))
        transport.break_down()
        for call in _every_call(engine):
            began = time.monotonic()
            with pytest.raises(EngineDown):
                call()
            assert time.monotonic() - began < SOON

    def test_a_transport_that_was_down_from_the_start_is_told_within_two_seconds(
        self, transport: Transport
    ) -> None:
        transport.break_down()
        engine = transport.engine()
        began = time.monotonic()
        with pytest.raises(EngineDown):
            engine.deliver(deliveries("job-1"))
        assert time.monotonic() - began < SOON
        engine.close()

    def test_a_transport_that_came_back_carries_again(self, engine: Engine, transport: Transport) -> None:
        engine.deliver(deliveries("before"))
        transport.break_down()
        with pytest.raises(EngineDown):
            engine.deliver(deliveries("meanwhile"))
        transport.restore()
        engine.ping()
        before = engine.depth("default")
        engine.deliver(deliveries("after"))
        assert engine.depth("default") == before + 1

    def test_closing_is_safe_to_repeat(self, engine: Engine) -> None:
        engine.deliver(deliveries("job-1"))
        engine.close()
        engine.close()

    def test_a_version_that_the_engine_was_not_built_for_is_refused_in_plain_words(
        self, transport: Transport
    ) -> None:
        for version in transport.refused_versions:
            with pytest.raises(ImportError, match=r"needs.*found.*pip install"):
                transport.check_version(version)


def _every_call(engine: Engine) -> list[Callable[[], object]]:
    return [
        lambda: engine.deliver(deliveries("job-1")),
        lambda: engine.depth("default"),
        lambda: engine.purge(["default"]),
        engine.ping,
    ]


def _start_latency(sender: Engine, recorder: Recorder, number: int) -> float:
    began = time.perf_counter()
    sender.deliver(deliveries(f"job-{number}"))
    recorder.wait_begun(number)
    return time.perf_counter() - began


def _send(make_engine: Callable[[], Engine], count: int) -> None:
    engine = make_engine()
    for number in range(count):
        engine.deliver(deliveries(f"job-{number}"))
    engine.close()
