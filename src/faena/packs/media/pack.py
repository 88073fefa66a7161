"""The media pack itself: its name, its routes, and how its tasks run."""

from __future__ import annotations

from typing import Final

from faena import Limits, Pack

pack: Final = Pack("media", routes="faena.packs.media.routes:router")

MEMORY: Final = 1 << 30
"""Bytes that one picture may take: enough for 100 million pixels of every kind."""

LIMITS: Final = Limits(memory=MEMORY, cpu=90, files=64)
TIMEOUT: Final = 120.0
