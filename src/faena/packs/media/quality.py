"""How much damage a lossy file did: SSIM, and the quality that keeps it above what an eye sees.

SSIM is the mean structural similarity of the brightness (luma) of two pictures of the same size, as in Z. Wang,
A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13(4), 2004, equation 13, with the paper's constants: a Gaussian
window of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03, L = 255. 1 means equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import pyvips

ENOUGH: Final = 0.95
"""The least SSIM of an optimised file. The differences that remain are fine grain, not edges or gradients."""

TILE: Final = 128
TILES: Final = 4
"""The quality is chosen on a sample: so many tiles across and down, so many pixels wide and high."""

_C1: Final = (0.01 * 255) ** 2
_C2: Final = (0.03 * 255) ** 2


class Chosen(NamedTuple):
    """A quality, and the SSIM that it reaches on the sample."""

    quality: int
    ssim: float


def ssim(left: pyvips.Image, right: pyvips.Image) -> float:
    """Return the mean SSIM of two pictures of the same size; see the module for the formula."""
    import pyvips

    x, y = _luma(left), _luma(right)
    window = pyvips.Image.gaussmat(1.5, 0.001, separable=True, precision="float")
    blurred = _blur(x.bandjoin([y, x * x, y * y, x * y]), window)
    mx, my, xx, yy, xy = (blurred[band] for band in range(5))
    mx2, my2, mxy = mx * mx, my * my, mx * my
    above = (mxy * 2 + _C1) * ((xy - mxy) * 2 + _C2)
    below = (mx2 + my2 + _C1) * ((xx - mx2) + (yy - my2) + _C2)
    return float((above / below).avg())


def choose(
    picture: pyvips.Image,
    qualities: Sequence[int],
    encode: Callable[[pyvips.Image, int], bytes],
    decode: Callable[[bytes], pyvips.Image],
) -> Chosen:
    """Return the first of the rising ``qualities`` that keeps enough of a sample of the picture, else the last."""
    part = sample(picture)
    chosen = Chosen(0, 0.0)
    for quality in qualities:
        chosen = Chosen(quality, ssim(part, decode(encode(part, quality))))
        if chosen.ssim >= ENOUGH:
            break
    return chosen


def sample(picture: pyvips.Image) -> pyvips.Image:
    """Return tiles from all over a picture, side by side in memory; a small picture is its own sample."""
    import pyvips

    if picture.width <= TILE * TILES or picture.height <= TILE * TILES:
        return picture
    lefts = [index * (picture.width - TILE) // (TILES - 1) for index in range(TILES)]
    tops = [index * (picture.height - TILE) // (TILES - 1) for index in range(TILES)]
    tiles = [picture.crop(left, top, TILE, TILE) for top in tops for left in lefts]
    return pyvips.Image.arrayjoin(tiles, across=TILES).copy_memory()


def _luma(picture: pyvips.Image) -> pyvips.Image:
    opaque = picture.flatten(background=255) if picture.hasalpha() else picture
    return opaque.colourspace("b-w").extract_band(0).cast("float").copy_memory()


def _blur(bands: pyvips.Image, window: pyvips.Image) -> pyvips.Image:
    """Convolve, and keep what no edge touches when the picture is large enough for it."""
    blurred = bands.copy_memory().convsep(window, precision="float").copy_memory()
    edge = window.width // 2
    if blurred.width <= 2 * edge or blurred.height <= 2 * edge:
        return blurred
    return blurred.crop(edge, edge, blurred.width - 2 * edge, blurred.height - 2 * edge)
