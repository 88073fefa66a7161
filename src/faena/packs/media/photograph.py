"""A photograph of our own: a lake at dusk, drawn by rule, that weighs and behaves like a camera's file.

The demo, the tests and the bench need a real photograph of about 10 MB that nobody has to download. What
makes a file hard for an encoder is all here: fine texture with a 1/f spectrum, long smooth gradients, hard
edges, sensor noise that is stronger in the shadows' colours, and EXIF data with an orientation and a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pyvips

Colour = tuple[float, float, float]

HORIZON: Final = 0.56
"""Where the lake begins, as a share of the height."""
SUN: Final = (0.625, 0.345)

ZENITH: Final[Colour] = (38, 62, 118)
HIGH: Final[Colour] = (112, 128, 176)
LOW: Final[Colour] = (246, 176, 122)
GLOW: Final[Colour] = (255, 214, 150)
DISC: Final[Colour] = (255, 246, 218)
SMOOTH: Final = 4
"""What has no detail is drawn so many times smaller."""

RIDGES: Final[Sequence[tuple[float, float, float, Colour]]] = (
    # top, height, roughness, colour: the far ones first, paler and higher
    (0.37, 0.20, 0.55, (146, 130, 158)),
    (0.44, 0.13, 0.50, (96, 92, 128)),
    (0.49, 0.09, 0.45, (52, 58, 82)),
)

FIRS: Final[Sequence[tuple[float, float, float]]] = (
    # across, foot, height
    (0.14, 0.955, 0.46),
    (0.27, 0.97, 0.33),
    (0.36, 0.95, 0.20),
    (0.89, 0.965, 0.38),
)

GPS: Final = {
    "exif-ifd3-GPSLatitudeRef": "S",
    "exif-ifd3-GPSLatitude": "41/1 8/1 1234/100",
    "exif-ifd3-GPSLongitudeRef": "W",
    "exif-ifd3-GPSLongitude": "71/1 18/1 3690/100",
}


def make_photograph(path: Path, megapixels: float = 12, *, orientation: int = 6, seed: int = 7) -> Path:
    """Write a JPEG of a lake at dusk to ``path`` and return the path; the same seed draws the same picture.

    Seen the right way up it is three wide and four high. With ``orientation`` 6 (the default: a telephone
    held upright) or 8 the stored pixels lie on their side, with 3 upside down, and the EXIF data say so.
    12 megapixels weigh about 10 MB.
    """
    unit = (megapixels * 1e6 / 12) ** 0.5
    picture = _expose(_scene(round(3 * unit), round(4 * unit), seed), seed)
    _with_metadata(_turned(picture, orientation), orientation).jpegsave(
        str(path), Q=QUALITY, subsample_mode="off"
    )
    return path


QUALITY: Final = 99
_TURNS: Final = {1: None, 3: "rot180", 6: "rot270", 8: "rot90"}


def _turned(picture: pyvips.Image, orientation: int) -> pyvips.Image:
    """Lay the pixels as a camera held that way stores them."""
    if orientation not in _TURNS:
        raise ValueError(f"orientation must be one of {sorted(_TURNS)}, not {orientation}")
    turn = _TURNS[orientation]
    return getattr(picture.copy_memory(), turn)() if turn else picture


def _scene(width: int, height: int, seed: int) -> pyvips.Image:
    """The landscape in four steps: sky, ridges, lake, shore. Three bands, 0 to 255."""
    upper = _ridges(_sky(width, height, seed), height, seed)
    picture = upper.join(_lake(upper, height - upper.height, seed), "vertical")
    return _foreground(picture.copy_memory(), seed)


def _sky(width: int, height: int, seed: int) -> pyvips.Image:
    """Down to the horizon: dusk, a low sun, clouds lit from it. All but the clouds is smooth, so drawn small."""
    import pyvips

    shore = round(HORIZON * height)
    small = pyvips.Image.xyz(-(-width // SMOOTH), -(-shore // SMOOTH)).cast("float") * SMOOTH
    down = small[1] / shore
    across, along = small[0] / width - SUN[0], small[1] / width - SUN[1] * height / width
    distance = ((across * across + along * along) ** 0.5).copy_memory()
    air = _blend(_mix(ZENITH, HIGH, _clamp(down * 1.5)), list(LOW), _clamp((down - 0.35) * 1.7) ** 1.5)
    air = _blend(air, list(GLOW), (distance * -4.2).exp() * 0.85)
    air = _blend(air, list(DISC), _clamp((0.042 - distance) * 90))
    lit = _blend(
        _mix((150, 134, 166), (255, 196, 158), _clamp(down * 1.2)), [255, 232, 196], (distance * -5).exp()
    )
    clouds = _clamp((_noise(width, shore, seed, cells=(3, 15), octaves=6) - 0.05) * 1.9) * 0.72
    return _blend(_enlarged(air, width, shore), _enlarged(lit, width, shore), clouds)


def _enlarged(picture: pyvips.Image, width: int, height: int) -> pyvips.Image:
    return picture.cast("float").resize(SMOOTH, kernel="linear").crop(0, 0, width, height).copy_memory()


def _ridges(sky: pyvips.Image, height: int, seed: int) -> pyvips.Image:
    """Mountains against the sky: each a noisy skyline with folded slopes and haze at its foot."""
    import pyvips

    width, picture = sky.width, sky
    for number, (top, size, rough, colour) in enumerate(RIDGES, start=1):
        first = max(0, round((top - size * 0.5) * height))
        rows = sky.height - first
        grid = pyvips.Image.xyz(width, rows).cast("float")
        edge = (_skyline(width, seed + 10 * number, rough) * -size + top + size * 0.5) * height - first
        depth = grid[1] - edge.embed(0, 0, width, rows, extend="copy")
        folds = _noise(width, rows, seed + 10 * number + 3, cells=(9 * number, 4 * number), octaves=7)
        rock = _clamp(folds.abs() * -1.6 + 1) * [0.5 * part for part in colour] + [
            0.62 * part for part in colour
        ]
        rock = rock * (_grit(width, rows, seed + 10 * number + 4) * 0.22 + 1)
        ridge = _blend(rock, [206, 164, 150], _clamp(depth / (size * height) * 0.5) * 0.55)
        under = picture.crop(0, first, width, rows)
        picture = picture.insert(_blend(under, ridge, _clamp(depth)), 0, first)
    return picture.copy_memory()


def _lake(upper: pyvips.Image, height: int, seed: int) -> pyvips.Image:
    """The upper half upside down, squeezed, broken by ripples that grow towards us."""
    import pyvips

    width = upper.width
    grid = pyvips.Image.xyz(width, height).cast("float")
    near = grid[1] / height
    ripples = _noise(width, height, seed + 90, cells=(14, 160), octaves=5)
    fine = _noise(width, height, seed + 91, cells=(60, 420), octaves=3)
    sway = (ripples * (near * 0.035 + 0.004) + fine * 0.006) * width
    mirror = upper.flipver().resize(1, vscale=height / upper.height * 1.02, kernel="linear")
    mirror = mirror.crop(0, 0, width, height)
    index = _clamp((grid[0] + sway * 0.5) / width) * (width - 2)
    index = index.bandjoin(_clamp((grid[1] + sway) / height) * (height - 2))
    water = mirror.mapim(index, extend="copy")
    shade = (near * -0.45 + 0.92) * (ripples * 0.22 + fine * 0.16 + 1)
    glint = (
        _clamp((fine + ripples * 0.7 - 0.42) * 5)
        * (((grid[0] / width - SUN[0]) / (near * 0.12 + 0.05)) ** 2 * -1).exp()
    )
    tinted = water * shade * [0.93, 0.98, 1.05]
    return _blend(tinted, [255, 230, 184], glint * 0.85)


def _foreground(picture: pyvips.Image, seed: int) -> pyvips.Image:
    """A dark bank with grass in front, and firs standing on it: hard edges and fine texture."""
    import pyvips

    width, height = picture.width, picture.height
    first = round(0.86 * height)
    rows = height - first
    bank = (_skyline(width, seed + 200, 0.4) * -0.05 + 0.93) * height - first
    depth = pyvips.Image.xyz(width, rows).cast("float")[1] - bank.embed(0, 0, width, rows, extend="copy")
    blades = _noise(width, rows, seed + 201, cells=(260, 6), octaves=4)
    patches = _noise(width, rows, seed + 202, cells=(8, 2), octaves=4) * 0.3 + 0.9
    straws = _octave(width, rows, seed + 203, (width // 3, max(1, rows // 40)))
    grass = (
        (blades * 0.5 + straws * 0.45 + _grit(width, rows, seed + 204) * 0.3 + 0.75) * patches * [92, 84, 44]
    )
    inside = _clamp((depth + blades * 0.012 * height) / 2)
    picture = picture.insert(_blend(picture.crop(0, first, width, rows), grass, inside), 0, first)
    for x, base, tall in FIRS:
        picture = _fir(picture, x, base, tall, seed + round(x * 1000))
    return picture.copy_memory()


def _fir(picture: pyvips.Image, x: float, base: float, tall: float, seed: int) -> pyvips.Image:
    """One fir: a trunk line with whorls of branches that widen downwards, ragged by noise."""
    import pyvips

    width, height = picture.width, picture.height
    size = round(tall * height)
    wide = round(size * 0.42)
    left, top = round(x * width - wide / 2), round(base * height) - size
    grid = pyvips.Image.xyz(wide, size).cast("float")
    down, across = grid[1] / size, (grid[0] / wide - 0.5).abs() * 2
    ragged = _noise(wide, size, seed, cells=(18, 60), octaves=5)
    whorl = _fraction(down * 14 - across * 3.2)
    reach = down * (0.35 + 0.65 * whorl) * 0.8 + (ragged * 0.2 + _grit(wide, size, seed + 2) * 0.14) * down
    branches = _clamp((reach - across) * wide / 6)
    trunk = _clamp((down * 0.05 - across) * wide / 4)
    shape = _clamp(branches + trunk)
    needles = _grit(wide, size, seed + 1)
    tone = (_clamp(ragged * 0.5 + 0.5) * 26 + whorl * 14 + 12) * (needles * 0.55 + 1)
    here = picture.extract_area(left, top, wide, size)
    return picture.insert(_blend(here, tone * [1, 1.12, 0.9], shape), left, top)


def _expose(scene: pyvips.Image, seed: int) -> pyvips.Image:
    """What lens and sensor add: a darker rim, grain in brightness and, coarser, in colour."""
    import pyvips

    width, height = scene.width, scene.height
    small = pyvips.Image.xyz(-(-width // SMOOTH), -(-height // SMOOTH)).cast("float") * SMOOTH
    across, along = small[0] / width - 0.5, small[1] / height - 0.5
    rim = _enlarged((across * across + along * along) * -0.32 + 1, width, height)
    grain = _grain(width, height, 2.0, seed + 300)
    blotches = [_grain(width // 2 + 1, height // 2 + 1, 1.6, seed + 301 + band) for band in range(3)]
    colour = blotches[0].bandjoin(blotches[1:]).resize(2, kernel="linear").crop(0, 0, width, height)
    return (scene * rim + colour + grain).cast("uchar").copy(interpretation="srgb")


def _grain(width: int, height: int, sigma: float, seed: int) -> pyvips.Image:
    """Sensor noise; a strip of it is repeated, which nobody sees."""
    import pyvips

    times = 4
    strip = pyvips.Image.gaussnoise(width, -(-height // times), sigma=sigma, mean=0, seed=seed)
    return strip.copy_memory().replicate(1, times).crop(0, 0, width, height)


def _with_metadata(picture: pyvips.Image, orientation: int) -> pyvips.Image:
    import pyvips

    fields = {
        "exif-ifd0-Make": "Faena",
        "exif-ifd0-Model": "Pinhole 1",
        "exif-ifd2-DateTimeOriginal": "2026:03:21 19:42:07",
        "exif-ifd2-UserComment": "Somebody's private note",
        **GPS,
    }
    marked = picture.copy()
    for name, value in fields.items():
        marked.set_type(pyvips.GValue.gstr_type, name, value)
    marked.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return marked


def _noise(width: int, height: int, seed: int, *, cells: tuple[int, int], octaves: int) -> pyvips.Image:
    """Fractal noise, about -1 to 1: ``cells`` across and down in the first octave.

    Each further octave is twice as fine and half as strong. The coarser ones are drawn at half the size and
    enlarged: nothing is lost, and the cost is that of the finest.
    """
    last = octaves - 1
    finest = _octave(width, height, seed + last, (cells[0] * 2**last, cells[1] * 2**last)) * 0.5**last
    if last == 0:
        return finest
    half = _noise((width + 3) // 2, (height + 3) // 2, seed, cells=cells, octaves=last)
    coarser = half.copy_memory().resize(2, kernel="linear").crop(0, 0, width, height)
    return finest + coarser


def _grit(width: int, height: int, seed: int) -> pyvips.Image:
    """The fine texture of stone, needles and straw, about -1 to 1; a strip of it is repeated."""
    import pyvips

    strip = min(height, 768)
    layers = [
        pyvips.Image.perlin(width, strip, cell_size=cell, seed=seed + cell) * share
        for cell, share in ((24, 0.8), (12, 0.8), (6, 0.7), (3, 0.6))
    ]
    drawn = pyvips.Image.sum(layers).copy_memory()
    return drawn.replicate(1, -(-height // strip)).crop(0, 0, width, height)


def _octave(width: int, height: int, seed: int, cells: tuple[int, int]) -> pyvips.Image:
    """One layer of Perlin noise, whose square cells are stretched to the asked shape."""
    import pyvips

    cell = max(2, min(width // cells[0], height // cells[1]))
    wide, high = min(width, cells[0] * cell), min(height, cells[1] * cell)
    layer = pyvips.Image.perlin(wide, high, cell_size=cell, seed=seed)
    stretched = layer.resize(width / wide, vscale=height / high, kernel="linear")
    return stretched.embed(0, 0, width, height, extend="copy").copy_memory()


def _skyline(width: int, seed: int, rough: float) -> pyvips.Image:
    """A noisy line, one pixel high, about 0 to 1."""
    import pyvips

    layers = []
    for octave in range(8):
        cell = max(2, width // (3 * 2**octave))
        layer = pyvips.Image.perlin(width, cell, cell_size=cell, seed=seed + octave)
        layers.append(layer.crop(0, cell // 2, width, 1) * rough**octave)
    return pyvips.Image.sum(layers) * 0.8 + 0.5


def _fraction(image: pyvips.Image) -> pyvips.Image:
    return image - image.floor()


def _clamp(image: pyvips.Image) -> pyvips.Image:
    return image.clamp()


def _mix(low: Colour, high: Colour, share: pyvips.Image) -> pyvips.Image:
    bands = [share * (end - start) + start for start, end in zip(low, high, strict=True)]
    return bands[0].bandjoin(bands[1:])


def _blend(under: pyvips.Image, over: pyvips.Image | list[float], share: pyvips.Image) -> pyvips.Image:
    """``share`` (one band, 0 to 1) of ``over``, the rest of ``under``; in memory, so that it is drawn only once."""
    return ((under * -1 + over) * share + under + 0.5).cast("uchar").copy_memory()
