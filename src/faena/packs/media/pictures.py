"""Pictures in, pictures out: read a file within limits, make a thumbnail, make an optimised file. No paths, no jobs.

Each kind is read by its own named loader, chosen by the file's first bytes: nothing in a file can call up another
loader of libvips (SVG, TIFF, PDF, …). libvips is imported when a picture is read, never with this module.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from faena.packs.media import quality, stripping
from faena.packs.media.errors import BadPicture, PictureTooLarge
from faena.packs.media.kinds import HEAD, TAKEN, Kind, describe, sniff

if TYPE_CHECKING:
    import pyvips

MAX_PIXELS: Final = 100_000_000
"""Of one picture, all frames of an animation together; held against the header, before anything is decoded."""
MAX_SIDE: Final = 65_535
MAX_FRAMES: Final = 1_000

LYING: Final = (5, 6, 7, 8)
"""EXIF orientations whose width is shown as the height."""

WEB_SIDE: Final = 2560
"""The longer side of an optimised picture is at most this long."""
THUMBNAIL_QUALITY: Final = 80
QUALITIES: Final = {Kind.JPEG: (85, 91, 95), Kind.WEBP: (86, 92, 96), Kind.AVIF: (68, 76, 84)}
"""What is tried, in this order, until enough of the picture is kept."""
PHOTOGRAPHIC: Final = 1.0
"""A PNG whose pixels take more bytes than this each holds a photograph: no lossless file makes it small."""
WORTH_IT: Final = 0.95
"""An optimised file larger than this share of the original is not worth its loss: the original is kept."""


class Made(NamedTuple):
    """A picture as it goes to a file."""

    data: bytes
    kind: Kind
    width: int
    height: int
    quality: int | None = None
    """The encoder's quality; None for a lossless file."""
    ssim: float | None = None
    """What of the picture is kept, measured on a sample; None for a lossless file."""
    kept: bool = False
    """True when the bytes are the original's, without its metadata."""


