"""What the engines on Redis do when the server is there and answers nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tests.redis_kit import empty_redis, redis_server

from faena.engines.dramatiq import DramatiqEngine
from faena.engines.huey.redis import HueyRedisEngine
from faena.errors import EngineDown
from faena.ports.engine import Engine
from faena.testing.engines import Recorder, deliveries, serving
from faena.testing.servers import RedisServer

__all__ = ["empty_redis", "redis_server"]


@pytest.mark.parametrize("make", [DramatiqEngine, HueyRedisEngine])
def test_a_server_that_hangs_is_told_within_two_seconds_and_carries_when_it_goes_on(
    empty_redis: RedisServer, make: Callable[[str], Engine]
) -> None:
    engine, recorder = make(empty_redis.url), Recorder()
    with serving(engine, recorder):
        engine.deliver(deliveries("before"))
        recorder.wait_ended(1)
        empty_redis.pause()
        try:
            for _ in range(2):  # with a connection that it had, and with a new one
                began = time.monotonic()
                with pytest.raises(EngineDown):
                    engine.deliver(deliveries("meanwhile"))
                assert time.monotonic() - began < 2.0
        finally:
            empty_redis.resume()
        engine.deliver(deliveries("after"))
        recorder.wait_ended(2)
    engine.close()


@pytest.mark.parametrize("make", [DramatiqEngine, HueyRedisEngine])
def test_a_job_on_an_idle_engine_starts_within_five_milliseconds_also_after_a_rest(
    empty_redis: RedisServer, make: Callable[[str], Engine]
) -> None:
    engine, recorder = make(empty_redis.url), Recorder()
    waits = []
    with serving(engine, recorder):
        for number in range(1, 6):
            time.sleep(0.05 if number > 1 else 2.0)
            began = time.perf_counter()
            engine.deliver(deliveries(f"job-{number}"))
            recorder.wait_begun(number)
            waits.append(time.perf_counter() - began)
    engine.close()
    assert min(waits) < 0.005
    assert sorted(waits)[2] < 0.05  # the machine may be busy
