"""Backoff: pure arithmetic, held by properties."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faena.retry import backoff, ceiling, retries

attempts = st.integers(min_value=1, max_value=100_000)
jitters = st.sampled_from(["equal", "full"])
bounds = st.tuples(
    st.floats(min_value=0, max_value=1e6, allow_nan=False),
    st.floats(min_value=0, max_value=1e6, allow_nan=False),
).map(sorted)
seeds = st.integers()


@given(attempts, bounds, jitters, seeds)
def test_a_delay_is_never_outside_its_bounds(attempt, bounds, jitter, seed):
    minimum, maximum = bounds
    delay = backoff(attempt, minimum=minimum, maximum=maximum, jitter=jitter, source=random.Random(seed))
    assert minimum <= delay <= maximum


@given(attempts, bounds, jitters, seeds)
def test_the_same_random_source_gives_the_same_delay(attempt, bounds, jitter, seed):
    minimum, maximum = bounds
    one, other = (
        backoff(attempt, minimum=minimum, maximum=maximum, jitter=jitter, source=random.Random(seed))
        for _ in "ab"
    )
    assert one == other


@given(attempts, bounds)
def test_the_longest_delay_never_falls_from_one_attempt_to_the_next(attempt, bounds):
    minimum, maximum = bounds
    now = ceiling(attempt, minimum=minimum, maximum=maximum)
    assert now <= ceiling(attempt + 1, minimum=minimum, maximum=maximum) <= maximum


@given(attempts, bounds, seeds)
def test_equal_jitter_leaves_half_of_the_wait_certain(attempt, bounds, seed):
    minimum, maximum = bounds
    delay = backoff(attempt, minimum=minimum, maximum=maximum, jitter="equal", source=random.Random(seed))
    assert delay >= ceiling(attempt, minimum=minimum, maximum=maximum) / 2


class Extreme:
    def __init__(self, end):
        self.end = end

    def uniform(self, a, b):
        return (a, b)[self.end]


@pytest.mark.parametrize(
    ("jitter", "attempt", "shortest", "longest"),
    [
        ("equal", 1, 15, 30),
        ("equal", 2, 30, 60),
        ("equal", 3, 60, 120),
        ("equal", 20, 1800, 3600),
        ("full", 1, 15, 30),
        ("full", 3, 15, 120),
        ("full", 20, 15, 3600),
    ],
)
def test_the_documented_ranges_hold(jitter, attempt, shortest, longest):
    ends = [backoff(attempt, minimum=15, maximum=3600, jitter=jitter, source=Extreme(end)) for end in (0, 1)]
    assert ends == [shortest, longest]


def test_without_a_source_delays_are_spread():
    assert len({backoff(5, minimum=1, maximum=1000) for _ in range(20)}) > 1


def test_only_chosen_failures_are_tried_again():
    assert retries(ConnectionResetError(), (OSError,))
    assert not retries(ValueError(), (OSError,))
    assert not retries(KeyboardInterrupt(), (Exception,))
