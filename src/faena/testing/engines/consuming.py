"""Serving: order, starting and stopping, and what a worker lives through."""

from __future__ import annotations

import logging
import signal
import threading
import time

import pytest
from msgspec.structs import replace

from faena.ports.engine import Engine
from faena.testing.engines.base import EngineSuite, Recorder, Transport, deliveries, serving, until


class Consuming(EngineSuite):
    """Cases 7, 9, 10, 13, 14, 15 and 16, for the engine alone."""

    def test_queues_are_served_in_the_order_given(self, engine: Engine) -> None:
        if not engine.capabilities.queue_order:
            pytest.skip(f"{engine.name} serves its queues in no strict order")
        recorder = Recorder()
        recorder.hold()
        with serving(engine, recorder, queues=("first", "second", "third"), threads=1):
            engine.deliver(deliveries("busy", queue="third"))
            recorder.wait_begun(1)
            engine.deliver(deliveries("c1", "c2", queue="third"))
            engine.deliver(deliveries("b1", "b2", queue="second"))
            engine.deliver(deliveries("a1", "a2", queue="first"))
            recorder.release()
            assert recorder.wait_ended(7) == ["busy", "a1", "a2", "b1", "b2", "c1", "c2"]

    def test_what_comes_to_the_first_queue_overtakes_a_long_backlog(self, engine: Engine) -> None:
        if not engine.capabilities.queue_order:
            pytest.skip(f"{engine.name} serves its queues in no strict order")
        recorder = Recorder()
        recorder.hold()
        engine.deliver(deliveries(*(f"low-{n}" for n in range(1000)), queue="low"))
        with serving(engine, recorder, queues=("high", "low"), threads=2, grace=5):
            recorder.wait_begun(2)
            engine.deliver(deliveries("urgent", queue="high"))
            recorder.release()
            assert "urgent" in recorder.wait_begun(20)[:5]

    def test_a_higher_priority_goes_first_within_a_queue(self, engine: Engine) -> None:
        if not engine.capabilities.priority:
            pytest.skip(f"{engine.name} knows no priorities")
        recorder = Recorder()
        for job_id, priority in (("low", -1), ("first", 0), ("second", 0), ("high", 5)):
            engine.deliver(deliveries(job_id, priority=priority))
        with serving(engine, recorder, threads=1):
            assert recorder.wait_ended(4) == ["high", "first", "second", "low"]

    def test_who_had_his_turn_already_goes_to_the_head_of_the_queue(self, engine: Engine) -> None:
        if not engine.capabilities.head:
            pytest.skip(f"{engine.name} can't put a message at the head of a queue")
        recorder = Recorder()
        rescued = [replace(one, first=True) for one in deliveries("rescued-1", "rescued-2")]
        engine.deliver(deliveries("old-1", "old-2"))
        engine.deliver([*deliveries("new"), *rescued])
        with serving(engine, recorder, threads=1):
            assert recorder.wait_ended(5) == ["rescued-1", "rescued-2", "old-1", "old-2", "new"]

    def test_queues_that_are_not_served_are_left_alone(self, engine: Engine) -> None:
        recorder = Recorder()
        engine.deliver([*deliveries("other", queue="other"), *deliveries("mine")])
        with serving(engine, recorder, queues=("default",)):
            assert recorder.wait_ended(1) == ["mine"]
        assert engine.depth("other") == 1

    def test_as_many_calls_are_under_way_as_there_are_threads(self, engine: Engine) -> None:
        recorder = Recorder()
        recorder.hold()
        engine.deliver(deliveries(*(f"job-{n}" for n in range(10))))
        with serving(engine, recorder, threads=3):
            recorder.wait_begun(3)
            time.sleep(0.2)  # there is no signal for "no fourth one begins"
            assert len(recorder.begun) == 3
            recorder.release()
            recorder.wait_ended(10)

    def test_two_workers_share_the_messages_and_none_is_run_twice(
        self, engine: Engine, transport: Transport
    ) -> None:
        one, two = Recorder(), Recorder()
        other = transport.engine()
        engine.deliver(deliveries(*(f"job-{n}" for n in range(2000))))
        with serving(engine, one), serving(other, two):
            until(lambda: len({*one.ended, *two.ended}) == 2000, "all messages to be run")
        assert len(one.begun) + len(two.begun) == 2000
        other.close()

    def test_a_long_call_is_begun_once(self, engine: Engine) -> None:
        recorder = Recorder()
        with serving(engine, recorder, threads=2):
            recorder.hold()
            engine.deliver(deliveries("long"))
            recorder.wait_begun(1)
            time.sleep(1.0)
            recorder.release()
            recorder.wait_ended(1)
            engine.deliver(deliveries("next"))
            recorder.wait_ended(2)
        assert recorder.begun == ["long", "next"]

    def test_stopping_lets_calls_under_way_end_and_takes_nothing_new(self, engine: Engine) -> None:
        recorder = Recorder()
        recorder.hold()
        with serving(engine, recorder, threads=1) as stop:
            engine.deliver(deliveries("under-way", "waiting"))
            recorder.wait_begun(1)
            threading.Timer(0.2, recorder.release).start()
            stop()
            recorder.wait_ended(1)
        assert recorder.ended == ["under-way"]
        assert engine.depth("default") == 1

    def test_stopping_waits_for_a_call_no_longer_than_the_grace_time(self, engine: Engine) -> None:
        recorder = Recorder()
        recorder.hold()
        with serving(engine, recorder, threads=1, grace=0.3) as stop:
            engine.deliver(deliveries("stuck"))
            recorder.wait_begun(1)
            began = time.monotonic()
            stop()
            assert time.monotonic() - began < 3.0
        recorder.release()
        recorder.wait_ended(1)

    def test_what_was_taken_but_not_begun_when_it_stopped_is_not_lost(self, engine: Engine) -> None:
        recorder = Recorder()
        engine.deliver(deliveries(*(f"job-{n}" for n in range(3000))))
        with serving(engine, recorder, threads=8) as stop:
            recorder.wait_begun(50)
            stop()
            until(
                lambda: len(set(recorder.ended)) + engine.depth("default") == 3000, "all to be accounted for"
            )

    def test_a_worker_starts_and_stops_twice_and_leaves_nothing_behind(self, engine: Engine) -> None:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        threads = set(threading.enumerate())
        for round_ in (1, 2):
            recorder = Recorder()
            with serving(engine, recorder):
                engine.deliver(deliveries(f"job-{round_}"))
                recorder.wait_ended(1)
                assert {number: signal.getsignal(number) for number in handlers} == handlers
        until(lambda: set(threading.enumerate()) <= threads, "the threads to end")
        assert {number: signal.getsignal(number) for number in handlers} == handlers

    def test_a_worker_stops_at_once_when_it_is_idle(self, engine: Engine) -> None:
        with serving(engine, Recorder()) as stop:
            began = time.monotonic()
            stop()
        assert time.monotonic() - began < 2.0

    def test_a_hostile_message_is_rejected_and_the_worker_lives(
        self, engine: Engine, transport: Transport, caplog: pytest.LogCaptureFixture
    ) -> None:
        recorder = Recorder()
        with serving(engine, recorder, threads=1), caplog.at_level(logging.WARNING):
            for message in transport.hostile:
                transport.send("default", message)
            engine.deliver(deliveries("honest"))
            assert recorder.wait_ended(1) == ["honest"]
        assert engine.depth("default") == 0
        assert "reject" in caplog.text

    def test_a_worker_outlives_its_transport_and_goes_on_when_it_is_back(
        self, engine: Engine, transport: Transport
    ) -> None:
        recorder = Recorder()
        with serving(engine, recorder):
            engine.deliver(deliveries("before"))
            recorder.wait_ended(1)
            transport.break_down()
            time.sleep(0.5)  # long enough for an idle worker to notice
            transport.restore()
            until(lambda: _delivers(engine, "after"), "the transport to carry again")
            assert "after" in recorder.wait_ended(2)

    def test_a_call_under_way_does_not_notice_that_the_transport_is_down(
        self, engine: Engine, transport: Transport
    ) -> None:
        recorder = Recorder()
        recorder.hold()
        with serving(engine, recorder):
            engine.deliver(deliveries("under-way"))
            recorder.wait_begun(1)
            transport.break_down()
            time.sleep(0.5)
            recorder.release()
            assert recorder.wait_ended(1) == ["under-way"]
            transport.restore()

    def test_a_wiped_transport_carries_again_at_once(self, engine: Engine, transport: Transport) -> None:
        recorder = Recorder()
        engine.deliver(deliveries("lost", queue="unserved"))
        with serving(engine, recorder):
            transport.wipe()
            engine.deliver(deliveries("after"))
            assert recorder.wait_ended(1) == ["after"]
            assert engine.depth("unserved") == 0

    def test_a_damaged_transport_found_at_the_start_is_replaced_with_a_warning(
        self, engine: Engine, transport: Transport, caplog: pytest.LogCaptureFixture
    ) -> None:
        recorder = Recorder()
        engine.deliver(deliveries("lost", queue="unserved"))
        engine.close()
        transport.close()
        transport.damage()
        with caplog.at_level(logging.WARNING), serving(engine, recorder):
            engine.deliver(deliveries("after"))
            assert recorder.wait_ended(1) == ["after"]
        assert "damaged" in caplog.text

    def test_a_transport_damaged_in_use_carries_again(self, engine: Engine, transport: Transport) -> None:
        recorder = Recorder()
        with serving(engine, recorder):
            engine.deliver(deliveries(*(f"lost-{n}" for n in range(2000)), queue="unserved"))
            transport.damage()
            until(
                lambda: _delivers(engine, "after") and "after" in recorder.ended, "a message to get through"
            )


def _delivers(engine: Engine, job_id: str) -> bool:
    from faena.errors import EngineDown

    try:
        engine.deliver(deliveries(job_id))
    except EngineDown:
        return False
    return True
