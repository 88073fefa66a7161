"""The Redis store over TLS, as a URL with two s asks for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.redis_kit import redis_server

from faena.errors import StoreDown
from faena.stores.redis.store import RedisStore
from faena.testing.factories import JobFactory
from faena.testing.servers import RedisServer, free_port

__all__ = ["redis_server"]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for the loopback address; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    made = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=redis"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(made), "-keyout", f"{made}.key"]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture
def tls_port(redis_server: RedisServer, certificate: Path) -> Iterator[int]:
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-auth-clients", "no"]
    options += ["--tls-key-file", f"{certificate}.key", "--tls-ca-cert-file", str(certificate)]
    server = RedisServer(certificate.parent, *options)
    try:
        server.start()
    except RuntimeError as error:
        server.close()
        pytest.skip(f"this redis-server knows no TLS: {error}")
    yield port
    server.close()


async def test_jobs_travel_over_tls(tls_port: int, certificate: Path) -> None:
    store = RedisStore(f"rediss://127.0.0.1:{tls_port}/0?ssl_ca_certs={certificate}")
    await store.open()
    new = JobFactory().new()
    await store.insert([new])
    assert await store.get([new.id]) != [None]
    await store.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(tls_port: int) -> None:
    store = RedisStore(f"rediss://127.0.0.1:{tls_port}/0")
    with pytest.raises(StoreDown, match="certificate"):
        await store.open()
