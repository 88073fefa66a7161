"""Which uploads are removed, when, and what becomes of those that were never whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from api_kit import Kit, http, opened
from faena.client import JobRequest
from faena.packs.media import pack
from faena.packs.media.files import MediaRoot
from faena.packs.media.kinds import Kind
from faena.packs.media.upkeep import Upkeep
from faena.ports.store import StoreOptions
from faena.settings import Settings
from faena.stores.memory import MemoryStore
from media_kit import picture

JPEG = picture(Kind.JPEG)
DAY = 86400.0


class Uploads(Kit):
    """A kit with the media pack, and hands that let files grow old."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(MemoryStore(options=StoreOptions(failure_ttl=DAY)))
        self.app.include(pack)

        @self.app.task
        async def stamp(files: list[dict[str, str]]) -> None: ...

        self.root = folder / "media"
        self.settings = Settings(**{"media_root": self.root, **settings})

    async def upload(self) -> tuple[Path, str]:
        """Return where a new upload lies, and the id of its job."""
        async with http(self.api) as client:
            answer = (await client.post("/media/upload", files={"file": ("x.jpg", JPEG)})).json()
        return self.root / answer["file_path"].removeprefix("/media/"), answer["task_id"]

    async def done(self) -> Path:
        """Return an upload whose job has ended well."""
        path, job_id = await self.upload()
        await self.claim(job_id)
        await self.complete(job_id)
        return path

    async def look(self) -> float:
        """Have a server look at the uploads, as it does by itself."""
        return await Upkeep(self.api.state.faena)()


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Uploads]:
    async with opened(Uploads(tmp_path)) as kit:
        yield kit


def grow_old(path: Path, by: float = DAY + 10) -> None:
    then = time.time() - by
    os.utime(path, (then, then))


async def test_an_upload_goes_a_day_after_its_job_and_not_before(kit: Uploads) -> None:
    path = await kit.done()
    grow_old(path, DAY - 60)
    await kit.look()
    assert path.exists()
    grow_old(path)
    await kit.look()
    assert not path.exists()


@pytest.mark.parametrize("status", ["pending", "scheduled", "processing", "failed"])
async def test_an_upload_that_a_job_may_still_need_stays_and_its_day_begins_anew(
    kit: Uploads, status: str
) -> None:
    path, job_id = await kit.upload()
    if status == "scheduled":
        await kit.client.change(job_id, delay=3600)
    elif status != "pending":
        await kit.claim(job_id)
    if status == "failed":
        await kit.fail(job_id)
    assert (await kit.client.get(job_id)).status == status
    grow_old(path)
    await kit.look()
    assert path.exists()
    assert time.time() - path.stat().st_mtime < 60


@pytest.mark.parametrize("form", ["/media/uploads/{}", "uploads/{}", "{root}/uploads/{}", "uploads\\\\{}"])
async def test_a_job_of_any_task_keeps_what_its_arguments_name_in_whatever_form(
    kit: Uploads, form: str
) -> None:
    path = await kit.done()
    grow_old(path)
    named = form.format(path.name, root=kit.root)
    await kit.client.enqueue(JobRequest(task="stamp", args={"files": [{"path": named}]}))
    await kit.look()
    assert path.exists()


async def test_a_job_that_is_run_again_while_the_look_goes_on_keeps_its_upload(
    kit: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, job_id = await kit.upload()
    await kit.claim(job_id)
    await kit.complete(job_id)
    grow_old(path)
    find, looked = kit.store.find, []

    async def find_and_retry(query: Any) -> Any:
        page = await find(query)
        if not looked:
            looked.append(await kit.client.retry(job_id))  # too late for the page that was read
        return page

    monkeypatch.setattr(kit.store, "find", find_and_retry)
    await kit.look()
    assert path.exists()


async def test_an_upload_that_a_new_request_names_is_kept_another_day(kit: Uploads) -> None:
    path = await kit.done()
    grow_old(path)
    async with http(kit.api) as client:
        body = {"media_id": 1, "file_path": f"/media/uploads/{path.name}"}
        assert (await client.post("/tasks/media/thumbnail", json=body)).status_code == 202
    assert time.time() - path.stat().st_mtime < 60


async def test_only_uploads_are_removed(kit: Uploads) -> None:
    upload = await kit.done()
    others = [
        kit.root / "mine.jpg",
        kit.root / "uploads" / "mine.jpg",
        kit.root / "derived" / "uploads" / upload.name / "thumbnail-300.jpg",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    for path in (upload, *others):
        grow_old(path)
    await kit.look()
    assert [path.exists() for path in (upload, *others)] == [False, True, True, True]


async def test_two_servers_may_look_at_the_same_moment(kit: Uploads) -> None:
    gone = [await kit.done() for _ in range(20)]
    kept, _ = await kit.upload()
    for path in (*gone, kept):
        grow_old(path)
    await asyncio.gather(*(kit.look() for _ in range(4)))
    assert [path.exists() for path in (*gone, kept)] == [*[False] * 20, True]


async def test_with_a_time_of_0_uploads_are_kept_for_ever(tmp_path: Path) -> None:
    async with opened(Uploads(tmp_path, upload_ttl=0)) as kit:
        path = await kit.done()
        grow_old(path, 1000 * DAY)
        assert await kit.look() > 0
    assert path.exists()


async def test_a_server_looks_by_itself(kit: Uploads) -> None:
    path = await kit.done()
    grow_old(path)
    api = kit.api
    async with api.router.lifespan_context(api), asyncio.timeout(10):
        while path.exists():
            await asyncio.sleep(0.01)


async def test_a_look_makes_no_directory_where_no_request_has_asked_for_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with opened(Uploads(data, media_root=None, data_dir=data)) as kit:
        await kit.look()
        assert not data.exists()
        path = await kit.done()
        grow_old(path)
        await kit.look()
        assert not path.exists()


async def test_what_a_crash_left_half_is_removed_and_what_is_being_written_stays(kit: Uploads) -> None:
    upload = await kit.done()
    left, fresh = (kit.root / "uploads" / f".{name * 16}.part" for name in "ab")
    of_result = kit.root / "derived" / "uploads" / upload.name / f".{'c' * 16}.part"
    of_result.parent.mkdir(parents=True)
    for path in (left, fresh, of_result):
        path.write_bytes(JPEG)
    for path in (left, of_result, upload):
        grow_old(path)
    await kit.look()
    assert [path.exists() for path in (left, fresh, of_result)] == [False, True, False]


async def test_a_request_cancelled_while_its_file_is_opened_leaves_nothing(
    kit: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go_on, was_opened = threading.Event(), threading.Event(), threading.Event()
    replacing = MediaRoot.replacing

    @contextlib.contextmanager
    def slowly(root: MediaRoot, file_path: str) -> Iterator[BinaryIO]:
        opening.set()
        go_on.wait(10)
        with replacing(root, file_path) as file:
            was_opened.set()
            yield file

    monkeypatch.setattr(MediaRoot, "replacing", slowly)
    request = asyncio.create_task(kit.upload())
    await asyncio.to_thread(opening.wait, 10)
    request.cancel()
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError) as kept:  # its frames keep the file from being collected
        await request
    assert await asyncio.to_thread(was_opened.wait, 10)
    assert [path for path in kit.root.rglob("*") if path.is_file()] == []
    assert kept.tb is not None
