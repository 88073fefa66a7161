"""The media pack from end to end: a real server with its worker and children, used over HTTP and a WebSocket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect

from faena.cli.demo_server import DemoServer
from faena.packs.media.kinds import Kind
from media_kit import HOSTILE, flat_png, photograph, picture

FINAL = {"completed", "failed", "cancelled"}


class Site:
    """The running server, and the folder of its pictures."""

    def __init__(self, server: DemoServer, folder: Path) -> None:
        self.process = psutil.Process(server._process.pid)
        self.media = folder / "media"
        self.http = httpx.Client(base_url=server.address, timeout=90, trust_env=False)
        self.socket = server.address.replace("http", "ws").rstrip("/") + "/ws/media?client_id=user1"

    def put(self, name: str, data: bytes) -> None:
        """Lay a file below the media root, past the upload's checks."""
        self.media.mkdir(exist_ok=True)
        (self.media / name).write_bytes(data)

    def process_picture(self, name: str, **more: Any) -> str:
        body = {"media_id": 1, "file_path": f"/media/{name}", **more}
        answer = self.http.post("/tasks/media/process", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])

    def end_of(self, job_id: str) -> dict[str, Any]:
        """Return the job as it stands when its event stream has ended."""
        accept = {"Accept": "text/event-stream"}
        with self.http.stream("GET", f"/jobs/{job_id}/events", headers=accept) as stream:
            for _ in stream.iter_lines():
                pass
        job: dict[str, Any] = self.http.get(f"/jobs/{job_id}").json()
        assert job["status"] in FINAL
        return job


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with DemoServer(folder, engine="direct") as server:
        site = Site(server, folder)
        yield site
        site.http.close()


@pytest.fixture(scope="module")
def photo() -> bytes:
    return photograph(12)


async def test_a_photograph_of_ten_megabytes_goes_the_whole_way(site: Site, photo: bytes) -> None:
    """Seed 000: upload, events on ``/ws/media``, a thumbnail, a file at least 70 % smaller."""
    async with connect(site.socket, proxy=None) as socket:
        answer = await asyncio.to_thread(
            site.http.post, "/media/upload", files={"file": ("photo.jpg", photo)}
        )
        assert answer.status_code == 202
        told: dict[str, Any] = {}
        while "media_processed" not in told:
            message = json.loads(await asyncio.wait_for(socket.recv(), 60))
            if message["type"] == "task_notification":
                told[message["event"]] = message["data"]
    job = await asyncio.to_thread(site.end_of, answer.json()["task_id"])
    assert job["status"] == "completed"
    assert (told["thumbnail_generated"]["width"], told["thumbnail_generated"]["height"]) == (225, 300)
    assert told["image_optimized"]["bytes"] < 0.3 * len(photo)
    thumbnail = site.http.get(told["thumbnail_generated"]["thumbnail_path"])
    assert (thumbnail.status_code, thumbnail.headers["content-type"]) == (200, "image/jpeg")
    assert len(thumbnail.content) == told["thumbnail_generated"]["bytes"]


def test_every_hostile_file_fails_clearly_at_once_and_the_worker_lives_on(site: Site) -> None:
    jobs = {}
    for name, (make, told) in HOSTILE.items():
        site.put(f"{name.replace(' ', '-')}.jpg", make())
        jobs[site.process_picture(f"{name.replace(' ', '-')}.jpg")] = (name, told)
    for job_id, (name, told) in jobs.items():
        job = site.end_of(job_id)
        assert (job["status"], job["attempt"]) == ("failed", 1), name
        assert job["error"]["type"] in ("BadPicture", "PictureTooLarge"), name
        assert told in job["error"]["message"], name
    site.put("good.jpg", picture(Kind.JPEG))
    assert site.end_of(site.process_picture("good.jpg"))["status"] == "completed"
    assert site.http.get("/health").status_code == 200


def test_a_picture_near_the_limit_is_processed_within_the_childs_memory(site: Site) -> None:
    site.put("large.png", flat_png(9_900, 9_900))
    job = site.end_of(site.process_picture("large.png"))
    assert (job["status"], job["error"]) == ("completed", None)


def test_a_path_that_became_a_link_after_it_was_enqueued_is_refused_by_the_task(site: Site) -> None:
    """The edge checks the path, and the task does so again."""
    answer = site.http.post(
        "/jobs",
        json={"task": "process_media", "args": {"media_id": 1, "file_path": "../faena.db"}},
    )
    assert answer.status_code == 202
    job = site.end_of(answer.json()["task_id"])
    assert (job["status"], job["attempt"], job["error"]["type"]) == ("failed", 1, "InvalidPath")


def test_two_hundred_megabytes_stream_to_disk_in_constant_memory(site: Site, photo: bytes) -> None:
    """The server's memory is looked at while the body comes in; the picture is a JPEG with a long tail."""
    most = 0

    def body() -> Iterator[bytes]:
        nonlocal most
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="x.jpg"\r\n\r\n' + photo
        for _ in range(190 * 16):
            yield bytes(65_536)
            most = max(most, site.process.memory_info().rss)
        yield b"\r\n--x--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x"}
    site.http.post("/media/upload", files={"file": ("x.jpg", photo)})
    before = site.process.memory_info().rss
    answer = site.http.post("/media/upload", content=body(), headers=headers)
    assert answer.status_code == 202
    assert most - before < 16 * 2**20
    stored = site.media.parent / answer.json()["file_path"].lstrip("/")
    assert stored.stat().st_size == len(photo) + 190 * 2**20
    job = site.end_of(answer.json()["task_id"])
    assert (job["status"], job["error"]) == ("completed", None)


def test_the_guides_python_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAENA_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FAENA_ENGINE", "direct")
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "media.md").read_text("utf-8")
    [block] = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "media.md", "exec", dont_inherit=True), names)
    try:
        job_id = names["avatar"](7, "/media/me.jpg")
        assert names["app"].get(job_id).task == "generate_thumbnail"
    finally:
        names["app"].close()
