"""Text that comes from anywhere, made fit to be stored."""

from __future__ import annotations


def storable(text: str, limit: int) -> str:
    """Return ``text``, cut to ``limit`` characters, with escapes in place of what is no Unicode (half of a surrogate
    pair, as in the name of a file that is not UTF-8): no store and no JSON takes that."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"
