"""Metadata goes, pixels stay, byte for byte."""

from __future__ import annotations

import io
import struct

import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from faena.packs.media.kinds import Kind
from faena.packs.media.stripping import strip
from media_kit import drawing, picture

NOTE = b"Somebody's private note"


def with_note(kind: Kind) -> bytes:
    """A picture that carries the note in every way that its format has."""
    image = Image.open(io.BytesIO(picture(kind, 64, 48)))
    buffer = io.BytesIO()
    match kind:
        case Kind.PNG:
            text = PngImagePlugin.PngInfo()
            text.add_text("Comment", NOTE.decode())
            text.add_itxt("More", NOTE.decode())
            image.save(buffer, "PNG", pnginfo=text, exif=_exif())
        case Kind.WEBP:
            image.save(buffer, "WEBP", exif=_exif(), xmp=NOTE)
        case Kind.GIF:
            image.save(buffer, "GIF", comment=NOTE)
        case _:
            image.save(buffer, "JPEG", exif=_exif(), comment=NOTE, xmp=NOTE)
    return buffer.getvalue()


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x9286] = NOTE.decode()
    exif[0x010E] = NOTE.decode()
    return exif.tobytes()


@pytest.mark.parametrize("kind", [Kind.JPEG, Kind.PNG, Kind.WEBP, Kind.GIF])
def test_the_note_goes_and_the_pixels_stay(kind: Kind) -> None:
    data = with_note(kind)
    assert NOTE in data
    stripped = strip(kind, data + b"<script>")
    assert stripped is not None
    assert NOTE not in stripped
    assert b"<script>" not in stripped
    before, after = (Image.open(io.BytesIO(one)).convert("RGBA") for one in (data, stripped))
    assert before.tobytes() == after.tobytes()
    assert strip(kind, stripped) == stripped


def test_an_avif_is_not_cut() -> None:
    assert strip(Kind.AVIF, picture(Kind.AVIF, 64, 48)) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_only_the_orientation_of_exif_data_stays(orientation: int) -> None:
    image = drawing(64, 48)
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Make", "Pinhole")
    stripped = strip(Kind.JPEG, image.jpegsave_buffer())
    assert stripped is not None
    assert dict(Image.open(io.BytesIO(stripped)).getexif()) == (
        {0x0112: orientation} if orientation > 1 else {}
    )


def test_exif_data_of_either_byte_order_are_understood() -> None:
    base = picture(Kind.JPEG, 64, 48)
    for order, mark in (("<", b"II"), (">", b"MM")):
        tiff = mark + struct.pack(order + "HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
        segment = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
        stripped = strip(Kind.JPEG, base[:2] + segment + base[2:])
        assert stripped is not None
        assert Image.open(io.BytesIO(stripped)).getexif()[0x0112] == 6


def test_a_progressive_jpeg_keeps_all_its_scans() -> None:
    data = picture(Kind.JPEG, 200, 100, interlace=True, keep="none")
    assert strip(Kind.JPEG, data) == data


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(list(Kind)),
    cut=st.integers(0, 4000),
    noise=st.binary(max_size=60),
    at=st.integers(0, 400),
)
def test_broken_files_never_raise(kind: Kind, cut: int, noise: bytes, at: int) -> None:
    data = picture(kind, 16, 12)
    broken = data[:at] + noise + data[at + len(noise) :]
    stripped = strip(kind, broken[:cut])
    assert stripped is None or len(stripped) <= len(broken[:cut]) + 36  # an orientation of its own
