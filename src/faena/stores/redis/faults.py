"""What the errors of Redis and of its client mean to a caller. No error of the vendor leaves this folder."""

from __future__ import annotations

import asyncio
from typing import Final

from redis import exceptions

from faena.errors import FaenaError, StoreDown, StoreFault, StoreFull

OURS: Final = (exceptions.RedisError, OSError, asyncio.TimeoutError, EOFError)
"""Everything that talking to Redis may raise."""

_WORDS: Final = {
    "MISCONF": "Redis refuses to write because its last snapshot failed; see its log (often a full disk)",
    "READONLY": "this Redis is a replica and takes no writes; name the primary in the URL",
    "LOADING": "Redis is still loading its data; try again in a moment",
    "BUSY": "Redis is busy with somebody's script; see SCRIPT KILL",
    "NOAUTH": "Redis wants a password; put it into the URL (redis://user:password@host)",
    "WRONGPASS": "Redis refuses the user or the password in the URL",
    "NOPERM": "the user in the URL may not do that in Redis; see docs/operating/redis.md for what it needs",
    "MOVED": "this key space is on another node of a cluster; name that node, or a Redis without cluster mode",
    "CROSSSLOT": "the keys of Faena are not in one slot of the cluster; choose another prefix",
    "CLUSTERDOWN": "the Redis cluster is down",
    "MASTERDOWN": "the primary of this Redis replica is down",
    "NOREPLICAS": "Redis refuses to write because too few replicas are connected",
    "WRONGTYPE": "keys of another program have Faena's names; choose another prefix",
    "UNKILLABLE": "Redis is busy with somebody's script",
}

_KINDS: Final[dict[type[Exception], str]] = {
    exceptions.BusyLoadingError: "LOADING",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.NoPermissionError: "NOPERM",
}
"""Errors of which the client took the code away."""
_FROM_OUTSIDE: Final = ("Script killed", "The user executing the script")
"""What ends a script that is in order: somebody, or the rights of the user."""


class ClockMoved(FaenaError):
    """A script found another hour than its caller expected, and did nothing (see clock.py)."""


def as_faena_error(error: BaseException, where: str = "Redis") -> Exception:
    """Return the error that a caller of the store may see in place of ``error``."""
    if isinstance(error, FaenaError):
        return error
    if str(error).startswith("CLOCKMOVED"):
        return ClockMoved(str(error))
    told = _told(error, where)
    told.__cause__ = error
    return told


def _told(error: BaseException, where: str) -> FaenaError:
    text = _text(error)
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM command not allowed" in text:
        return StoreFull(
            f"{where} is full (maxmemory); nothing was stored: give it more memory, or let jobs end"
        )
    if isinstance(error, (exceptions.AuthenticationError, exceptions.AuthenticationWrongNumberOfArgsError)):
        return StoreDown(f"{where}: {_WORDS['WRONGPASS']} ({error})")
    for code, words in _WORDS.items():
        if text.startswith(code) or f"-{code} " in text or f" {code} " in text:
            return StoreDown(f"{where}: {words}")
    for kind, code in _KINDS.items():
        if isinstance(error, kind):
            return StoreDown(f"{where}: {_WORDS[code]}")
    if _is_certain(error, text):
        return StoreFault(f"{where} can't carry out the call, now or later: {text}")
    if isinstance(error, (exceptions.TimeoutError, asyncio.TimeoutError)):
        return StoreDown(f"{where} does not answer in time")
    if isinstance(error, (exceptions.ConnectionError, OSError, EOFError)):
        return StoreDown(f"{where} cannot be reached: {text}")
    return StoreDown(f"{where} failed: {text}")


def _is_certain(error: BaseException, text: str) -> bool:
    """Return whether a repeated call is certain to fail again: a fault of a script, or of what was to be sent."""
    if isinstance(error, exceptions.DataError):
        return True
    in_script = isinstance(error, exceptions.ResponseError) and "user_script" in text
    return in_script and not any(cause in text for cause in _FROM_OUTSIDE)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
