"""What a Redis says of itself, and what of it will hurt."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from functools import cache
from typing import Final

from faena.errors import StoreDown
from faena.job import Record

log = logging.getLogger("faena.stores.redis")

OLDEST: Final = (6, 2)


class Info(Record, frozen=True):
    """The answers to INFO, and to CONFIG GET save where that is allowed."""

    fields: dict[str, str]
    snapshots: str | None

    @property
    def version(self) -> str:
        """The version that the server claims to be compatible with."""
        return self.fields.get("redis_version", "unknown")

    @property
    def persistence(self) -> str:
        """How it keeps what it holds: ``aof``, ``snapshots`` or ``none``; ``unknown`` if it does not tell."""
        if self.fields.get("aof_enabled") == "1":
            return "aof"
        if self.snapshots is None:
            return "unknown"
        return "snapshots" if self.snapshots.strip() else "none"


def parse(info: bytes, save: object) -> Info:
    """Read the text of INFO; ``save`` is the answer to CONFIG GET save, or the error in its place."""
    lines = info.decode("utf-8", "replace").splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line and not line.startswith("#"))
    known = isinstance(save, list) and len(save) == 2
    return Info(
        fields={name: value for name, _, value in pairs},
        snapshots=bytes(save[1]).decode() if known else None,  # type: ignore[index]
    )


def require_version(info: Info) -> None:
    """Raise `StoreDown` for a server that is too old."""
    numbers = tuple(int(part) for part in info.version.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST:
        raise StoreDown(
            f"this Redis is version {info.version}; Faena needs {'.'.join(map(str, OLDEST))} or later"
        )


@contextlib.contextmanager
def channels_told(root: str) -> Iterator[None]:
    """Raise `StoreDown` that says so where the server's user may not publish: a new one of Redis 7 has no channels."""
    try:
        yield
    except StoreDown as error:
        if "channel" not in str(error.__cause__):
            raise
        raise StoreDown(
            f"the user in the URL may not use the channels of Faena in Redis: give it the right &{root}* "
            "(ACL SETUSER), as docs/operating/redis.md says"
        ) from error


def warnings(info: Info) -> tuple[str, ...]:
    """Say in plain words what will hurt."""
    told = []
    policy = info.fields.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        told.append(
            f"Redis may throw jobs away when its memory is full (maxmemory-policy {policy}): "
            "set maxmemory-policy noeviction"
        )
    if info.persistence == "none":
        told.append("Redis keeps nothing on disk, so a restart loses every job: set appendonly yes")
    elif info.persistence == "snapshots":
        told.append(
            "Redis only writes snapshots, so a crash loses the jobs since the last one: set appendonly yes"
        )
    if info.fields.get("role") == "slave":
        told.append("this Redis is a replica and takes no writes: name the primary in the URL")
    return tuple(told)


@cache
def warn_once(location: str, warning: str) -> None:
    """Log a warning about a server: once a process, however many stores it opens there."""
    log.warning("%s: %s", location, warning)
