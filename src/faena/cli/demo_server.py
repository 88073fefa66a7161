"""A `faena up` of the demo's own, and a visitor who uses it as any client would: HTTP and a WebSocket."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from faena.errors import FaenaError
from faena.process import SUPERVISED

if TYPE_CHECKING:
    import httpx

STARTS_WITHIN = 60.0
STOPS_WITHIN = 45.0


class ServerDidNotStart(FaenaError):
    """The demo's server did not start; the message holds what it said."""


class DemoServer:
    """`faena up --port 0` in a child process, on the embedded default, below one folder."""

    address: str
    store: str
    engine: str

    def __init__(self, folder: Path, *, engine: str | None = None) -> None:
        self._folder = folder
        self._engine = engine
        self._log = folder / "faena.log"

    def __enter__(self) -> Self:
        chosen = ["--engine", self._engine] if self._engine else []
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "faena", "up", "--json", "--host", "127.0.0.1", "--port", "0"),
                    *("--data-dir", str(self._folder), *chosen),
                ],
                stdin=subprocess.PIPE,  # when we are gone, it ends, and so does the server
                stdout=subprocess.PIPE,
                stderr=log,
                env=_clean_environment() | {SUPERVISED: "1"},
                cwd=self._folder,
                start_new_session=os.name == "posix",  # Ctrl-C is the demo's to handle
            )
        try:
            told = self._first_words()
        except BaseException:
            self._stop()
            raise
        self.address, self.store, self.engine = told["address"], told["store"], told["engine"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def wait(self) -> None:
        """Block until the server ends or somebody presses Ctrl-C."""
        with contextlib.suppress(KeyboardInterrupt):
            self._process.wait()

    def last_words(self) -> str:
        """Return the end of what the server logged."""
        return self._log.read_text("utf-8", "replace").strip()[-2000:] or "nothing"

    def _first_words(self) -> dict[str, Any]:
        """Return the line in which the server says where it is."""
        lines: queue.Queue[bytes] = queue.Queue()
        output = self._process.stdout
        assert output is not None
        threading.Thread(target=lambda: lines.put(output.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=STARTS_WITHIN)
        except queue.Empty:
            line = b""
        if not line:
            raise ServerDidNotStart(f"the server did not start; it said:\n{self.last_words()}")
        told: dict[str, Any] = json.loads(line)
        return told

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class Visitor:
    """A client of the server, over HTTP and its WebSocket only."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._http: httpx.AsyncClient

    async def __aenter__(self) -> Self:
        import httpx

        self._http = httpx.AsyncClient(base_url=self._address, timeout=60, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def upload(self, picture: Path) -> str:
        """Upload a picture; returns the id of the job that it became."""
        with picture.open("rb") as body:
            answer = await self._http.post("/media/upload", files={"file": (picture.name, body)})
        return _job_id(answer)

    async def post(self, route: str, body: dict[str, Any]) -> str:
        """Ask for a job; returns its id."""
        return _job_id(await self._http.post(route, json=body))

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the API tells it."""
        answer = await self._http.get(f"/jobs/{job_id}")
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    async def events(self, job_ids: list[str]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield what is told of these jobs, live, until each has ended: an id, and its snapshot or event."""
        from websockets.asyncio.client import connect

        open_jobs = set(job_ids)
        address = self._address.replace("http", "ws", 1) + "/ws"
        async with connect(address, proxy=None) as socket:
            for job_id in job_ids:
                await socket.send(json.dumps({"type": "subscribe", "task_id": job_id}))
            while open_jobs:
                message = json.loads(await socket.recv())
                told = message.get("job") or message.get("event")
                if told is None or message["task_id"] not in open_jobs:
                    continue
                if told["status"] in ("completed", "failed", "cancelled"):
                    open_jobs.discard(message["task_id"])
                yield message["task_id"], told


def _job_id(answer: httpx.Response) -> str:
    if answer.status_code != 202:
        raise FaenaError(f"{answer.request.url.path} answered {answer.status_code}: {answer.text[:500]}")
    return str(answer.json()["task_id"])


def _clean_environment() -> dict[str, str]:
    """Our environment without a single setting: the demo shows what Faena does when nothing is said."""
    from faena.settings import Settings, env_name
    from faena.sources import CONFIG_VARIABLE

    settings = {CONFIG_VARIABLE, *(env_name(field) for field in Settings.model_fields)}
    return {name: value for name, value in os.environ.items() if name not in settings}
