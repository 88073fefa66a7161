"""Workers that are killed or stopped in mid-job. `python -m bench kills` does the same at full length."""

from __future__ import annotations

import sys

import pytest
from bench.kills import prove

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL and no SIGSTOP"),
    pytest.mark.timeout(180),
]


@pytest.mark.parametrize("engine", ["direct", "huey"])
def test_no_job_is_lost_or_completed_twice_when_workers_are_killed(engine: str) -> None:
    proof = prove(engine=engine, jobs=250, kills=6, stops=0, seed=20261121)
    assert proof["faults"] == []
    assert proof["kills"] == 6
    assert proof["statuses"] == {"completed": 250}


def test_a_worker_that_wakes_up_after_its_lease_writes_nothing() -> None:
    proof = prove(engine="direct", jobs=200, kills=0, stops=4, seed=20261121)
    assert proof["faults"] == []
    assert proof["stops"] == 4
    assert proof["statuses"] == {"completed": 200}
