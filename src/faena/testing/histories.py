"""What the state machine's histories are made of: jobs, limits, reports, outcomes and steps of the clock."""

from __future__ import annotations

import math
from typing import Any, Final

from hypothesis import strategies as st

from faena.events import EventType, NewEvent
from faena.job import OUTCOMES, Failure, Gate, Idempotency, OnConflict, Window
from faena.ports.store import StoreOptions

ALL = 10_000
OPTIONS = StoreOptions(result_ttl=100, failure_ttl=500, max_crashes=2, max_events=ALL)
LOG = NewEvent(type=EventType.LOG, event="info", message="line")

# Delays and leases are whole seconds and clock steps never sum up to whole ones, so that nothing hangs on whether
# a time that is exactly now has come.
FORWARD = (0.001, 4.001, 9.001, 31.001, 101.001, 600.001)
BACK = (2.0317, 45.0317)

# A gate's name always bears the same kinds of rules, and the same longest window and largest count are seen sooner or
# later: what a store may have forgotten is then known.
SLOW = Gate(name="a-rate", windows=(Window(count=2, period=10), Window(count=3, period=30)))
SLOWER = Gate(name="a-rate", windows=(Window(count=1, period=30),))
ALONE = Gate(name="b-slots", at_once=1)
PAIRS = Gate(name="b-slots", at_once=2)
BOTH = Gate(name="c-both", at_once=2, windows=(Window(count=1, period=5), Window(count=4, period=100)))
AT_MOST: Final = {
    "a-rate": Gate(name="a-rate", windows=SLOW.windows),
    "b-slots": PAIRS,
    "c-both": BOTH,
}
"""What holds for all jobs of a gate, whatever their own rules are."""

numbers = st.integers(0, 30)
"""Which of the jobs, or leases, that there have been (counted from the latest)."""
several = st.lists(numbers, min_size=1, max_size=3)
gates = st.sampled_from(
    [(), (), (), (SLOW,), (SLOWER,), (ALONE,), (PAIRS,), (BOTH,), (SLOW, PAIRS), (SLOW, PAIRS, BOTH)]
)
crowds = st.fixed_dictionaries(
    {
        "task": st.sampled_from(["add", "resize"]),
        "queue": st.sampled_from(["default", "default", "high"]),
        "gates": gates,
    }
)
"""What many jobs have in common that go one after the other."""


def _as_users_ask(options: dict[str, Any]) -> dict[str, Any]:
    """How long a key is held is said of keys only."""
    return options if options["key"] is not None else {**options, "key_kept": 0.0, "key_bound": None}


new_jobs = st.fixed_dictionaries(
    {
        "task": st.sampled_from(["add", "resize"]),
        "args": st.sampled_from([b"1", b"2"]),
        "queue": st.sampled_from(["default", "high"]),
        "priority": st.sampled_from([0, 0, 5]),
        "delay": st.sampled_from([0, 0, 0, 5, 30]),
        "max_attempts": st.integers(1, 3),
        "key": st.sampled_from([None, None, None, "a", "b"]),
        "key_kept": st.sampled_from([0, 0, 0, 50, math.inf]),
        "key_bound": st.sampled_from([None, None, 20]),
        "on_conflict": st.sampled_from(OnConflict),
        "gates": gates,
        "idempotency": st.sampled_from(
            [None] * 6 + [Idempotency(key=key, digest=digest, kept=40) for key in "xy" for digest in "de"]
        ),
    }
).map(_as_users_ask)
pauses = st.sampled_from([{"queue": "default"}, {"queue": "high"}, {"task": "add"}, {"task": "resize"}])
reports = st.fixed_dictionaries(
    {
        "number": st.integers(1, 4),
        "progress": st.sampled_from([None, 0, 10, 50, 100]),
        "message": st.sampled_from([None, "one", "two"]),
        "events": st.sampled_from([(), (LOG,), (LOG, LOG)]),
        "checkpoint": st.sampled_from([None, b"1", b"2"]),
    }
)
outcomes = st.fixed_dictionaries(
    {
        "step": st.sampled_from(sorted(OUTCOMES)),
        "result": st.sampled_from([None, b"1"]),
        "error": st.sampled_from([None, Failure(type="ValueError", message="boom")]),
        "delay": st.sampled_from([0, 7, 40]),
        "ttl": st.sampled_from([None, 20]),
    }
)
queues = st.sampled_from([("high", "default"), ("default",), ("default", "high")])
leases = st.sampled_from([10, 60])
