"""``faena why``, ``change``, ``pause``, ``resume``, ``paused``, ``retry --failed``, ``schedules``, ``purge``."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from typing import Any

import msgspec
import pytest
from tests.cli_kit import Result, Run, enqueued, run, told

from faena.client import Client
from faena.job import Failure, Outcome, Step
from faena.testing.factories import a_worker

__all__ = ["run"]


def with_client(work: Any) -> Any:
    """Run a coroutine function with a client on the jobs of the commands."""

    async def connected() -> Any:
        async with sys.modules["cli_app"].app.connect() as client:
            return await work(client)

    return asyncio.run(connected())


def fail_all(**finish: Any) -> None:
    """Claim what waits, and fail it for good."""

    async def work(client: Client) -> None:
        claims = await client.store.claim_next(
            ["default"], worker="w", lease=60, limit=100, request=str(finish)
        )
        error = Failure(type="ValueError", message="broken")
        done = [
            Outcome(job_id=one.job.id, token=one.job.token, **{"step": Step.FAIL, "error": error, **finish})
            for one in claims
        ]
        await client.store.finish(done)

    with_client(work)


def refused(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    return str(result.stderr)


def test_why_says_it_in_a_sentence(run: Run) -> None:
    job_id = enqueued(run)
    assert run("why", job_id).stdout == (
        "pending  no live worker takes the queue default: there is no live worker\n"
    )
    body = told(run("why", job_id, "--json"))
    assert (body["job_id"], body["reason"], body["until"]) == (job_id, "no_worker", None)
    assert "no job has the id" in refused(run("why", "nothing"), 3)


def test_a_waiting_job_is_changed(run: Run) -> None:
    job_id = enqueued(run)
    assert run("change", job_id, "--priority", "7").stdout == f"{job_id}  is pending with priority 7\n"
    later = told(run("change", job_id, "--at", "2126-05-01T12:00:00+02:00", "--json"))
    assert (later["status"], later["due_at"], later["priority"]) == ("scheduled", "2126-05-01T10:00:00Z", 7)
    here = told(run("change", job_id, "--at", "2126-05-01T12:00:00", "--json"))
    assert datetime.fromisoformat(here["due_at"]) == datetime(2126, 5, 1, 12).astimezone()
    assert ", due 2126-05-01" in run("change", job_id, "--priority", "1").stdout
    assert told(run("change", job_id, "--delay", "0", "--json"))["status"] == "pending"


@pytest.mark.parametrize(
    "flags", [[], ["--delay", "1", "--at", "2126-05-01"], ["--at", "soon"], ["--priority", "2000"]]
)
def test_a_change_that_makes_no_sense_is_refused(run: Run, flags: list[str]) -> None:
    refused(run("change", enqueued(run), *flags), 2)


def test_what_runs_no_more_is_not_changed(run: Run) -> None:
    job_id = enqueued(run)
    run("cancel", job_id)
    assert "only one that waits" in refused(run("change", job_id, "--priority", "1"), 4)


def test_a_queue_and_a_task_are_paused_and_resumed(run: Run) -> None:
    assert run("paused").stdout == "Nothing is paused.\n"
    assert run("pause", "slow").stdout == "the queue slow is paused\n"
    assert run("pause", "slow").stdout == "the queue slow was paused already\n"
    assert told(run("pause", "--task", "add", "--json")) == {
        "queue": None, "task": "add", "paused": True, "changed": True,
    }  # fmt: skip
    lines = run("paused").stdout.splitlines()
    assert [line.split("  since ")[0] for line in lines] == ["queue slow", "task add"]
    assert all(line.endswith(", 0 waiting") for line in lines)
    assert [one["queue"] for one in told(run("paused", "--json"))["paused"]] == ["slow", None]
    assert "slow (paused)" in run("queues").stdout
    assert {one["name"]: one["paused"] for one in told(run("queues", "--json"))["queues"]}["slow"] is True
    assert run("resume", "slow").stdout == "the queue slow is resumed\n"
    assert run("resume", "slow").stdout == "the queue slow was not paused\n"


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_pause_names_one_thing(run: Run, verb: str) -> None:
    refused(run(verb), 2)
    refused(run(verb, "slow", "--task", "add"), 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pause", "solw"], "there is no queue 'solw'; there are: default, slow"),
        (["pause", "--task", "craw"], "there is no task 'craw'; there are: add, crawl"),
        (["resume", "solw"], "there is no queue 'solw'; there are: default, slow"),
        (["resume", "--task", "craw"], "there is no task 'craw'; there are: add, crawl"),
        (["purge", "solw"], "there is no queue 'solw'; there are: default, slow"),
        (["retry", "--failed", "--task", "craw"], "there is no task 'craw'; there are: add, crawl"),
        (["retry", "--failed", "--queue", "solw"], "there is no queue 'solw'; there are: default, slow"),
        (["jobs", "--task", "craw"], "there is no task 'craw'; there are: add, crawl"),
        (["jobs", "--queue", "solw"], "there is no queue 'solw'; there are: default, slow"),
        (["enqueue", "craw"], "no task is named 'craw'; registered: add, crawl"),
        (
            ["schedules", "add", "s", "craw", "--every", "9"],
            "no task is named 'craw'; registered: add, crawl",
        ),
        (["schedules", "remove", "s"], "no schedule is named 's'"),
        (["retry", "ID"], "no job has the id 'ID'; it was never there, or its time to be kept is over"),
        (["why", "ID"], "no job has the id 'ID'; it was never there, or its time to be kept is over"),
    ],
)
def test_a_mistyped_name_is_told_and_exits_3(run: Run, arguments: list[str], said: str) -> None:
    assert said in refused(run(*arguments), 3)
    assert json.loads(refused(run(*arguments, "--json"), 3))["message"] == said


def test_what_is_paused_can_be_resumed_when_nothing_else_of_it_is_left(run: Run) -> None:
    async def work(client: Client) -> None:
        await client.pause(queue="gone")
        await client.pause(task="gone")

    run("queues")
    with_client(work)
    assert run("resume", "gone").stdout == "the queue gone is resumed\n"
    assert run("resume", "--task", "gone").stdout == "the task gone is resumed\n"


def test_failed_jobs_are_run_again_a_canary_first(run: Run) -> None:
    failed = {enqueued(run) for _ in range(3)}
    fail_all()
    first = told(run("retry", "--failed", "--task", "add", "--canary", "1", "--json"))
    [canary] = first["jobs"]
    assert (canary["origin"] in failed, first["left"]) == (True, 2)
    assert canary["job_id"] in refused(run("retry", "--failed", "--all", "--after", canary["job_id"]), 4)
    fail_all(step=Step.COMPLETE, error=None, result=b"1")
    output = run("retry", "--failed", "--all", "--after", canary["job_id"]).stdout
    assert output.endswith("2 jobs run again\n")
    assert run("retry", "--failed", "--all").stdout == "0 jobs run again\n"


@pytest.mark.parametrize("flags", [[], ["--canary", "1"], ["--after", "ID"], ["--task", "add", "--all"]])
def test_failed_jobs_are_run_again_only_if_it_is_said_which(run: Run, flags: list[str]) -> None:
    enqueued(run)
    fail_all()
    assert "--all" in refused(run("retry", "--failed", *flags), 2)
    assert told(run("retry", "--failed", "--all", "--json"))["left"] == 0


@pytest.mark.parametrize(
    "arguments", [[], ["ID", "--failed"], ["ID", "--canary", "1"], ["--task", "add"], ["--all"]]
)
def test_a_retry_names_jobs_or_the_failed_ones(run: Run, arguments: list[str]) -> None:
    assert "--failed" in refused(run("retry", *arguments), 2)


def test_a_schedule_is_added_listed_steered_and_removed(run: Run) -> None:
    assert run("schedules").stdout.startswith("No schedules")
    added = told(
        run("schedules", "add", "nightly", "add", "left=4", "--cron", "0 3 * * *", "--timezone", "Europe/Madrid",
            "--overlap", "allow", "--json")
    )  # fmt: skip
    assert (added["args"], added["overlap"], added["timezone"]) == (
        {"left": 4, "right": 1},
        "allow",
        "Europe/Madrid",
    )
    shown = run("schedules", "list").stdout
    assert run("schedules").stdout.split() == shown.split()
    assert "0 3 * * * Europe/Madrid" in shown
    assert [one["name"] for one in told(run("schedules", "--json"))["schedules"]] == ["nightly"]
    assert run("schedules", "pause", "nightly").stdout.endswith("next: paused\n")
    assert "(in " in run("schedules", "resume", "nightly").stdout
    job_id = run("schedules", "run", "nightly").stdout.strip()
    assert told(run("show", job_id, "--json"))["task"] == "add"
    ticks = run("schedules", "next", "nightly", "--count", "2").stdout.splitlines()
    assert [tick[11:19] for tick in ticks] == ["03:00:00", "03:00:00"]
    assert len(told(run("schedules", "next", "nightly", "--json"))["next"]) == 5
    assert run("schedules", "remove", "nightly").stdout == "nightly  removed\n"
    assert told(run("schedules", "list", "--json")) == {"schedules": []}


def test_a_schedule_of_the_code_is_removed_by_force_only(run: Run) -> None:
    run("schedules", "add", "nightly", "add", "left=4", "--every", "60")

    async def work(client: Client) -> None:
        schedule = msgspec.structs.replace(await client.schedule("nightly"), source="code:shop:app")
        await client.store.put_schedules([schedule])

    with_client(work)
    said = refused(run("schedules", "remove", "nightly"), 4)
    assert "declared in the code of shop:app" in said
    assert "pause it, or remove it from the code" in said
    assert run("schedules", "pause", "nightly").exit_code == 0
    assert run("schedules", "remove", "nightly", "--force").stdout == "nightly  removed\n"


@pytest.mark.parametrize("verb", ["remove", "pause", "resume", "run", "next"])
def test_a_schedule_that_is_not_there_exits_3(run: Run, verb: str) -> None:
    assert "no schedule is named 'never'" in refused(run("schedules", verb, "never"), 3)


def test_a_schedule_that_makes_no_sense_is_refused(run: Run) -> None:
    assert "cron" in refused(run("schedules", "add", "x", "add", "left=1", "--cron", "every day"), 2)
    refused(run("schedules", "add", "x", "add", "left=1"), 2)


def test_a_key_is_kept_and_a_conflict_decided(run: Run) -> None:
    flags = ("--key", "k", "--keep-key", "60", "--on-conflict", "replace")
    first = enqueued(run, *flags)
    second = enqueued(run, *flags)
    assert first != second
    assert told(run("show", first, "--json"))["status"] == "cancelled"
    assert enqueued(run, "--key", "e", "--keep-key", "forever")
    assert '"forever"' in refused(run("enqueue", "add", "left=1", "--key", "k", "--keep-key", "-1"), 2)
    assert "forever" in refused(run("enqueue", "add", "left=1", "--key", "k", "--keep-key", "ever"), 2)


def test_the_doctor_names_waiting_tasks_that_no_worker_lists(run: Run) -> None:
    enqueued(run)

    async def work(client: Client) -> None:
        await client.store.beat(a_worker(queues=("default", "slow"), tasks=("crawl",)), ttl=60)

    with_client(work)
    findings = json.loads(run("doctor", "--json").stdout)["findings"]
    [found] = [one for one in findings if one["check"] == "tasks"]
    assert found["level"] == "fault"
    assert found["told"].startswith("1 job of the task add waits in the queue default")
