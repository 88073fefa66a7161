"""What huey's own command line is pointed at: ``huey_consumer faena.engines.huey_app.huey --workers 4``.

It reads the same settings as ``faena worker`` (FAENA_APP, FAENA_DATA_DIR…), and does nothing before ``huey`` is asked
for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faena.engines.huey import HueyEngine
from faena.engines.huey.hosted import HostedHuey

if TYPE_CHECKING:
    huey: HostedHuey


def make_huey() -> HostedHuey:
    """Make the `Huey` of a Faena worker, from the settings."""
    from faena.host import Host

    host = Host.from_settings(engine="huey")
    engine = HueyEngine(host.settings.queue_dir)
    return HostedHuey(engine.intake(host.queues), host)


def __getattr__(name: str) -> HostedHuey:
    if name != "huey":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has `huey`")
    made = globals()["huey"] = make_huey()
    return made
