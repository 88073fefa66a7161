"""Pictures for tests: good ones of every kind, and hostile ones, all made here."""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyvips

from faena.packs.media.kinds import Kind
from faena.packs.media.photograph import make_photograph

PNG_START = b"\x89PNG\r\n\x1a\n"


def drawing(width: int = 640, height: int = 480, *, alpha: bool = False) -> pyvips.Image:
    """Return a picture with edges and gradients; its left upper corner is red, the rest is not."""
    grid = pyvips.Image.xyz(width, height)
    bands = (grid[0] * 200 / width).bandjoin([grid[1] * 200 / height, grid[0] * 0 + 90]).cast("uchar")
    image = bands.copy(interpretation="srgb").draw_rect([255, 0, 0], 0, 0, width // 4, height // 4, fill=True)
    if alpha:
        image = image.bandjoin((grid[0] * 255 / width).cast("uchar"))
    return image


def picture(kind: Kind, width: int = 640, height: int = 480, **options: Any) -> bytes:
    """Return a good picture file of a kind."""
    image = drawing(width, height, alpha=options.pop("alpha", False))
    if kind is Kind.AVIF:
        options["compression"] = "av1"
    saver = {Kind.AVIF: "heifsave_buffer"}.get(kind, f"{kind}save_buffer")
    data: bytes = getattr(image, saver)(**options)
    return data


@cache
def photograph(megapixels: float, **options: Any) -> bytes:
    """Return the bytes of a photograph of ours, drawn once."""
    with tempfile.TemporaryDirectory() as folder:
        return make_photograph(Path(folder) / "made.jpg", megapixels, **options).read_bytes()


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def flat_png(width: int, height: int, *, rows: int | None = None, extra: bytes = b"") -> bytes:
    """Return a black PNG that weighs next to nothing; with ``rows`` it holds fewer of them than it says."""
    squeezed = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    pixels = b"".join(squeezed.compress(row) for _ in range(height if rows is None else rows))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG_START + header + extra + chunk(b"IDAT", pixels + squeezed.flush()) + chunk(b"IEND", b"")


def bomb() -> bytes:
    """Return a PNG of about 20 KB in which 500 MB of pixels say that they are."""
    pixels = zlib.compress(bytes(20_000_000), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12_910, 12_910, 8, 2, 0, 0, 0))
    return PNG_START + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def gif_of(frames: int) -> bytes:
    """Return an animated GIF of tiny frames."""
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes([0, 0, 0, 255, 255, 255])
    control, image = b"\x21\xf9\x04\0\1\0\0\0", b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0)
    return head + (control + image + b"\x02\x02\x44\x01\0") * frames + b"\x3b"


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "zero bytes": (lambda: b"", "empty"),
    "one byte": (lambda: b"\xff", "no JPEG, PNG, WebP, AVIF or GIF"),
    "text": (lambda: b"hello", "no JPEG, PNG"),
    "an SVG": (
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "SVG",
    ),
    "a PDF": (lambda: b"%PDF-1.7\n", "PDF"),
    "a TIFF": (lambda: drawing(64, 48).tiffsave_buffer(), "TIFF"),
    "an ImageMagick script": (lambda: b"push graphic-context\nviewbox 0 0 9 9\n", "no JPEG"),
    "a PNG bomb": (bomb, "12,910 x 12,910"),
    "a PNG with missing rows": (lambda: flat_png(4000, 3000, rows=9), "broken or cut short"),
    "a very long PNG": (lambda: flat_png(70_000, 1), "a side may be at most"),
    "10,000 frames": (lambda: gif_of(10_000), "10,000 frames"),
    "a GIF that is a script": (lambda: b"GIF89a/*<script>alert(1)</script>*/=1;", "broken or cut short"),
    "noise behind a JPEG's start": (lambda: b"\xff\xd8\xff" + bytes(range(256)) * 40, "broken or cut short"),
    **{
        f"half a {kind.name}": (lambda kind=kind: _part(picture(kind), 0.5), "broken or cut short")  # type: ignore[misc]
        for kind in Kind
    },
    **{
        f"the head of a {kind.name}": (lambda kind=kind: picture(kind)[:40], "broken or cut short")  # type: ignore[misc]
        for kind in Kind
    },
}
"""By name: a file, and what the error must say."""


def _part(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]
