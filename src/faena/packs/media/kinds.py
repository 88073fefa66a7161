"""The kinds of pictures that are taken in, told apart by their first bytes; a file's name says nothing."""

from __future__ import annotations

import enum
from typing import Final

HEAD: Final = 64
"""How many first bytes of a file are enough to know its kind."""


class Kind(enum.StrEnum):
    """A kind of picture; the value is the word of the docs and of results."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    GIF = "gif"

    @property
    def suffix(self) -> str:
        """How names of such files end, with the dot."""
        return ".jpg" if self is Kind.JPEG else f".{self}"

    @property
    def media_type(self) -> str:
        """The value of a ``Content-Type`` header."""
        return f"image/{self}"


TAKEN: Final = "JPEG, PNG, WebP, AVIF or GIF"

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_OTHERS: Final = (
    (b"%PDF-", "a PDF document"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"BM", "a BMP picture"),
    (b"\x00\x00\x01\x00", "an icon file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"8BPS", "a Photoshop document"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"%!PS", "a PostScript document"),
)


def sniff(head: bytes) -> Kind | None:
    """Return the kind of picture that begins with ``head``; None for anything that is not taken in."""
    if head.startswith(b"\xff\xd8\xff"):
        return Kind.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Kind.PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Kind.GIF
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Kind.WEBP
    if _brands(head) & _AVIF_BRANDS:
        return Kind.AVIF
    return None


def describe(head: bytes) -> str:
    """Say in words what begins with ``head``, for the message that refuses it."""
    for magic, words in _OTHERS:
        if head.startswith(magic):
            return words
    if b"ftyp" in head[4:8]:
        return f"a file of brand {head[8:12].decode('ascii', 'replace')!r}"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml", b"<!doctype svg")):
        return "an SVG or XML document"
    if start.startswith((b"<!doctype", b"<html")):
        return "an HTML document"
    return "none of them"


def _brands(head: bytes) -> frozenset[bytes]:
    """Return the major and compatible brands of an ISO base media file (ISO/IEC 14496-12, ``ftyp``)."""
    if head[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return frozenset([head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))])
