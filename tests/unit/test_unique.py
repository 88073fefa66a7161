"""Unique jobs as they are written, and the keys that they get."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from faena import Faena, InvalidOptions, JobRequest, OnConflict, Unique
from faena.job import NewJob
from faena.making import Maker


def a_job(unique_by: Any, /, args: dict[str, Any] | None = None, **options: Any) -> NewJob:
    app = Faena("unique")

    @app.task(unique=unique_by)
    def thumbnail(media_id: int, size: int = 300, tags: dict[str, int] | None = None) -> None: ...

    request = JobRequest(task="thumbnail", args={"media_id": 1, **(args or {})}, **options)
    return Maker(app.tasks, app.queues).make(request)


def test_jobs_with_the_same_arguments_have_the_same_key() -> None:
    key = a_job("args").key
    assert key is not None
    assert key == a_job("args", {"size": 300}).key
    assert key != a_job("args", {"size": 301}).key
    one, other = ({"tags": {"a": 1, "b": 2}}, {"tags": {"b": 2, "a": 1}})
    assert a_job("args", one).key == a_job("args", other).key


def test_a_key_may_be_made_of_some_arguments() -> None:
    assert a_job(("media_id",)).key == a_job(("media_id",), {"size": 1}).key
    assert a_job("media_id").key == a_job("media_id", {"size": 1}).key
    assert a_job(("media_id",)).key != a_job(("media_id",), {"media_id": 2}).key


def test_a_key_may_be_made_by_a_function() -> None:
    assert a_job(lambda args: f"media-{args['media_id']}").key == "media-1"
    assert a_job(lambda args: None).key is None
    assert len(str(a_job(lambda args: "x" * 500).key)) <= 200
    with pytest.raises(InvalidOptions, match="must return a text"):
        a_job(lambda args: 5)


def test_how_long_a_key_is_held_and_what_a_conflict_does_go_with_the_job() -> None:
    job = a_job(Unique(keep=timedelta(hours=1), on_conflict="replace"))
    assert (job.key_kept, job.on_conflict) == (3600.0, OnConflict.REPLACE)
    assert a_job(Unique(keep=math.inf)).key_kept == a_job(Unique(keep="forever")).key_kept == math.inf
    assert a_job(None, key="k", keep_key="forever").key_kept == math.inf
    assert a_job("args").key_kept == 0.0


def test_one_job_may_decide_for_itself() -> None:
    job = a_job(Unique(keep=60), key="mine", keep_key=5, on_conflict="debounce")
    assert (job.key, job.key_kept, job.on_conflict) == ("mine", 5.0, OnConflict.DEBOUNCE)
    assert a_job(Unique(keep=60), unique=False).key is None
    assert a_job("args", key_bound=310).key_bound == 310.0


@pytest.mark.parametrize("by", [5, (), ("a", "a"), ("a", 5), ""])
def test_a_choice_that_makes_no_sense_is_refused(by: Any) -> None:
    with pytest.raises(InvalidOptions):
        a_job(by)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidOptions, match=r"by=5.*keep=-1.*on_conflict='explode' must be one of return"):
        Unique(by=5, keep=-1, on_conflict="explode")  # type: ignore[arg-type]
    with pytest.raises(InvalidOptions, match=r"keep_key='x'.*on_conflict='y'"):
        JobRequest(task="t", keep_key="x", on_conflict="y")  # type: ignore[arg-type]
