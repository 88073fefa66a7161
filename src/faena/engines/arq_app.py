"""What ARQ's own command line is pointed at: ``arq faena.engines.arq_app.WorkerSettings``.

It reads the same settings as ``faena worker``, and does nothing before ``WorkerSettings`` is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    WorkerSettings: dict[str, Any]


def make_settings() -> dict[str, Any]:
    """Make what ARQ calls a settings class, from Faena's settings."""
    from faena.engines.arq_hosted import hosted_settings
    from faena.host import Host

    host = Host.from_settings(engine="arq")
    return hosted_settings(str(host.settings.broker), host, host.tasks, threads=host.settings.threads)


def __getattr__(name: str) -> dict[str, Any]:
    if name != "WorkerSettings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has `WorkerSettings`")
    made = globals()["WorkerSettings"] = make_settings()
    return made
