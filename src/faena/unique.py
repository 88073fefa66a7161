"""Unique jobs as users write them: what the key is made of, how long it is held, and what a conflict does."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from faena.durations import Duration, seconds
from faena.errors import InvalidOptions
from faena.job import OnConflict, Record
from faena.rates import field_faults

By: TypeAlias = str | tuple[str, ...] | Callable[[Mapping[str, Any]], str | None]
"""What makes a job the same as another one."""

Keep: TypeAlias = Duration | Literal["forever"]
"""For how long a key is held from the enqueueing on: seconds, a timedelta, or ``"forever"`` (the same as math.inf)."""

ARGS: Final = "args"
"""All of the arguments."""
FOREVER: Final = "forever"
LONGEST_KEY: Final = 200
_DIGEST: Final = "unique:"
"""What a key begins with that is a digest."""


class Unique(Record, frozen=True):
    """Of jobs that are the same, one: while it lives, and for ``keep`` from its enqueueing on:
    ``Unique(by=("order",), keep=3600)``."""

    by: By = ARGS
    """``"args"``: all arguments; a tuple of names: these; a function of the arguments (as JSON has them) that returns
    the key's text, or None for a job that has no key."""
    keep: Keep = 0.0
    """Seconds, a timedelta, or ``"forever"``: so long from the enqueueing on the key is held, also if the job ends."""
    on_conflict: OnConflict | str = OnConflict.RETURN
    """``return`` the other job, ``refuse``, ``replace`` or ``debounce`` it; see `OnConflict`."""

    def __post_init__(self) -> None:
        faults = [
            *field_faults("by", self.by),
            *keep_faults("keep", self.keep),
            *conflict_faults(self.on_conflict),
        ]
        if self.by is None:
            faults.append('by must be "args", a tuple of names, or a function of the arguments')
        if faults:
            raise InvalidOptions("Unique makes no sense: " + "; ".join(faults))

    def key(self, args: bytes) -> str | None:
        """Return the key of a job with these arguments (JSON); None: it has none."""
        if callable(self.by):
            return self._made(self.by(msgspec.json.decode(args)))
        values = msgspec.json.decode(args)
        if self.by != ARGS:
            names = (self.by,) if isinstance(self.by, str) else self.by
            values = [values.get(name) for name in names]
        return _DIGEST + _digest(msgspec.json.encode(values, order="sorted"))

    def _made(self, key: object) -> str | None:
        if key is None:
            return None
        if not isinstance(key, str) or not key:
            raise InvalidOptions(f"the function of `unique` returned {key!r}: it must return a text, or None")
        return key if len(key) <= LONGEST_KEY else _DIGEST + _digest(key.encode())


UniqueLike: TypeAlias = By | Unique


def as_unique(unique: UniqueLike | None) -> Unique | None:
    """Return what was written as a `Unique`; raises `InvalidOptions`."""
    return unique if unique is None or isinstance(unique, Unique) else Unique(by=unique)


def is_digest(key: str | None) -> bool:
    """Return whether a key that `Unique.key` made says nothing to a reader."""
    return key is not None and key.startswith(_DIGEST)


def unique_faults(unique: object) -> Iterator[str]:
    """Yield what is wrong with ``unique`` as it was written."""
    if not isinstance(unique, Unique):
        yield from field_faults("unique", unique)


def kept(keep: Keep) -> float:
    """Return for how many seconds a key is held; math.inf: for ever."""
    return math.inf if keep == FOREVER else seconds(keep)


def keep_faults(name: str, keep: object) -> Iterator[str]:
    """Yield what is wrong with the time for which a key is held."""
    if keep == FOREVER:
        return
    try:
        length = seconds(keep)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        length = -1.0
    if isinstance(keep, bool | str) or not length >= 0:
        yield f'{name}={keep!r} must be zero or more (seconds or a timedelta), or "forever"'


def conflict_faults(on_conflict: object) -> Iterator[str]:
    """Yield what is wrong with the answer to a conflict."""
    if on_conflict not in (*OnConflict,):
        yield f"on_conflict={on_conflict!r} must be one of {', '.join(OnConflict)}"


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:32]
