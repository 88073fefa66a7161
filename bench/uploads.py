"""A 200 MB upload: the server's memory while it streams to the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Self

import httpx
import psutil

from bench.harness import scratch
from bench.latency import server

MEGABYTE = 1_000_000
BOUNDARY = "----faena-bench"


def body(megabytes: int) -> Iterator[bytes]:
    """A multipart form with one file that begins like a JPEG; made piece by piece, never whole."""
    yield (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    yield b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    piece = bytes(MEGABYTE)
    for _ in range(megabytes):
        yield piece
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


class Watch(threading.Thread):
    """Notes the most memory that a process holds while the block lasts."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._done = threading.Event()
        self.before = self.peak = process.memory_info().rss

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        """Look every few milliseconds."""
        while not self._done.wait(0.005):
            self.peak = max(self.peak, self._process.memory_info().rss)


def upload(address: str, process: psutil.Process, *, megabytes: int) -> dict[str, float]:
    """Send one file; returns the time and by how much the server's memory grew at most."""
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    started = time.perf_counter()
    with Watch(process) as watch:
        answer = httpx.post(f"{address}/media/upload", content=body(megabytes), headers=headers, timeout=300)
    assert answer.status_code == 202, answer.text
    return {
        "megabytes": megabytes,
        "seconds": time.perf_counter() - started,
        "rss_before_mb": watch.before / MEGABYTE,
        "growth_mb": (watch.peak - watch.before) / MEGABYTE,
    }


def main(*, quick: bool = False) -> dict[str, object]:
    """Upload a small file to warm up, then 20 MB and 200 MB: the growth is the same."""
    with scratch() as folder, server(folder, engine="direct", app=None) as (address, pid):
        process = psutil.Process(pid)
        upload(address, process, megabytes=5)
        sizes = (20, 50) if quick else (20, 200)
        return {f"{size}_mb": upload(address, process, megabytes=size) for size in sizes}
