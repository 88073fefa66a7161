"""How jobs look on a terminal."""

from __future__ import annotations

from io import StringIO

import msgspec
from rich.console import Console

from faena.cli.look import jobs_table
from faena.job import Failure, Job, Status

JOB = Job(
    id="01a20063-f292-7a86-a0a7-ab948a423ddc",
    task="generate_thumbnail",
    queue="media",
    args=b"{}",
    status=Status.FAILED,
    priority=0,
    attempt=1,
    max_attempts=3,
    crashes=0,
    token=1,
    seq=4,
    created_at=0.0,
    due_at=0.0,
    message="reading the picture",
    error=Failure(type="BadPicture", message="it is cut short " * 30),
)


def shown(job: Job, width: int = 160) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(jobs_table([job]))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_long_message_gives_way_and_nothing_else_does() -> None:
    table = shown(JOB)
    assert all(word in table for word in (JOB.id, JOB.task, "media", "failed"))
    assert len(table.splitlines()) == 2


def test_a_failed_job_tells_its_error_and_not_what_it_did_before() -> None:
    assert "it is cut short" in shown(JOB)
    assert "reading" not in shown(JOB)


def test_an_error_without_words_is_told_by_its_name() -> None:
    assert "OutOfMemory" in shown(msgspec.structs.replace(JOB, error=Failure(type="OutOfMemory", message="")))


def test_a_completed_job_tells_its_last_message() -> None:
    assert "reading the picture" in shown(msgspec.structs.replace(JOB, status=Status.COMPLETED))
