"""Limits while workers are killed, by what the functions wrote down outside the store. At full length:
`python -m bench rate_kills`."""

from __future__ import annotations

import sys

import pytest
from bench.rate_kills import most_at_once, most_within, prove_at_once, prove_rate
from tests.redis_kit import redis_server

__all__ = ["redis_server"]

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
    pytest.mark.timeout(120),
]


@pytest.mark.usefixtures("redis_server")  # to skip or to fail where there is none; the proof starts its own
def test_ten_in_three_seconds_are_never_eleven_when_workers_are_killed() -> None:
    proof = prove_rate(engine="direct", on_redis=True, period=3.0, periods=2, kills=3)
    assert proof["most_in_any_period"] <= 10  # by the calls: one that comes late is counted once more
    assert proof["used"] >= 0.8


def test_three_at_once_are_never_four_when_workers_are_killed() -> None:
    proof = prove_at_once(engine="direct", on_redis=False, seconds=3.0, kills=3)
    assert proof["most_at_once"] == 3
    assert proof["starts"] > 10


def test_the_checkers_see_what_is_too_much() -> None:
    assert most_within([0.0, 1.0, 1.9, 2.0, 2.1], 2.0) == 4
    starts = [(1, "a", 0.0), (1, "b", 1.0), (2, "c", 2.0)]
    assert most_at_once(starts, [(1, "a", 1.5), (2, "c", 3.0)], {1: 2.5}) == 2
    assert most_at_once(starts, [(1, "a", 2.1), (2, "c", 3.0)], {1: 2.5}) == 3
