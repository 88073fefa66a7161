"""What the guides and the example show, run as it is written, by a real worker on the embedded store."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from faena import Faena
from faena.options import TaskOptions

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAENA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FAENA_STORE", "sqlite")
    monkeypatch.setenv("FAENA_ENGINE", "direct")


@contextmanager
def working(app: Faena) -> Iterator[None]:
    """Run a worker of the app in a thread."""
    worker = pytest.importorskip("faena.worker", reason="the worker is not there yet")
    running = threading.Event()
    stop: list[Any] = []

    async def work() -> None:
        async with app.connect() as client:
            at_work = worker.Worker(
                tasks=app.tasks,
                store=client.store,
                engine=client.engine,
                connect=app.make_store,
                options=worker.WorkerOptions(queues=("high", "default", "media", "bulk"), threads=4),
                settings=app.settings,
                app_ref=None,
                queues=app.queues,
                schedules=app.schedules.values(),
            )
            stop.append(at_work.stop)
            running.set()
            await at_work.run()

    thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    thread.start()
    assert running.wait(30)
    try:
        yield
    finally:
        stop[0]()
        thread.join(60)
        app.close()
    assert not thread.is_alive()


class Guide:
    """The Python blocks of a page, run one after another in one module."""

    def __init__(self, name: str, page: str | None = None) -> None:
        self.path = ROOT / (page or f"docs/guides/{name}.md")
        self.blocks = BLOCK.findall(self.path.read_text("utf-8"))
        self.module = ModuleType(f"guide_{name}".replace("-", "_"))
        sys.modules[self.module.__name__] = self.module

    def run(self, block: str) -> None:
        code = compile(block, str(self.path), "exec", dont_inherit=True)
        exec(code, vars(self.module))


@pytest.mark.parametrize("name", ["tasks", "retries", "steering", "why", "limits", "unique", "schedules"])
def test_a_guide_works_as_written(name: str) -> None:
    guide = Guide(name)
    definitions, *steps = guide.blocks
    guide.run(definitions)
    with working(guide.module.app):
        for step in steps:
            guide.run(step)


def test_the_reference_of_python_works_as_written() -> None:
    page = Guide("python", "docs/reference/python.md")
    definitions, *steps = page.blocks
    page.run(definitions)
    with working(page.module.app):
        for step in steps:
            page.run(step)


def test_getting_started_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    async def count() -> httpx.Response:
        transport = httpx.ASGITransport(app=page.module.web)
        async with httpx.AsyncClient(transport=transport, base_url="http://start") as http:
            return await http.post("/count", params={"text": "one two"})

    page = Guide("start", "docs/getting-started.md")
    application, *steps = page.blocks
    (tmp_path / "work.py").write_text(application)
    monkeypatch.syspath_prepend(tmp_path)
    work = importlib.import_module("work")
    try:
        with working(work.app):
            for step in steps:
                page.run(step)
            assert page.module.job.result == {"words": 3}
            answer = asyncio.run(count())
            assert answer.status_code == 202
            assert work.app.wait(answer.json()["task_id"], timeout=30) == {"words": 2}
    finally:
        del sys.modules["work"]


@pytest.mark.parametrize("page", ["README.md", "README.es.md"])
def test_what_the_front_page_shows_works_as_written(page: str) -> None:
    front = Guide("front", page)
    for block in front.blocks:
        front.run(block)
    with working(front.module.app):
        job_id = front.module.upload(media_id=1, file_path="a.jpg")
        assert front.module.app.wait(job_id, timeout=30) == {"thumbnail_path": "a.jpg.thumbnail.jpg"}


@pytest.mark.parametrize("peer", ["celery", "rq", "dramatiq", "arq", "huey"])
def test_the_same_task_is_written_in_the_words_of_its_peers(peer: str) -> None:
    if not os.environ.get("CI"):  # there it is installed, and its absence a failure
        pytest.importorskip(peer, reason=f"{peer} is not installed: make setup brings it")
    guide = Guide("coming-from")
    (block,) = (
        block for block in guide.blocks if re.search(rf"^(from|import) {peer}\b", block, re.MULTILINE)
    )
    guide.run(block)
    assert callable(guide.module.send)


def test_the_same_task_and_a_chain_are_written_in_ours() -> None:
    guide = Guide("coming-from")
    ours, chain = guide.blocks[-2:]
    guide.run(ours)
    guide.run(chain)
    module = guide.module
    assert module.later("ada").status == "scheduled"
    with working(module.app):
        module.resize.enqueue(picture=7).wait(timeout=30)
        last = module.publish.using(key="publish-7").enqueue(picture=7)
        assert last.wait(timeout=30) == "picture 7 is out"


async def test_the_guides_endpoints_and_coroutines_work() -> None:
    import httpx

    guide = Guide("tasks")
    definitions, *steps = guide.blocks
    guide.run(definitions)
    for step in steps:
        if "async def" in step:
            guide.run(step)
    app = guide.module.app
    assert (await app.aget(await guide.module.upload())).task == "thumbnail"
    transport = httpx.ASGITransport(app=guide.module.api)
    async with httpx.AsyncClient(transport=transport, base_url="http://guide") as http:
        thumbnail = await http.post("/thumbnails", params={"media_id": 1, "file_path": "a.jpg"})
        total = await http.post("/sums", params={"a": 1, "b": 2})
    assert (thumbnail.status_code, total.status_code) == (202, 202)
    assert (await app.aget(thumbnail.json()["job_id"])).task == "thumbnail"
    assert (await app.aget(total.json()["job_id"])).task == "add"
    await app.aclose()


def test_the_guide_tells_every_option() -> None:
    told = (ROOT / "docs" / "guides" / "tasks.md").read_text("utf-8")
    table = told.partition("| option |")[2].partition("\n\n")[0]
    assert [name for name in TaskOptions.__struct_fields__ if f"`{name}`" not in table] == []


def test_what_the_design_shows_works_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    guide = Guide("tasks")
    guide.run(guide.blocks[0])
    module = guide.module
    with working(module.app):
        job = module.thumbnail.enqueue(media_id=1, file_path="a.jpg")
        assert job.wait(timeout=30) == {"thumbnail_path": "a.jpg.300.jpg"}

        async def later() -> Any:
            prepared = module.thumbnail.using(queue="high", delay=300, key="media-1")
            return await prepared.aenqueue(media_id=1, file_path="a.jpg")

        assert asyncio.run(later()).status == "scheduled"


def test_the_example_says_hello() -> None:
    path = ROOT / "examples" / "hello.py"
    spec = importlib.util.spec_from_file_location("hello", path)
    assert spec is not None
    assert spec.loader is not None
    hello = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hello)
    with working(hello.app):
        ran = subprocess.run(
            [sys.executable, path], capture_output=True, text=True, env={**os.environ}, timeout=90, check=True
        )
    assert ran.stdout.splitlines()[-1] == "Hello, world!"
