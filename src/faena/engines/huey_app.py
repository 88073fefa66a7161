"""What huey's own command line is pointed at: ``huey_consumer faena.engines.huey_app.huey --workers 4``.

It reads the same settings as ``faena worker`` (FAENA_APP, FAENA_DATA_DIR, REDIS_URL…), so it reads the messages that
are on files or those in Redis as that would, and does nothing before ``huey`` is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from faena.engines.huey.engine import Storage
from faena.engines.huey.hosted import HostedHuey

if TYPE_CHECKING:
    huey: HostedHuey


class OnHuey(Protocol):
    """What huey's engines have in common, on files and on Redis."""

    def intake(self, queues: Sequence[str]) -> Storage:
        """Make what hands the messages of ``queues``, in that order, to a `Huey`."""
        ...


def make_huey() -> HostedHuey:
    """Make the `Huey` of a Faena worker, from the settings."""
    from faena.host import Host

    host = Host.from_settings(engine="huey")
    engine = host.make_engine()
    return HostedHuey(cast("OnHuey", engine).intake(host.queues), host)


def __getattr__(name: str) -> HostedHuey:
    if name != "huey":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has `huey`")
    made = globals()["huey"] = make_huey()
    return made
