"""The media pack itself: its name, its routes, and how its tasks run."""

from __future__ import annotations

from typing import Final

from faena import Limits, Pack

pack: Final = Pack("media", routes="faena.packs.media.routes:router")

MEMORY: Final = 1 << 30
"""Bytes that one picture may take. JPEG, PNG and GIF of 100 million pixels need less; WebP and AVIF, which are decoded
whole, reach it at about 70 and 60 million, and their jobs then fail and say so."""

LIMITS: Final = Limits(memory=MEMORY, cpu=90, files=64)
TIMEOUT: Final = 120.0
