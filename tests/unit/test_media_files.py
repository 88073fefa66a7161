"""Which files a path may name, and how results get into place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faena.packs.media.errors import InvalidPath
from faena.packs.media.files import MediaRoot, upload_name
from faena.packs.media.kinds import Kind, describe, sniff
from media_kit import picture


@pytest.fixture
def root(tmp_path: Path) -> MediaRoot:
    (tmp_path / "media" / "a").mkdir(parents=True)
    (tmp_path / "media" / "a" / "b.jpg").write_bytes(b"inside")
    (tmp_path / "secret.jpg").write_bytes(b"outside")
    return MediaRoot(tmp_path / "media")


def read(root: MediaRoot, file_path: str) -> bytes:
    with root.open(file_path) as file:
        return file.read()


@pytest.mark.parametrize("file_path", ["a/b.jpg", "/media/a/b.jpg", "./a/b.jpg", "/media/a//b.jpg"])
def test_a_path_is_relative_to_the_root_or_begins_with_media(root: MediaRoot, file_path: str) -> None:
    assert read(root, file_path) == b"inside"
    assert root.tell(file_path) == "/media/a/b.jpg"


def test_an_absolute_path_below_the_root_is_taken(root: MediaRoot) -> None:
    assert read(root, str(root.directory / "a" / "b.jpg")) == b"inside"


def test_the_root_may_itself_be_reached_by_a_link(root: MediaRoot, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root.directory)
    assert read(MediaRoot(tmp_path / "link"), "a/b.jpg") == b"inside"


@pytest.mark.parametrize(
    ("file_path", "told"),
    [
        ("../secret.jpg", "'..'"),
        ("/media/../secret.jpg", "'..'"),
        ("a/../../secret.jpg", "'..'"),
        ("/etc/passwd", "not below the media root"),
        ("//etc/passwd", "not below the media root"),
        ("/media//etc/passwd", "not below the media root"),
        ("/mediator/x.jpg", "not below the media root"),
        ("file:///etc/passwd", "not below the media root"),
        ("C:/windows/x.jpg", "not below the media root"),
        ("a/b.jpg\0.png", "control characters"),
        ("a/b.jpg\n", "control characters"),
        ("", "empty"),
        ("  ", "empty"),
        ("/media/", "names no file"),
        ("a/b.jpg/", "names no file"),
        (".", "names no file"),
        (".hidden/x.jpg", "hidden"),
        ("a/.b.part", "hidden"),
        ("x" * 201, "too long"),
        ("x/" * 600 + "y", "too long"),
        ("a/\ud800.jpg", "not valid Unicode"),
        ("a/missing.jpg", "not there"),
        ("a/b.jpg/c.jpg", "not there"),
        ("a", "not a regular file"),
    ],
)
def test_a_path_that_is_no_file_below_the_root_is_refused(root: MediaRoot, file_path: str, told: str) -> None:
    with pytest.raises(InvalidPath, match=told):
        root.open(file_path)


@pytest.mark.parametrize("target", ["secret.jpg", "media/a/b.jpg"])
def test_a_link_to_a_file_is_refused_wherever_it_leads(root: MediaRoot, tmp_path: Path, target: str) -> None:
    (root.directory / "link.jpg").symlink_to(tmp_path / target)
    with pytest.raises(InvalidPath, match="symbolic link"):
        root.open("link.jpg")


def test_a_link_to_a_directory_is_not_followed(root: MediaRoot, tmp_path: Path) -> None:
    (root.directory / "out").symlink_to(tmp_path)
    with pytest.raises(InvalidPath, match="symbolic link"):
        root.open("out/secret.jpg")
    with pytest.raises(InvalidPath, match="symbolic link"):
        root.write("out/new.jpg", b"x")
    assert not (tmp_path / "new.jpg").exists()


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(root: MediaRoot) -> None:
    os.mkfifo(root.directory / "pipe.jpg")
    with pytest.raises(InvalidPath, match="not a regular file"):
        root.open("pipe.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(root: MediaRoot) -> None:
    (root.directory / "a" / "b.jpg").chmod(0)
    with pytest.raises(InvalidPath, match="may not be read"):
        root.open("a/b.jpg")


def test_a_written_file_replaces_the_old_one_and_leaves_nothing_else(root: MediaRoot) -> None:
    root.write("/media/derived/x/y.jpg", b"one")
    root.write("/media/derived/x/y.jpg", b"two")
    assert [(file.name, file.read_bytes()) for file in (root.directory / "derived/x").iterdir()] == [
        ("y.jpg", b"two")
    ]


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(root: MediaRoot) -> None:
    def break_off() -> None:
        with root.replacing("a/b.jpg") as file:
            file.write(b"half")
            raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        break_off()
    assert [(file.name, file.read_bytes()) for file in (root.directory / "a").iterdir()] == [
        ("b.jpg", b"inside")
    ]


def test_results_of_sources_that_differ_only_in_their_ending_do_not_meet(root: MediaRoot) -> None:
    assert root.derived("a/b.jpg", "t.jpg") == "/media/derived/a/b.jpg/t.jpg"
    assert root.derived("a/b.png", "t.jpg") != root.derived("a/b.jpg", "t.jpg")


def test_upload_names_are_random_and_end_as_their_kind() -> None:
    names = {upload_name(Kind.JPEG) for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("/media/uploads/") and name.endswith(".jpg") for name in names)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_is_known_by_its_first_bytes(kind: Kind) -> None:
    assert sniff(picture(kind, 64, 48)[:64]) is kind


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"%PDF-1.4", "a PDF document"),
        (b" \n<svg xmlns=", "an SVG or XML document"),
        (b"<!DOCTYPE html>", "an HTML document"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a file of brand 'heic'"),
        (b"RIFF\0\0\0\0WAVE", "none of them"),
        (b"", "none of them"),
    ],
)
def test_anything_else_is_no_kind_and_is_named(head: bytes, told: str) -> None:
    assert sniff(head) is None
    assert describe(head) == told
