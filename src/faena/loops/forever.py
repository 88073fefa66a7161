"""How every loop goes round: a step, a pause, and no failure that ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from faena.errors import Unavailable

logger = logging.getLogger("faena.loops")

LONGEST_PAUSE: Final = 10.0
"""Seconds after repeated failures."""

Step = Callable[[], Awaitable[float]]
"""Does one round and returns the seconds until the next."""


async def forever(
    name: str, step: Step, ending: asyncio.Event, *, nudged: asyncio.Event | None = None
) -> None:
    """Call ``step`` until ``ending`` is set. A failure is logged once, and its end once; pauses grow meanwhile.
    ``nudged``: a pause ends when it is set (``step`` clears it); who sets ``ending`` sets it too."""
    failures = 0
    while not ending.is_set():
        try:
            pause = await step()
        except Exception as error:
            _log_failure(name, error, first=failures == 0)
            failures += 1
            pause = min(0.25 * 2.0 ** min(failures, 10), LONGEST_PAUSE)
        else:
            if failures:
                logger.info("%s works again", name, extra={"loop": name})
            failures = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await (nudged or ending).wait()


def _log_failure(name: str, error: Exception, *, first: bool) -> None:
    if not first:
        logger.debug("%s failed again: %s", name, error, extra={"loop": name})
    elif isinstance(error, Unavailable):
        logger.warning("%s has to wait: %s", name, error, extra={"loop": name})
    else:
        logger.error("%s failed: %s", name, error, extra={"loop": name}, exc_info=error)
