"""Workers that are killed or stopped in mid-job. `python -m bench kills` does the same at full length."""

from __future__ import annotations

import sys

import pytest
from bench.kills import prove
from tests.redis_kit import redis_server

__all__ = ["redis_server"]

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL and no SIGSTOP"),
    pytest.mark.timeout(180),
]


@pytest.mark.parametrize("engine", ["direct", "huey"])
def test_no_job_is_lost_or_completed_twice_when_workers_are_killed(engine: str) -> None:
    proof = prove(engine=engine, jobs=200, kills=4, seed=20261121)
    assert proof["faults"] == []
    assert proof["kills"] == 4
    assert proof["statuses"] == {"completed": 200}


def test_a_worker_that_wakes_up_after_its_lease_writes_nothing() -> None:
    proof = prove(engine="direct", jobs=200, stops=3, seed=20261121)
    assert proof["faults"] == []
    assert proof["stops"] == 3
    assert proof["statuses"] == {"completed": 200}


@pytest.mark.usefixtures("redis_server")  # to skip or to fail where there is none; each proof starts its own
@pytest.mark.parametrize("engine", ["direct", "dramatiq", "huey", "celery", "rq", "arq"])
def test_no_job_is_lost_when_workers_supervisor_and_redis_are_killed(engine: str) -> None:
    disturbed = {"kills": 2, "supervisors": 1, "restarts": 1}
    proof = prove(engine=engine, jobs=150, **disturbed, processes=2, seed=20261121, on_redis=True)
    assert proof["faults"] == []
    assert (proof["kills"], proof["supervisors_killed"], proof["redis_restarts"]) == (2, 1, 1)
    assert proof["statuses"] == {"completed": proof["jobs_stored"]}
