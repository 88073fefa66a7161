"""Take the metadata out of a file without touching its pixels. The bytes of the picture itself stay as they are.

Used when writing a picture anew would not make it smaller. What the pixels need to look right stays: the colour
profile, and of a JPEG's EXIF data the orientation alone.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from faena.packs.media.kinds import Kind

_PNG_KEPT: Final = frozenset(
    {
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"tRNS",
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"iCCP",
        b"sBIT",
        b"bKGD",
        b"pHYs",
    }
)
_WEBP_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ICCP", b"ALPH", b"ANIM", b"ANMF"})
_WEBP_FLAGS: Final = ~(0x08 | 0x04) & 0xFF
"""VP8X: no EXIF or XMP any more."""
_JPEG_DROPPED: Final = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
"""All application segments but APP0 (JFIF) and APP14 (Adobe: how the colours are coded), and comments."""
_ORIENTATION: Final = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01%b\0\0\0\0\0\0"
"""EXIF data with one entry: a short, the orientation."""
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


def strip(kind: Kind, data: bytes) -> bytes | None:
    """Return the file without metadata and without anything after its end; None when that can't be done."""
    try:
        match kind:
            case Kind.JPEG:
                return _jpeg(data)
            case Kind.PNG:
                return _png(data)
            case Kind.WEBP:
                return _webp(data)
            case Kind.GIF:
                return _gif(data)
            case Kind.AVIF:
                return None
    except (IndexError, ValueError):
        return None


def _jpeg(data: bytes) -> bytes | None:
    """ITU-T T.81, annex B: segments of marker, length, body; a scan's data runs to the next marker."""
    out, at = bytearray(data[:2]), 2
    while True:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xD9:
            return bytes(out + data[at : at + 2])
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        if marker == 0xDA:
            end = _scan_end(data, end)
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            out += _only_orientation(body[6:])
        elif marker not in _JPEG_DROPPED or body.startswith(b"ICC_PROFILE\0"):
            out += data[at:end]
        at = end


def _only_orientation(tiff: bytes) -> bytes:
    """Return a segment with the orientation (TIFF 6.0, tag 0x0112) of EXIF data; nothing for an upright picture."""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)

    first = number(4, 4)
    for entry in range(first + 2, first + 2 + 12 * number(first, 2), 12):
        turn = number(entry + 8, 2)
        if number(entry, 2) == 0x0112 and turn in range(2, 9):
            return _ORIENTATION % turn.to_bytes(2, "big")
    return b""


def _scan_end(data: bytes, at: int) -> int:
    """Return where the next marker is that is neither a stuffed zero nor a restart. Raises ValueError for none."""
    found = _MARKER.search(data, at)
    if found is None:
        raise ValueError("the file ends within a scan")
    return found.start()


def _png(data: bytes) -> bytes | None:
    """PNG specification, 5.3: chunks of length, type, body, CRC."""
    out, at = bytearray(data[:8]), 8
    while True:
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        if len(name) < 4 or end > len(data) or name == b"acTL":
            return None
        if name in _PNG_KEPT:
            out += data[at:end]
        if name == b"IEND":
            return bytes(out)
        at = end


def _webp(data: bytes) -> bytes | None:
    """WebP container specification: RIFF chunks of name, length, body, padded to even."""
    out, at = bytearray(), 12
    total = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= total:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        name = data[at : at + 4]
        if name == b"VP8X":
            out += data[at : at + 8] + bytes([data[at + 8] & _WEBP_FLAGS]) + data[at + 9 : end]
        elif name in _WEBP_KEPT:
            out += data[at:end]
        at = end
    return b"RIFF" + (len(out) + 4).to_bytes(4, "little") + b"WEBP" + bytes(out)


def _gif(data: bytes) -> bytes | None:
    """GIF89a: a header with its colour table, then images and extensions made of sub-blocks, then a trailer."""
    at = 13 + _table(data[10])
    out = bytearray(data[:at])
    while True:
        start, block = at, data[at]
        if block == 0x3B:
            return bytes(out) + b"\x3b"
        if block == 0x2C:
            at = _sub_blocks_end(data, at + 10 + _table(data[at + 9]) + 1)
            out += data[start:at]
        elif block == 0x21:
            label = data[at + 1]
            at = _sub_blocks_end(data, at + 2)
            looping = label == 0xFF and data[start + 3 : start + 14] in (b"NETSCAPE2.0", b"ANIMEXTS1.0")
            if label == 0xF9 or looping:
                out += data[start:at]
        else:
            return None


def _table(flags: int) -> int:
    """Return the bytes of the colour table that a packed field tells of."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _sub_blocks_end(data: bytes, at: int) -> int:
    while data[at]:
        at += data[at] + 1
    return at + 1
