"""Faena's picture work beside Pillow's: the same steps, the same settings, in turns, in one process.

    python -m bench media [--quick]

The steps: read the file, decode, turn upright, shrink to at most 2560 pixels, write the optimised JPEG (the same
quality, progressive, optimised Huffman tables, 4:2:0), make the thumbnail (300 x 300) from it and write that. Both
sides get the same bytes on disk and write to disk; both use Lanczos filters. Faena also chooses the quality by SSIM,
keeps results through a power cut (fsync) and compares with the stripped original: once timed as the tasks do it
("Faena, all of it"), once the steps alone ("Faena, the same steps").
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from faena import Context
from faena.packs.media import process_media
from faena.packs.media.kinds import Kind
from faena.packs.media.photograph import make_photograph
from faena.packs.media.pictures import QUALITIES, THUMBNAIL_QUALITY, WEB_SIDE
from faena.settings import Settings

MEGAPIXELS = 10
SIZE = 300
QUALITY = QUALITIES[Kind.JPEG][0]


def faena_steps(source: Path, folder: Path) -> None:
    """The steps, with the pack's own functions."""
    from faena.packs.media import pictures

    with source.open("rb") as file:
        image = pictures.Picture(file).decode(WEB_SIDE)
        (folder / "thumbnail.jpg").write_bytes(pictures.thumbnail(image, SIZE).data)
        (folder / "optimized.jpg").write_bytes(pictures.encode(image, Kind.JPEG, QUALITY))


def pillow_steps(source: Path, folder: Path) -> None:
    """The steps, as Pillow's handbook does them; ``draft`` lets it decode smaller where that is enough."""
    from PIL import Image, ImageOps

    with Image.open(source) as image:
        image.draft("RGB", (WEB_SIDE, WEB_SIDE))
        upright = ImageOps.exif_transpose(image)
    upright.info.pop("exif", None)
    upright.thumbnail((WEB_SIDE, WEB_SIDE), Image.Resampling.LANCZOS)
    small = upright.copy()
    small.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
    small.save(folder / "thumbnail.jpg", quality=THUMBNAIL_QUALITY, progressive=True, optimize=True)
    upright.save(folder / "optimized.jpg", quality=QUALITY, progressive=True, optimize=True)


def shrink_first(source: Path, folder: Path) -> None:
    """Pillow, written with more care: shrink before turning, which moves fewer pixels."""
    from PIL import Image, ImageOps

    with Image.open(source) as image:
        image.draft("RGB", (WEB_SIDE, WEB_SIDE))
        image.thumbnail((WEB_SIDE, WEB_SIDE), Image.Resampling.LANCZOS)
        upright = ImageOps.exif_transpose(image)
    upright.info.pop("exif", None)
    small = upright.copy()
    small.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
    small.save(folder / "thumbnail.jpg", quality=THUMBNAIL_QUALITY, progressive=True, optimize=True)
    upright.save(folder / "optimized.jpg", quality=QUALITY, progressive=True, optimize=True)


def measure(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each run, in turns, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for count in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if count:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def damage(source: Path, made: Path) -> float:
    """Return the SSIM of a whole result against the original brought to the same size by one and the same filter."""
    import pyvips

    from faena.packs.media.quality import ssim

    result = pyvips.Image.new_from_file(str(made))
    whole = pyvips.Image.new_from_file(str(source)).autorot().copy_memory()
    factor = whole.width / result.width
    reference = whole.reduce(factor, whole.height / result.height, kernel="lanczos3")
    return ssim(reference.crop(0, 0, result.width, result.height).cast("uchar"), result)


def main(*, quick: bool = False) -> dict[str, object]:
    """Return seconds, sizes and SSIM of each way, and how many times Faena is as fast as Pillow."""
    with tempfile.TemporaryDirectory(prefix="faena-bench-") as name:
        folder = Path(name)
        source = make_photograph(folder / "photograph.jpg", MEGAPIXELS)
        runs, made = _runs(source, folder)
        seconds = measure(runs, 3 if quick else 15)
        figures: dict[str, object] = {
            "megapixels": MEGAPIXELS,
            "original_bytes": source.stat().st_size,
            "quality": QUALITY,
            **{label: _figures(seconds[label], source, place) for label, place in made.items()},
        }
    median = {label: statistics.median(times) for label, times in seconds.items()}
    best_pillow = min(median["Pillow"], median["Pillow, shrink first"])
    figures["times as fast as the better Pillow, the same steps"] = (
        best_pillow / median["Faena, the same steps"]
    )
    figures["times as fast as the better Pillow, all of it"] = best_pillow / median["Faena, all of it"]
    return figures


def _runs(source: Path, folder: Path) -> tuple[dict[str, Callable[[], None]], dict[str, Path]]:
    """Return each way to do the steps, and the folder that it writes to."""
    steps = {
        "Faena, the same steps": faena_steps,
        "Pillow": pillow_steps,
        "Pillow, shrink first": shrink_first,
    }
    runs: dict[str, Callable[[], None]] = {}
    made: dict[str, Path] = {}
    for number, (label, run) in enumerate(steps.items()):
        made[label] = folder / str(number)
        made[label].mkdir()
        runs[label] = partial(run, source, made[label])
    context = Context(settings=Settings(media_root=folder))  # type: ignore[call-arg]
    runs["Faena, all of it"] = lambda: _process(context, source.name)
    made["Faena, all of it"] = folder / "derived" / source.name
    return runs, made


def _figures(times: list[float], source: Path, place: Path) -> dict[str, object]:
    optimised = place / "optimized.jpg"
    return {
        "median_s": statistics.median(times),
        "fastest_s": min(times),
        "optimized_bytes": optimised.stat().st_size,
        "saved_percent": 100 * (1 - optimised.stat().st_size / source.stat().st_size),
        "thumbnail_bytes": _thumbnail(place).stat().st_size,
        "ssim": damage(source, optimised),
    }


def _thumbnail(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.name.startswith("thumbnail"))


def _process(context: Context, name: str) -> None:
    process_media(context, media_id=1, file_path=name)
