"""Uploads and the other routes of the pack, over HTTP in this process."""

from __future__ import annotations

import errno
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from api_kit import Kit, http, opened
from faena.client import JobRequest
from faena.errors import StoreDown
from faena.packs.media import pack
from faena.packs.media.kinds import Kind
from faena.ports.records import Inserted
from faena.settings import Settings
from media_kit import picture

JPEG = picture(Kind.JPEG)


class Media(Kit):
    """The kit with the media pack and a small cap."""

    def __init__(self, folder: Path, cap: int = 2_000_000) -> None:
        super().__init__()
        self.app.include(pack)
        self.root = folder / "media"
        self.settings = Settings(media_root=self.root, media_max_bytes=cap)  # type: ignore[call-arg]

    def files(self) -> list[str]:
        return sorted(
            path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()
        )

    async def jobs(self) -> list[dict[str, Any]]:
        async with http(self.api) as client:
            return list((await client.get("/jobs")).json()["jobs"])


@pytest.fixture
async def media(tmp_path: Path) -> AsyncIterator[Media]:
    async with opened(Media(tmp_path)) as kit:
        yield kit


async def post(kit: Media, path: str, **how: Any) -> httpx.Response:
    async with http(kit.api) as client:
        return await client.post(path, **how)


async def upload(kit: Media, content: bytes, name: str = "x.jpg", **fields: str) -> httpx.Response:
    return await post(kit, "/media/upload", files={"file": (name, content)}, data=fields)


async def args_of(kit: Media, answer: httpx.Response) -> dict[str, Any]:
    job = await kit.client.get(answer.json()["task_id"])
    return dict(msgspec.json.decode(job.args))


async def test_an_upload_is_stored_and_its_job_made(media: Media) -> None:
    answer = await upload(media, JPEG, media_id="123", user="ana")
    told = answer.json()
    assert answer.status_code == 202
    assert told["task_id"] == told["job_id"]
    assert (told["media_id"], told["message"]) == (123, "Processing started")
    assert media.files() == [told["file_path"].removeprefix("/media/")]
    assert (media.root / media.files()[0]).read_bytes() == JPEG
    job = await media.client.get(told["task_id"])
    assert (job.task, job.queue, job.topic, job.user) == ("process_media", "media", "media", "ana")
    assert (await args_of(media, answer))["file_path"] == told["file_path"]


async def test_a_number_is_drawn_for_an_upload_without_one(media: Media) -> None:
    drawn = [(await upload(media, JPEG)).json()["media_id"] for _ in range(2)]
    assert drawn[0] != drawn[1]
    assert all(0 < number < 2**53 for number in drawn)


@pytest.mark.parametrize("kind", list(Kind))
async def test_the_bytes_and_not_the_name_decide_the_ending(media: Media, kind: Kind) -> None:
    answer = await upload(media, picture(kind, 64, 48), name="../../evil.php")
    assert answer.json()["file_path"].endswith(kind.suffix)
    assert media.files()[0].startswith("uploads/")


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (b"", 422, "empty"),
        (b"hello", 415, "no JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>" * 9, 415, "SVG"),
        (b"%PDF-1.4" * 20, 415, "PDF"),
        (JPEG + bytes(2_000_000), 413, "over 2,000,000 bytes"),
    ],
)
async def test_what_is_no_picture_or_too_large_is_refused_and_not_kept(
    media: Media, content: bytes, status: int, told: str
) -> None:
    answer = await upload(media, content)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert told in answer.json()["detail"]
    assert media.files() == []
    assert await media.jobs() == []


