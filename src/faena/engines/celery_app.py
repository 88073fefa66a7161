"""What Celery's own command line is pointed at.

``celery -A faena.engines.celery_app worker --pool=threads --concurrency=10`` (or ``prefork``, or ``solo``), and
``celery -A faena.engines.celery_app flower`` for the monitor. Reads the same settings as ``faena worker``, and does
nothing before ``app`` is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery import Celery

    app: Celery


def make_app() -> Celery:
    """Make the Celery of a Faena worker, from the settings."""
    from faena.engines.celery_hosted import hosted_app
    from faena.host import Host

    host = Host.from_settings(engine="celery")
    return hosted_app(str(host.settings.broker), host, host.tasks)


def __getattr__(name: str) -> Celery:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has `app`")
    made = globals()["app"] = make_app()
    return made