class Picture:
    """A picture file, its header read and within limits. Raises `BadPicture` for any other file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file  # kept, or it would be closed
        self._descriptor = file.fileno()
        self.size = os.fstat(self._descriptor).st_size
        self.kind = _kind(self._read(HEAD))
        with reading(self.kind):
            header = self._load()
        sides = (header.width, header.height)
        fields = header.get_fields()
        lies = "orientation" in fields and header.get("orientation") in LYING
        self.width, self.height = reversed(sides) if lies else sides
        """As it is shown."""
        self.frames: int = header.get("n-pages") if "n-pages" in fields else 1
        self._must_fit()

    def decode(self, side: int | None = None) -> pyvips.Image:
        """Return the (first) picture in memory: upright, sRGB, 8 bits, at most ``side`` wide and high."""
        with reading(self.kind):
            image = self._load(**self._shrinking(side))
            shrunk = (
                _smaller(image, side) if side and max(image.width, image.height) > side else _upright(image)
            )
            return _opaque(_eight_bits(shrunk).copy_memory())

    def frames_joined(self) -> pyvips.Image:
        """Return all frames of an animation, as libvips joins them: not in memory, to be read once from the top."""
        with reading(self.kind):
            return self._load(n=-1)

    def content(self) -> bytes:
        """Return the file as it is."""
        return self._read()

    def _read(self, size: int = -1) -> bytes:
        """Read from the start. libvips moves the descriptor's place, so no buffer may lie in between."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        with open(self._descriptor, "rb", buffering=0, closefd=False) as file:
            return file.read(size)

    def _load(self, **options: Any) -> pyvips.Image:
        import pyvips

        os.lseek(self._descriptor, 0, os.SEEK_SET)
        source = pyvips.Source.new_from_descriptor(self._descriptor)
        loader = getattr(pyvips.Image, LOADERS[self.kind])
        image: pyvips.Image = loader(source, access="sequential", fail_on="error", **options)
        return image

    def _shrinking(self, side: int | None) -> dict[str, int]:
        """A JPEG can be decoded at a half, a quarter or an eighth: as small as leaves twice what is wanted."""
        if self.kind is not Kind.JPEG or not side:
            return {}
        longer = max(self.width, self.height)
        return {"shrink": next((by for by in (8, 4, 2) if longer // by >= 2 * side), 1)}

    def _must_fit(self) -> None:
        told = f"the picture is {self.width:,} x {self.height:,} pixels"
        if max(self.width, self.height) > MAX_SIDE:
            raise PictureTooLarge(f"{told}; a side may be at most {MAX_SIDE:,}")
        if self.frames > MAX_FRAMES:
            raise PictureTooLarge(
                f"the animation has {self.frames:,} frames; at most {MAX_FRAMES:,} are processed"
            )
        if self.width * self.height * self.frames > MAX_PIXELS:
            each = f" in {self.frames:,} frames" if self.frames > 1 else ""
            raise PictureTooLarge(f"{told}{each}; at most {MAX_PIXELS // 1_000_000} million are processed")


OUT_OF_MEMORY: Final = ("out of memory", "memory allocation", "cannot allocate memory")
"""How libvips and the libraries below it say that the child's limit was reached."""

LOADERS: Final = {
    Kind.JPEG: "jpegload_source",
    Kind.PNG: "pngload_source",
    Kind.WEBP: "webpload_source",
    Kind.AVIF: "heifload_source",
    Kind.GIF: "gifload_source",
}


def thumbnail(image: pyvips.Image, size: int) -> Made:
    """Make a picture that fits a box of ``size`` x ``size``: a JPEG, or a WebP where one can see through."""
    with making():
        small = _smaller(image, size) if max(image.width, image.height) > size else image
        kind = Kind.WEBP if small.hasalpha() else Kind.JPEG
        return Made(
            encode(small, kind, THUMBNAIL_QUALITY), kind, small.width, small.height, THUMBNAIL_QUALITY
        )


def optimise(picture: Picture, image: pyvips.Image) -> Made:
    """Make the file for the web from ``image``, which is ``picture`` decoded.

    When that saves nothing, the result is the original's own bytes without metadata (``kept``).
    """
    with making(), reading(picture.kind):
        made = _animation(picture) if picture.frames > 1 else _still(picture.kind, image)
        original = stripping.strip(picture.kind, picture.content())
    if original is None or len(made.data) < WORTH_IT * len(original):
        return made
    return Made(original, picture.kind, picture.width, picture.height, kept=True)


def encode(image: pyvips.Image, kind: Kind, at: int) -> bytes:
    """Return the file without any metadata. ``at`` is the quality; PNG and GIF have none."""
    data: bytes
    match kind:
        case Kind.JPEG:
            data = image.jpegsave_buffer(Q=at, keep="none", interlace=True, optimize_coding=True)
        case Kind.WEBP:
            data = image.webpsave_buffer(Q=at, keep="none", effort=4)
        case Kind.AVIF:
            data = image.heifsave_buffer(Q=at, keep="none", compression="av1", effort=3)
        case Kind.PNG:
            data = image.pngsave_buffer(keep="none", compression=9, filter="all")
        case Kind.GIF:
            data = image.gifsave_buffer(keep="none", reuse=True)
    return data


def decode(data: bytes, kind: Kind) -> pyvips.Image:
    """Return a picture that `encode` made."""
    import pyvips

    loader = LOADERS[kind].replace("_source", "_buffer")
    image: pyvips.Image = getattr(pyvips.Image, loader)(data)
    return image


def _still(kind: Kind, image: pyvips.Image) -> Made:
    if kind is Kind.PNG and _photographic(image):
        kind = Kind.WEBP
    if kind not in QUALITIES:
        return Made(encode(image, kind, 0), kind, image.width, image.height)
    chosen = quality.choose(
        image,
        QUALITIES[kind],
        encode=lambda part, at: encode(part, kind, at),
        decode=lambda data: decode(data, kind),
    )
    data = encode(image, kind, chosen.quality)
    return Made(data, kind, image.width, image.height, chosen.quality, round(chosen.ssim, 4))


def _animation(picture: Picture) -> Made:
    """Write all frames anew, in the same size and kind."""
    at = QUALITIES[Kind.WEBP][0] if picture.kind is Kind.WEBP else None
    data = encode(picture.frames_joined(), picture.kind, at or 0)
    return Made(data, picture.kind, picture.width, picture.height, at)


def _photographic(image: pyvips.Image) -> bool:
    part = quality.sample(image)
    lossless: bytes = part.pngsave_buffer(keep="none", compression=6)
    return len(lossless) > float(PHOTOGRAPHIC * part.width * part.height)


def _smaller(image: pyvips.Image, side: int) -> pyvips.Image:
    """Shrink into a box and turn upright."""
    colours = {"export_profile": "srgb"} if _has_foreign_colours(image) else {}
    smaller: pyvips.Image = image.thumbnail_image(side, height=side, size="down", **colours)
    return smaller


def _upright(image: pyvips.Image) -> pyvips.Image:
    """The same pixels, turned as the EXIF orientation says, in sRGB."""
    if _has_foreign_colours(image):
        image = image.icc_transform("srgb", embedded=True, intent="perceptual")
    turned = "orientation" in image.get_fields() and image.get("orientation") != 1
    upright: pyvips.Image = image.copy_memory().autorot() if turned else image
    return upright


def _has_foreign_colours(image: pyvips.Image) -> bool:
    """Tell whether the colours must be changed to become sRGB: CMYK, or a profile other than sRGB itself."""
    if str(image.interpretation) == "cmyk":
        return True
    if "icc-profile-data" not in image.get_fields():
        return False
    profile: bytes = image.get("icc-profile-data")
    own = b"sRGB", "sRGB".encode("utf-16-be")
    return all(name not in profile for name in own)


def _eight_bits(image: pyvips.Image) -> pyvips.Image:
    space = "b-w" if image.bands < 3 else "srgb"
    return image if image.interpretation == space and image.format == "uchar" else image.colourspace(space)


def _opaque(image: pyvips.Image) -> pyvips.Image:
    """Drop an alpha channel that hides nothing."""
    if not image.hasalpha() or image[image.bands - 1].min() < 255:
        return image
    return image.extract_band(0, n=image.bands - 1).copy_memory()


def _kind(head: bytes) -> Kind:
    if not head:
        raise BadPicture("the file is empty; a picture was expected")
    kind = sniff(head)
    if kind is None:
        raise BadPicture(f"the file is no {TAKEN} picture: by its first bytes it is {describe(head)}")
    return kind


@contextlib.contextmanager
def reading(kind: Kind) -> Iterator[None]:
    """Turn libvips' errors about a file into `BadPicture`."""
    with _translated(f"the {kind.name} picture is broken or cut short"):
        yield


@contextlib.contextmanager
def making() -> Iterator[None]:
    """Turn libvips' errors about a result into `BadPicture`."""
    with _translated("no result can be made of this picture"):
        yield


@contextlib.contextmanager
def _translated(told: str) -> Iterator[None]:
    import pyvips

    try:
        yield
    except pyvips.Error as error:
        reason = _reason(error)
        if any(words in reason.lower() for words in OUT_OF_MEMORY):
            raise PictureTooLarge(
                f"the picture needs more memory than its task may use ({reason})"
            ) from error
        raise BadPicture(f"{told}: {reason}") from error


def _reason(error: pyvips.Error) -> str:
    """What libvips said, in one line and without the names of its parts."""
    lines = (line.strip() for line in str(error.detail or error.message).splitlines())
    said = dict.fromkeys(line.partition(": ")[2] or line for line in lines)
    telling = [line for line in said if line and not line.startswith(("bad seek", "("))]
    return "; ".join(telling)[:300]