@pytest.mark.parametrize(
    ("how", "status", "told"),
    [
        ({"json": {"file": "x"}}, 415, "multipart/form-data"),
        ({"files": {"picture": ("x.jpg", JPEG)}}, 422, "over 1000 bytes"),
        ({"files": {"picture": ("x.jpg", b"x")}}, 422, "has no file"),
        ({"files": [("file", ("a", JPEG)), ("file", ("b", JPEG))]}, 422, "more than one file"),
        (
            {"files": [("file", ("a", JPEG)), *[(f"f{n}", (None, b"1")) for n in range(30)]]},
            422,
            "more than 20",
        ),
        ({"files": {"file": ("a", JPEG)}, "data": {"media_id": "1.5"}}, 422, "whole number"),
        ({"files": {"file": ("a", JPEG)}, "data": {"user": "u" * 300}}, 422, "user"),
        (
            {"content": b"--x\r\nnonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}},
            422,
            "form",
        ),
        (
            {"content": b"", "headers": {"content-type": "multipart/form-data; boundary=x"}},
            422,
            "ends before",
        ),
        ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, 415, "boundary"),
        (
            {"content": b"", "headers": {"content-type": f"multipart/form-data; boundary={'x' * 999}"}},
            422,
            "form",
        ),
    ],
)
async def test_a_form_that_is_wrong_is_refused_and_nothing_kept(
    media: Media, how: dict[str, Any], status: int, told: str
) -> None:
    answer = await post(media, "/media/upload", **how)
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True), answer.text
    assert media.files() == []


