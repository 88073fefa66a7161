"""What every verb of the Redis store stands on: the connection, the scripts, the clock, and the server's health."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from faena.errors import StoreDown
from faena.ports.records import StoreHealth
from faena.ports.store import StoreOptions
from faena.stores.redis import health, scripts
from faena.stores.redis.bell import Bell
from faena.stores.redis.clock import StoreClock, since_boot
from faena.stores.redis.faults import ClockMoved
from faena.stores.redis.line import Line

SCHEMA_VERSION: Final = 1
CONNECT_PATIENCE: Final = 2.0
"""Seconds to wait for a connection."""
ANSWER_PATIENCE: Final = 5.0
"""Seconds to wait for an answer."""
STAMP_AT: Final = len(scripts.FIXED) + 4
"""Where a script's time is among the parts of its command."""

log = logging.getLogger(__name__)


class Calls:
    """Runs scripts, one round trip for all that wait together."""

    name = "redis"

    def __init__(
        self,
        url: str,
        *,
        options: StoreOptions | None = None,
        clock: Callable[[], float] | None = None,
        monotonic: Callable[[], float] | None = None,
        prefix: str = "faena",
    ) -> None:
        """``url`` is ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user, password and database. For tests:
        ``clock`` (seconds since the epoch) takes the place of the server's, and ``monotonic`` that of the machine's;
        with the first alone nobody compares the two. Raises ValueError for a URL that is none."""
        self._options = options or StoreOptions()
        self._clock = clock
        self._root = f"{prefix}:{{faena}}:"
        self._keys = tuple(self._root + name for name in scripts.FIXED)
        self._location = _without_password(url)
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=ANSWER_PATIENCE,
            socket_connect_timeout=CONNECT_PATIENCE,
            retry=Retry(NoBackoff(), 0),
        )
        self._scripts: Mapping[str, scripts.Script] = {}
        self._line: Line | None = None
        self._bell: Bell | None = None
        self._time: StoreClock | None = None
        if clock is None or monotonic is not None:
            self._time = StoreClock(self._unchecked, monotonic=monotonic or since_boot)
        self._epoch: bytes | None = None
        self._max_events = str(self._options.max_events)
        self._ttls = (repr(self._options.result_ttl), repr(self._options.failure_ttl))

    async def open(self) -> None:
        """Connect and check the server. Raises `StoreDown` with what to do."""
        self._scripts = scripts.load()
        self._line = Line(
            self._connection,
            scripts=[*self._scripts.values()],
            where=f"Redis at {self._location}",
            stamp=self._stamp,
        )
        self._bell = Bell(self._connection, root=self._root)
        try:
            info = await self._info()
            health.require_version(info)
            with health.channels_told(self._root):
                await self._check_epoch("settle")
            if self._time is not None:
                await self._time.start()
        except BaseException:
            await self.close()
            raise
        for warning in health.warnings(info):
            health.warn_once(self._location, warning)

    def _connection(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    async def close(self) -> None:
        """Finish what is under way and hang up. Safe to repeat."""
        bell, self._bell = self._bell, None
        line, self._line = self._line, None
        if bell is not None:
            await bell.close()
        if line is not None:
            await line.close()

    async def _check_epoch(self, manner: str = "") -> int:
        """Note the epoch of the data; returns the number of refused writes. Raises `StoreDown` for newer data."""
        schema, epoch, refused = await self._unchecked("open", manner)
        if int(schema) > SCHEMA_VERSION:
            raise StoreDown(f"the data was made by a newer Faena (version {int(schema)}): upgrade this one")
        self._note_epoch(epoch)
        return int(refused or 0)

    def _note_epoch(self, epoch: bytes) -> None:
        if self._epoch not in (None, epoch):
            log.warning("%s was emptied: the jobs that it held are gone", self._location)
        self._epoch = epoch

    def _stamp(self, *, checked: bool = True) -> str:
        """Return what a script is told of the time: a test's, and what its caller expects."""
        given = "" if self._clock is None else repr(self._clock())
        return f"{given}|{self._time.expected() if checked and self._time is not None else ''}"

    def _command(self, verb: str, stamp: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        sha, keys = self._scripts[verb].sha, self._keys
        return ("EVALSHA", sha, len(keys), *keys, self._root, stamp, self._max_events, *arguments)

    async def _run(self, verb: str, *arguments: Any, again: bool = True) -> Any:
        """Run a script. One that finds another hour than its caller is run again once that is settled."""
        if self._line is None:
            raise StoreDown("the store is not open: await store.open() first")
        try:
            return await self._line(*self._command(verb, "", arguments), again=again, stamp_at=STAMP_AT)
        except ClockMoved:
            if self._time is not None:
                await self._time.settle()
        return await self._unchecked(verb, *arguments, again=again)

    async def _unchecked(self, verb: str, *arguments: Any, again: bool = True) -> Any:
        """Run a script whatever the time is."""
        if self._line is None:
            raise StoreDown("the store is not open: await store.open() first")
        return await self._line(*self._command(verb, self._stamp(checked=False), arguments), again=again)

    def _mark(self) -> float:
        return 0.0 if self._time is None else self._time.mark()

    def _heard(self, store_time: float, *, asked: float) -> None:
        if self._time is not None:
            self._time.heard(store_time, asked=asked)

    async def _listening(self) -> Bell:
        if self._bell is None:
            raise StoreDown("the store is not open: await store.open() first")
        await self._bell.listen()
        return self._bell

    async def check(self) -> StoreHealth:
        info = await self._info()
        refused = await self._check_epoch()
        fields = info.fields
        return StoreHealth(
            name=self.name,
            version=info.version,
            location=self._location,
            warnings=health.warnings(info),
            details={
                "persistence": info.persistence,
                "maxmemory_policy": fields.get("maxmemory_policy", "unknown"),
                "used_bytes": int(fields.get("used_memory", 0)),
                "maximum_bytes": int(fields.get("maxmemory", 0)),
                "epoch": (self._epoch or b"").decode(),
                "stale_writes_refused": refused,
            },
        )

    async def _info(self) -> health.Info:
        if self._line is None:
            raise StoreDown("the store is not open: await store.open() first")
        await self._line("PING")
        told, save = b"", None  # a user of Redis, or a hosted one's clients, may not be allowed to ask
        with contextlib.suppress(StoreDown):
            told = await self._line("INFO")
        with contextlib.suppress(StoreDown):
            save = await self._line("CONFIG", "GET", "save")
        return health.parse(told, save)


def _without_password(url: str) -> str:
    """Return where a URL points to, fit to be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
