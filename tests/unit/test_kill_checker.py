"""The checker behind the kill tests sees each fault that it is there for: a proof that can't fail proves nothing."""

from __future__ import annotations

import pytest
from bench.kills import Disturbance, Run, faults

from faena.events import Event, EventType
from faena.job import Job, Status
from faena.ports.records import Story

WINNER, LOSER = "20-2", "10-1"


def a_job(**changes: object) -> Job:
    facts: dict[str, object] = {
        "id": "a",
        "task": "trace",
        "args": b"{}",
        "queue": "default",
        "priority": 0,
        "status": Status.COMPLETED,
        "attempt": 1,
        "max_attempts": 6,
        "crashes": 1,
        "token": 2,
        "created_at": 0.0,
        "due_at": 0.0,
        "result": b'"20-2"',
    }
    return Job(**(facts | changes))  # type: ignore[arg-type]


def a_story(*told: tuple[str, str | None], **changes: object) -> Story:
    events = tuple(
        Event(
            seq=number,
            type=EventType.EVENT if run else EventType.STATUS,
            status=Status(status),
            at=0.0,
            event="ran" if run else None,
            data={"run": run} if run else None,
        )
        for number, (status, run) in enumerate(told, 1)
    )
    return Story(job=a_job(seq=len(events), **changes), events=events)


RESCUED = (
    ("pending", None),
    ("processing", None),
    ("processing", LOSER),
    ("pending", None),
    ("processing", None),
    ("processing", WINNER),
    ("completed", None),
)
RUNS = [Run(job_id="a", name=LOSER, ended=False), Run(job_id="a", name=WINNER, ended=True)]
KILLED = Disturbance(killed=[10])


def test_a_job_that_was_rescued_after_a_kill_is_in_order() -> None:
    assert faults([a_story(*RESCUED)], RUNS, KILLED, jobs=1) == []


@pytest.mark.parametrize(
    ("story", "runs", "disturbance", "jobs", "told"),
    [
        (a_story(*RESCUED), RUNS, KILLED, 2, "2 jobs were acknowledged and 1 are stored"),
        (a_story(*RESCUED, status=Status.FAILED), RUNS, KILLED, 1, "is failed"),
        (a_story(*RESCUED, ("completed", None)), RUNS, KILLED, 1, "completed 2 times"),
        (a_story(*RESCUED), RUNS, Disturbance(), 1, "explained by no kill"),
        (a_story(*RESCUED, crashes=0), RUNS, KILLED, 1, "only 0 rescues"),
        (a_story(*RESCUED), RUNS[:1], KILLED, 1, "a run that never ended"),
        (
            a_story(*RESCUED[:-1], ("processing", LOSER), RESCUED[-1]),
            RUNS,
            KILLED,
            1,
            "a stale event of 10-1 was accepted",
        ),
        (
            a_story(*RESCUED, result=b'"10-1"'),
            [Run(job_id="a", name=LOSER, ended=True), RUNS[1]],
            KILLED,
            1,
            "the result is of 10-1",
        ),
    ],
)
def test_a_fault_is_found(
    story: Story, runs: list[Run], disturbance: Disturbance, jobs: int, told: str
) -> None:
    assert any(told in fault for fault in faults([story], runs, disturbance, jobs=jobs))
