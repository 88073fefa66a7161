"""The tasks as plain functions: what they tell, what they write, what they refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from faena import Context, Faena, InvalidArguments
from faena.context import Rehearsal
from faena.packs.media import generate_thumbnail, optimize_image, pack, process_media
from faena.packs.media.errors import BadPicture, InvalidPath
from faena.packs.media.kinds import Kind
from faena.packs.media.pictures import WEB_SIDE
from faena.packs.media.tasks import WEB_SIDE as TASKS_WEB_SIDE
from faena.settings import Settings
from media_kit import HOSTILE, photograph, picture


class Run:
    """A media root with one photograph, and a context that keeps what it is told."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "media"
        self.root.mkdir()
        self.line = Rehearsal()
        self.context = Context(self.line, settings=Settings(media_root=self.root))  # type: ignore[call-arg]

    @property
    def progress(self) -> list[float]:
        return [item.progress for item in self.line.told if item.progress is not None]

    @property
    def events(self) -> dict[str, Any]:
        return {event.event: event.data for item in self.line.told for event in item.events}

    def files(self) -> dict[str, bytes]:
        """Every file below the root."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    (run.root / "image.jpg").write_bytes(photograph(0.5))
    return run


def test_processing_makes_both_files_and_tells_of_each_step(run: Run) -> None:
    result = process_media(run.context, media_id=123, file_path="/media/image.jpg")
    assert run.progress == [10, 30, 60, 100]
    assert list(run.events) == ["thumbnail_generated", "image_optimized", "media_processed"]
    assert run.events["thumbnail_generated"]["thumbnail_path"] == "/media/derived/image.jpg/thumbnail-300.jpg"
    assert run.events["image_optimized"]["optimized_path"] == "/media/derived/image.jpg/optimized.jpg"
    assert run.events["media_processed"] == result
    assert set(run.files()) == {
        "image.jpg",
        "derived/image.jpg/thumbnail-300.jpg",
        "derived/image.jpg/optimized.jpg",
    }


def test_the_original_is_not_touched(run: Run) -> None:
    before = run.files()["image.jpg"]
    process_media(run.context, media_id=1, file_path="image.jpg")
    assert run.files()["image.jpg"] == before


@pytest.mark.parametrize(
    ("operations", "events"),
    [
        (["thumbnail"], ["thumbnail_generated", "media_processed"]),
        (["optimize"], ["image_optimized", "media_processed"]),
        (["optimize", "thumbnail"], ["thumbnail_generated", "image_optimized", "media_processed"]),
    ],
)
def test_only_the_asked_operations_run(run: Run, operations: Any, events: list[str]) -> None:
    process_media(run.context, media_id=1, file_path="image.jpg", operations=operations)
    assert list(run.events) == events
    assert run.progress == [10, 30, 60, 100]


def test_a_second_run_gives_the_same_files(run: Run) -> None:
    first = process_media(run.context, media_id=1, file_path="image.jpg")
    files = run.files()
    assert process_media(run.context, media_id=1, file_path="/media/image.jpg") == first
    assert run.files() == files


def test_single_tasks_tell_their_own_event(run: Run) -> None:
    thumbnail = generate_thumbnail(run.context, media_id=1, file_path="image.jpg", size=64)
    assert (thumbnail["width"], thumbnail["height"], thumbnail["bytes"]) == (
        48, 64, len(run.files()["derived/image.jpg/thumbnail-64.jpg"]),
    )  # fmt: skip
    optimised = optimize_image(run.context, media_id=1, file_path="image.jpg", max_side=500)
    assert max(optimised["width"], optimised["height"]) == 500
    assert optimised["saved_percent"] > 70
    assert list(run.events) == ["thumbnail_generated", "image_optimized"]
    assert run.progress[-1] == 100


def test_hostile_files_raise_what_is_never_retried(run: Run) -> None:
    for make, told in HOSTILE.values():
        (run.root / "bad.jpg").write_bytes(make())
        with pytest.raises(BadPicture, match=told) as caught:
            process_media(run.context, media_id=1, file_path="bad.jpg")
        assert not isinstance(caught.value, process_media.options.retry_on)
    assert set(run.files()) == {"image.jpg", "bad.jpg"}


def test_a_path_outside_is_refused_in_the_task_too(run: Run) -> None:
    for path in ("../x.jpg", "/etc/passwd", "missing.jpg"):
        with pytest.raises(InvalidPath) as caught:
            generate_thumbnail(run.context, media_id=1, file_path=path)
        assert not isinstance(caught.value, generate_thumbnail.options.retry_on)


def test_a_disk_that_fails_is_worth_another_attempt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(process_media.options.retry_on):
        process_media(run.context, media_id=1, file_path="image.jpg")
    assert set(run.files()) == {"image.jpg"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"size": 2001},
        {"operations": []},
        {"operations": ["crop"]},
        {"media_id": "x"},
        {"file_path": ""},
    ],
)
def test_wrong_arguments_are_refused_when_enqueued(wrong: dict[str, Any]) -> None:
    app = Faena(name="pictures")
    app.include(pack)
    with pytest.raises(InvalidArguments):
        app.tasks["process_media"].dump_args({"media_id": 1, "file_path": "a.jpg"} | wrong)


def test_every_task_runs_in_a_limited_child_with_a_time_limit() -> None:
    for task in pack.tasks.values():
        options = task.options
        assert (options.queue, options.topic, options.isolation) == ("media", "media", "process")
        assert options.limits is not None
        assert options.limits.memory
        assert options.limits.cpu
        assert options.limits.files
        assert options.timeout


def test_the_default_side_is_the_same_in_both_places() -> None:
    assert TASKS_WEB_SIDE == WEB_SIDE


def test_including_the_pack_and_its_routes_loads_no_picture_library() -> None:
    code = "import faena.packs.media.routes, sys; sys.exit('pyvips' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_can_be_processed(run: Run, kind: Kind) -> None:
    (run.root / "image").write_bytes(picture(kind))
    result = process_media(run.context, media_id=1, file_path="image")
    assert result["thumbnail"]["width"] == 300
    assert result["optimized"]["bytes"] > 0
