"""The command line: what it prints, its exit codes, and how it tells errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli_kit import Run, enqueued, run, told

from faena.cli.jobs import parse_arguments
from faena.cli.look import age, size
from faena.cli.workers import running_jobs
from faena.errors import InvalidOptions, JobNotDone, KeyConflict, NotFound, StoreDown
from faena.words import counted, duration

__all__ = ["run"]


def test_help_names_every_command(run: Run) -> None:
    output = run("--help").stdout
    for name in (
        "up",
        "api",
        "worker",
        "jobs",
        "show",
        "cancel",
        "retry",
        "queues",
        "purge",
        "workers",
        "doctor",
        "demo",
        "why",
        "change",
        "pause",
        "resume",
        "paused",
        "schedules",
    ):
        assert f" {name} " in output


def test_the_version_is_shown(run: Run) -> None:
    assert run("--version").stdout.startswith("faena 0.")


def test_help_imports_nothing_heavy() -> None:
    script = "import sys; from faena.cli import build; build(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    heavy = {"fastapi", "uvicorn", "apsw", "httpx", "pydantic", "structlog", "pyvips", "huey", "websockets"}
    assert heavy.isdisjoint(loaded)


def test_every_command_has_the_common_flags(run: Run) -> None:
    for name in (
        "jobs",
        "show",
        "enqueue",
        "cancel",
        "retry",
        "queues",
        "purge",
        "workers",
        "doctor",
        "up",
        "worker",
    ):
        output = run(name, "--help").stdout
        assert all(flag in output for flag in ("--app", "--data-dir", "--store", "--engine", "--json")), name


def test_an_empty_store_has_no_jobs(run: Run) -> None:
    assert run("jobs").stdout == "No jobs.\n"
    assert told(run("jobs", "--json")) == {"jobs": [], "cursor": None}


def test_an_enqueued_job_is_listed_and_shown(run: Run) -> None:
    job_id = enqueued(run, "right=2")
    (listed,) = told(run("jobs", "--json"))["jobs"]
    assert (listed["job_id"], listed["task"], listed["status"]) == (job_id, "add", "pending")
    shown = told(run("show", job_id, "--json"))
    assert shown["args"] == {"left": 1, "right": 2}
    assert [event["seq"] for event in shown["events"]] == [1]
    assert "add on queue default" in run("show", job_id).stdout
    assert job_id in run("jobs").stdout


def test_jobs_are_filtered(run: Run) -> None:
    enqueued(run)
    run("enqueue", "crawl", "path=here")
    assert [job["task"] for job in told(run("jobs", "--queue", "slow", "--json"))["jobs"]] == ["crawl"]
    assert told(run("jobs", "--status", "failed", "--json"))["jobs"] == []
    assert len(told(run("jobs", "--limit", "1", "--json"))["jobs"]) == 1
    assert [job["task"] for job in told(run("jobs", "craw", "--json"))["jobs"]] == ["crawl"]


def test_what_a_job_says_is_not_taken_for_markup(run: Run) -> None:
    job_id = str(told(run("enqueue", "crawl", "path=[red]x[/nothing]", "--key", "[/b]", "--json"))["job_id"])
    assert "[red]x[/nothing]" in run("show", job_id).stdout
    assert run("jobs").exit_code == 0


def test_a_job_is_cancelled_and_run_again(run: Run) -> None:
    job_id = enqueued(run)
    assert "cancelled" in run("cancel", job_id).stdout
    assert told(run("cancel", job_id, "--json"))[0]["result"] == "final"
    (again,) = told(run("retry", job_id, "--json"))
    assert (again["origin"], again["status"], again["args"]) == (job_id, "pending", {"left": 1, "right": 1})


def test_a_live_job_can_not_be_run_again(run: Run) -> None:
    result = run("retry", enqueued(run))
    assert result.exit_code == 4
    assert "only one that has ended can be run again" in result.stderr


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_of_several_jobs_none_is_touched_if_one_is_not_there(run: Run, verb: str) -> None:
    job_id = enqueued(run)
    if verb == "retry":
        run("cancel", job_id)
    before = told(run("jobs", "--json"))
    assert run(verb, job_id, "nobody", "--json").exit_code == 3
    assert told(run("jobs", "--json")) == before


def test_of_several_jobs_none_is_run_again_if_one_is_live(run: Run) -> None:
    ended, live = enqueued(run), enqueued(run)
    run("cancel", ended)
    assert run("retry", ended, live, "--json").exit_code == 4
    assert len(told(run("jobs", "--json"))["jobs"]) == 2


def test_a_held_key_is_answered_with_its_job(run: Run) -> None:
    first = enqueued(run, "--key", "k")
    again = told(run("enqueue", "add", "left=1", "--key", "k", "--json"))
    assert (again["job_id"], again["duplicate"]) == (first, True)
    assert run("enqueue", "add", "left=2", "--key", "k").exit_code == 4


def test_queues_are_counted_and_empty_ones_are_there_too(run: Run) -> None:
    enqueued(run)
    queues = {queue["name"]: queue["count"] for queue in told(run("queues", "--json"))["queues"]}
    assert queues == {"default": 1, "slow": 0}


def test_a_purge_asks_first(run: Run) -> None:
    enqueued(run)
    refused = run("purge", "default", input="n\n")
    assert refused.exit_code == 1
    assert told(run("queues", "--json"))["queues"][0]["pending"] == 1
    assert told(run("purge", "default", "--yes", "--json")) == {"queue": "default", "purged": 1}
    assert "0 jobs of default cancelled" in run("purge", "default", input="y\n").stdout


def test_without_a_worker_that_is_said(run: Run) -> None:
    assert "No worker was heard of lately" in run("workers").stdout
    assert told(run("workers", "--json")) == {"workers": []}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "nothing"], 3, "no job has the id 'nothing'"),
        (["cancel", "nothing"], 3, "no job has the id 'nothing'"),
        (["enqueue", "nothing"], 3, "registered: add, crawl"),
        (["enqueue", "add", "left=x"], 2, "left"),
        (["enqueue", "add", "left"], 2, "write name=value"),
        (["jobs", "--store", "redis"], 2, "FAENA_STORE=redis needs REDIS_URL"),
        (["jobs", "--app", "nowhere:app"], 2, "there is no module 'nowhere'"),
        (["worker", "--threads", "0"], 2, "--threads must be a whole number from 1 to 1000"),
        (["up", "--host", "0.0.0.0"], 2, "0.0.0.0"),
    ],
)
def test_an_error_is_one_message_and_an_exit_code(
    run: Run, arguments: list[str], code: int, message: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_an_error_is_json_when_asked(run: Run) -> None:
    result = run("jobs", "--store", "postgres", "--engine", "huey", "--json")
    assert json.loads(result.stderr)["faults"] == [
        "FAENA_STORE=postgres is not in this release: use sqlite, redis, memory",
    ]


def test_debug_lets_the_error_pass(run: Run) -> None:
    assert isinstance(run("show", "nothing", "--debug").exception, NotFound)


def test_flags_reach_child_processes(run: Run, tmp_path: Path) -> None:
    run("jobs", "--data-dir", str(tmp_path / "other"))
    assert os.environ["FAENA_DATA_DIR"] == str(tmp_path / "other")


def test_settings_given_in_code_hold_for_the_commands_too(run: Run, tmp_path: Path) -> None:
    there = (
        "from faena import Faena\nfrom faena.settings import Settings\n"
        f"app = Faena(settings=Settings(data_dir={str(tmp_path / 'there')!r}, engine='direct'))\n"
    )
    (tmp_path / "cli_app.py").write_text(there)
    del os.environ["FAENA_DATA_DIR"]
    assert run("jobs").exit_code == 0
    assert (tmp_path / "there" / "faena.db").exists()


def test_the_doctor_advises_to_start_a_worker(run: Run) -> None:
    findings = told(run("doctor", "--json"))["findings"]
    workers = next(finding for finding in findings if finding["check"] == "workers")
    assert (workers["level"], workers["advice"]) == ("warning", "start one: faena worker")


def test_the_doctor_finds_jobs_that_nobody_will_run(run: Run) -> None:
    enqueued(run)
    result = run("doctor")
    assert result.exit_code == 1
    assert "✗ workers  none is at work" in result.stdout


def test_the_doctor_reports_wrong_settings_as_faults(run: Run) -> None:
    os.environ["FAENA_ENGNE"] = "direct"
    result = run("doctor")
    assert result.exit_code == 1
    assert "did you mean FAENA_ENGINE?" in result.stdout


def test_arguments_are_json_or_else_text() -> None:
    pairs = ["number=3", "text=three", "flag=true", 'list=["a"]', "equation=a=b", "empty="]
    assert parse_arguments(pairs, '{"whole": 1, "number": 1}') == {
        "whole": 1,
        "number": 3,
        "text": "three",
        "flag": True,
        "list": ["a"],
        "equation": "a=b",
        "empty": "",
    }


@pytest.mark.parametrize("whole", ["{", "[1]", "3"])
def test_arguments_that_are_no_object_are_refused(whole: str) -> None:
    with pytest.raises(InvalidOptions, match="--args"):
        parse_arguments([], whole)


def test_every_branch_of_errors_has_its_exit_code() -> None:
    from faena.cli.command import exit_code

    errors = (InvalidOptions(), NotFound("x"), KeyConflict("k", "x"), StoreDown(), JobNotDone("x", "failed"))
    assert [exit_code(error) for error in errors] == [2, 3, 4, 5, 1]


def test_times_and_sizes_are_said_in_sensible_units() -> None:
    assert [duration(seconds) for seconds in (0.004, 3.21, 59, 150, 7300, 200_000)] == [
        "4 ms", "3.2 s", "59 s", "2 min", "2 h", "2 d",
    ]  # fmt: skip
    assert age(90, now=100) == "10 s"
    assert age(100, now=90) == "in 10 s"
    assert age(None) == ""
    assert [size(count) for count in (0, 999, 10_400_000, 3e12)] == ["0 B", "999 B", "10.4 MB", "3000.0 GB"]
    assert (counted(1, "job"), counted(2000, "job")) == ("1 job", "2,000 jobs")


def test_the_first_jobs_of_a_worker_are_named() -> None:
    assert running_jobs([]) == ""
    assert running_jobs(["a", "b", "c"]) == "a\nb\nc"
    assert running_jobs(["a", "b", "c", "d", "e"]) == "a\nb\nc\nand 2 more"


def test_a_command_says_that_it_looks_at_files_because_redis_is_silent(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.delenv("FAENA_STORE", raising=False)
    result = run("jobs")
    assert result.exit_code == 0
    assert "REDIS_URL is set" in result.stderr
    assert "these are the jobs on files" in result.stderr


def test_doctor_calls_a_silent_redis_a_fault(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.delenv("FAENA_STORE", raising=False)
    result = run("doctor", "--store", "auto", "--json")
    findings = json.loads(result.stdout)["findings"]
    faults = [one["told"] for one in findings if one["level"] == "fault"]
    assert result.exit_code == 1
    assert any("`faena api` and `faena worker` will not start" in fault for fault in faults)
