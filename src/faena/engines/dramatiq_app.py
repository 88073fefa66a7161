"""What dramatiq's own command line is pointed at: ``dramatiq faena.engines.dramatiq_app --processes 2 --threads 8``.

It reads the same settings as ``faena worker`` (FAENA_APP, REDIS_URL…), when a worker process boots. Dramatiq looks
for its broker in the process, so importing this sets it; import it nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dramatiq

from faena.engines.dramatiq.hosted import HostedBroker

if TYPE_CHECKING:
    from faena.host import Host


def make_host() -> Host:
    """Make the Faena worker of one process, from the settings."""
    from faena.host import Host

    return Host.from_settings(engine="dramatiq")


broker = HostedBroker(make_host)
dramatiq.set_broker(broker)
