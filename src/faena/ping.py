"""Does something that speaks Redis answer at a URL? Asked without redis-py, whose import takes long."""

from __future__ import annotations

import socket
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

ANSWERS_WITHIN: Final = 2.0
"""Seconds for a connection and an answer, together."""


def redis_fault(url: str) -> str | None:
    """Return None when something that speaks Redis answers there (a password is not tried), else why not."""
    deadline = monotonic() + ANSWERS_WITHIN
    try:
        with _connect(url) as connection:
            connection.settimeout(max(deadline - monotonic(), 0.1))
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
    except (OSError, ValueError) as error:
        return str(error)
    return None if answer[:1] in (b"+", b"-") else "what answers there does not speak Redis"


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ANSWERS_WITHIN)
        connection.connect(parts.path)
        return connection
    plain = socket.create_connection((parts.hostname or "localhost", parts.port or 6379), ANSWERS_WITHIN)
    if parts.scheme != "rediss":
        return plain
    import ssl

    return ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
