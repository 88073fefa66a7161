"""A RabbitMQ for tests: of one's own, in a temporary folder, stopped by its process.

    with RabbitServer() as server:
        engine = CeleryRabbitEngine(server.url)

The program is the one of the PATH, as Linux distributions install it; it brings Erlang's ``epmd`` along.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from faena.testing.servers import OwnServer, free_port

BEHIND_DEBIANS_WRAPPER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The one in the PATH changes the user, the folder and where the output goes."""


def rabbit_program() -> Path | None:
    """Return where a rabbitmq-server is; None if there is none, or no epmd."""
    found = shutil.which("rabbitmq-server")
    if found is None or shutil.which("epmd") is None:
        return None
    return BEHIND_DEBIANS_WRAPPER if BEHIND_DEBIANS_WRAPPER.exists() else Path(found)


class RabbitServer(OwnServer):
    """A rabbitmq-server on a free port, which keeps its data when it is killed and started again."""

    program = "rabbitmq-server"
    patience = 60.0

    def __init__(self, folder: Path | None = None) -> None:
        found = rabbit_program()
        if found is None:
            raise FileNotFoundError("there is no rabbitmq-server with an epmd in the PATH")
        super().__init__(folder)
        (self._folder / "plugins").write_text("[].\n")
        self._program = found
        self._names_port = free_port()
        self._names: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens on the loopback address."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def close(self) -> None:
        """End it and what it brought along, and remove its folder. Safe to repeat."""
        super().close()
        names, self._names = self._names, None
        if names is not None:
            names.kill()
            names.wait()

    def _begin(self) -> subprocess.Popen[bytes]:
        environment = self._environment()
        if self._names is None:
            command = ["epmd", "-address", "127.0.0.1", "-port", str(self._names_port)]
            self._names = _started(command, environment, subprocess.DEVNULL)
        with (self._folder / "output").open("ab") as output:
            return _started([str(self._program)], environment, output.fileno())

    def _environment(self) -> Mapping[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self._folder),  # of Erlang's cookie
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"faena-{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes the server: its process is the one to end
        }

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def _written(self) -> str:
        return (self._folder / "output").read_text("utf-8", "replace")

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        super()._end(how)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # Erlang's helpers


def _started(command: list[str], environment: Mapping[str, str], output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