async def test_a_picture_whose_job_may_be_stored_is_kept(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose_the_answer(request: JobRequest) -> Inserted:
        raise StoreDown("the connection broke before the answer came")

    monkeypatch.setattr(media.client, "enqueue", lose_the_answer)
    answer = await upload(media, JPEG)
    assert (answer.status_code, len(media.files())) == (503, 1)


async def test_a_form_cut_short_leaves_nothing(media: Media) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + JPEG
    answer = await post(
        media, "/media/upload", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert (answer.status_code, media.files()) == (422, [])
    assert "last boundary" in answer.json()["detail"]


async def test_fields_may_follow_the_file(media: Media) -> None:
    files = [("file", ("x", JPEG)), ("media_id", (None, "77"))]
    assert (await post(media, "/media/upload", files=files)).json()["media_id"] == 77


@pytest.mark.parametrize("size", [1, 7, 63, 64, 65, 1000])
async def test_however_the_body_is_cut_the_same_file_arrives(media: Media, size: int) -> None:
    tricky = JPEG + b"\r\n--\r\n--x\r--\n\r\n--xy" + JPEG[:50]
    body = (
        b'--xyz\r\nContent-Disposition: form-data; name="media_id"\r\n\r\n5\r\n'
        b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a;b"\r\n\r\n'
        + tricky
        + b"\r\n--xyz--\r\n"
    )

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    headers = {"content-type": "multipart/form-data; boundary=xyz"}
    answer = await post(media, "/media/upload", content=pieces(), headers=headers)
    assert (answer.status_code, answer.json()["media_id"]) == (202, 5)
    assert (media.root / media.files()[0]).read_bytes() == tricky


async def test_a_body_that_says_that_it_is_too_large_is_not_read(media: Media) -> None:
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        asked += 1
        yield b"--x\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": "9999999999"}
    answer = await post(media, "/media/upload", content=endless(), headers=headers)
    assert (answer.status_code, asked) == (413, 0)


async def test_the_cap_holds_while_the_body_comes_in(media: Media) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + JPEG
        for _ in range(10_000):
            sent += 65_536
            yield bytes(65_536)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await post(media, "/media/upload", content=endless(), headers=headers)
    assert (answer.status_code, media.files()) == (413, [])
    assert sent < 4_000_000


async def test_a_large_upload_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    async def body(megabytes: int) -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + JPEG
        for _ in range(megabytes * 16):
            yield bytes(65_536)
        yield b"\r\n--x--\r\n"

    async def peak(media: Media, megabytes: int) -> int:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        tracemalloc.start()
        answer = await post(media, "/media/upload", content=body(megabytes), headers=headers)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer.status_code == 202
        return most

    async with opened(Media(tmp_path, cap=1 << 30)) as media:
        await upload(media, JPEG)
        small, large = await peak(media, 4), await peak(media, 64)
    assert large < small + 2_000_000


async def test_a_full_disk_is_told_and_keeps_nothing(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    answer = await upload(media, JPEG)
    assert (answer.status_code, "no room" in answer.json()["detail"]) == (503, True)
    assert (media.files(), await media.jobs()) == ([], [])


async def test_an_upload_whose_job_can_not_be_made_is_removed(media: Media) -> None:
    media.client.enabled = False
    assert (await upload(media, JPEG)).status_code == 503
    assert media.files() == []


@pytest.mark.parametrize(
    ("route", "task", "extra"),
    [
        ("/tasks/media/process", "process_media", {"operations": ["thumbnail", "optimize"]}),
        ("/tasks/media/process", "process_media", {}),
        ("/tasks/media/thumbnail", "generate_thumbnail", {}),
        ("/tasks/media/thumbnail", "generate_thumbnail", {"size": 64}),
    ],
)
async def test_a_stored_picture_is_enqueued(
    media: Media, route: str, task: str, extra: dict[str, Any]
) -> None:
    media.root.mkdir()
    (media.root / "image.jpg").write_bytes(JPEG)
    answer = await post(media, route, json={"media_id": 123, "file_path": "/media/image.jpg", **extra})
    assert answer.status_code == 202, answer.text
    assert answer.json() == {
        "task_id": answer.json()["job_id"], "job_id": answer.json()["job_id"], "message": "Task enqueued",
    }  # fmt: skip
    job = await media.client.get(answer.json()["task_id"])
    assert job.task == task
    assert (await args_of(media, answer)).items() >= {
        "media_id": 123,
        "file_path": "/media/image.jpg",
    }.items()


@pytest.mark.parametrize(
    "body",
    [
        {"media_id": 1, "file_path": "../x.jpg"},
        {"media_id": 1, "file_path": "/etc/passwd"},
        {"media_id": 1, "file_path": "missing.jpg"},
        {"media_id": 1, "file_path": "a\0b"},
        {"media_id": 1, "file_path": ""},
        {"media_id": 1},
        {"media_id": 1, "file_path": "image.jpg", "operations": ["crop"]},
        {"media_id": 1, "file_path": "image.jpg", "size": 5000},
        {"media_id": 1, "file_path": "image.jpg", "colour": "red"},
    ],
)
async def test_a_wrong_request_is_refused_before_anything_is_stored(
    media: Media, body: dict[str, Any]
) -> None:
    media.root.mkdir()
    (media.root / "image.jpg").write_bytes(JPEG)
    answer = await post(media, "/tasks/media/process", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert await media.jobs() == []


async def test_a_result_is_served_as_the_picture_that_it_is(media: Media) -> None:
    path = media.root / "derived/uploads/a.jpg/thumbnail-300.webp"
    path.parent.mkdir(parents=True)
    path.write_bytes(JPEG)
    async with http(media.api) as client:
        answer = await client.get("/media/derived/uploads/a.jpg/thumbnail-300.webp")
    assert (answer.status_code, answer.content) == (200, JPEG)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "uploads/a.jpg",
        "derived/none.jpg",
        "derived/page.html",
        "derived/link.jpg",
        "derived/..%2fuploads/a.jpg",
        "derived/%2e%2e/uploads/a.jpg",
        "derived",
        "derived/",
        "%2fetc/passwd",
        "derived/a%00.jpg",
    ],
)
async def test_originals_and_anything_else_are_not_served(media: Media, path: str) -> None:
    for folder in ("uploads", "derived"):
        (media.root / folder).mkdir(parents=True)
    (media.root / "uploads/a.jpg").write_bytes(JPEG)
    (media.root / "derived/page.html").write_bytes(b"<script>alert(1)</script>")
    (media.root / "derived/link.jpg").symlink_to(media.root / "uploads/a.jpg")
    async with http(media.api) as client:
        answer = await client.get(f"/media/{path}")
    assert answer.status_code == 404
