"""The tasks: thumbnail, optimised file, both. Plain functions, each attempt in a limited child process.

They write only results, at paths that follow from the source's: running one twice replaces the same files. A file
that can't be processed fails the job at once; only what may pass by itself (`OSError`: disk, descriptors) is retried.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeAlias

from annotated_types import Interval, Len

from faena import Context
from faena.packs.media.files import MediaRoot
from faena.packs.media.pack import LIMITS, TIMEOUT, pack

if TYPE_CHECKING:
    import pyvips

    from faena.packs.media.pictures import Made, Picture

Operation: TypeAlias = Literal["thumbnail", "optimize"]
Size: TypeAlias = Annotated[int, Interval(ge=1, le=2000)]
Side: TypeAlias = Annotated[int, Interval(ge=16, le=65_535)]
FilePath: TypeAlias = Annotated[str, Len(1, 1024)]

BOTH: Final[tuple[Operation, ...]] = ("thumbnail", "optimize")
WEB_SIDE: Final = 2560
"""As `pictures.WEB_SIDE`."""
OPTIONS: Final[dict[str, Any]] = {
    "queue": "media",
    "topic": "media",
    "isolation": "process",
    "limits": LIMITS,
    "timeout": TIMEOUT,
    "max_retries": 2,
    "retry_on": (OSError,),
}


@pack.task(**OPTIONS)
def generate_thumbnail(ctx: Context, media_id: int, file_path: FilePath, size: Size = 300) -> dict[str, Any]:
    """Make a thumbnail that fits a box of ``size`` x ``size``, upright and without metadata."""
    with _Work(ctx, media_id, file_path) as work:
        ctx.progress(10, "reading the picture")
        image = work.picture.decode(size)
        ctx.progress(60, "making the thumbnail")
        result = work.thumbnail(image, size)
        ctx.progress(100, "thumbnail made")
        return result


@pack.task(**OPTIONS)
def optimize_image(
    ctx: Context, media_id: int, file_path: FilePath, max_side: Side = WEB_SIDE
) -> dict[str, Any]:
    """Make a file for the web: at most ``max_side`` wide and high, small, without visible damage or metadata."""
    with _Work(ctx, media_id, file_path) as work:
        ctx.progress(10, "reading the picture")
        image = work.picture.decode(max_side)
        ctx.progress(30, "optimising")
        result = work.optimise(image)
        ctx.progress(100, "optimised")
        return result


@pack.task(**OPTIONS)
def process_media(
    ctx: Context,
    media_id: int,
    file_path: FilePath,
    operations: Annotated[list[Operation], Len(1)] = list(BOTH),  # noqa: B006
    size: Size = 300,
) -> dict[str, Any]:
    """Make a thumbnail, an optimised file, or both, from one reading of the picture."""
    with _Work(ctx, media_id, file_path) as work:
        result: dict[str, Any] = {"media_id": media_id, "file_path": work.file_path}
        ctx.progress(10, "reading the picture")
        image = work.picture.decode(max(WEB_SIDE, size) if "optimize" in operations else size)
        if "thumbnail" in operations:
            result["thumbnail"] = work.thumbnail(image, size)
        ctx.progress(30, "thumbnail made" if "thumbnail" in operations else "picture read")
        if "optimize" in operations:
            result["optimized"] = work.optimise(image)
        ctx.progress(60, "optimised" if "optimize" in operations else "nothing to optimise")
        ctx.emit("media_processed", result)
        ctx.progress(100, "done")
        return result


class _Work:
    """One source picture, open while a task works on it, and its results."""

    def __init__(self, ctx: Context, media_id: int, file_path: str) -> None:
        prepare_libvips()
        from faena.packs.media.pictures import Picture

        self._ctx = ctx
        self._media_id = media_id
        self._root = media_root(ctx)
        self.file_path = self._root.tell(file_path)
        self._file = self._root.open(file_path)
        try:
            self.picture: Picture = Picture(self._file)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def thumbnail(self, image: pyvips.Image, size: int) -> dict[str, Any]:
        """Write the thumbnail and tell of it."""
        from faena.packs.media import pictures

        made = pictures.thumbnail(image, size)
        result = self._written("thumbnail_path", f"thumbnail-{size}{made.kind.suffix}", made)
        self._ctx.emit("thumbnail_generated", result)
        return result

    def optimise(self, image: pyvips.Image) -> dict[str, Any]:
        """Write the optimised file and tell of it."""
        from faena.packs.media import pictures

        made = pictures.optimise(self.picture, image)
        result = self._written("optimized_path", f"optimized{made.kind.suffix}", made)
        before = self.picture.size
        result |= {
            "original_bytes": before,
            "saved_percent": round(100 * (1 - len(made.data) / before), 1),
            "quality": made.quality,
            "ssim": made.ssim,
            "kept_original": made.kept,
        }
        self._ctx.emit("image_optimized", result)
        return result

    def _written(self, word: str, name: str, made: Made) -> dict[str, Any]:
        path = self._root.derived(self.file_path, name)
        self._root.write(path, made.data)
        return {
            "media_id": self._media_id,
            "file_path": self.file_path,
            word: path,
            "format": str(made.kind),
            "width": made.width,
            "height": made.height,
            "bytes": len(made.data),
        }


def media_root(ctx: Context) -> MediaRoot:
    """Return the media root that the worker's settings name."""
    if ctx.settings is None:
        raise RuntimeError(
            "the media tasks need Context(settings=…) to know the media root; a worker gives it"
        )
    return MediaRoot(ctx.settings.media_root)


def prepare_libvips() -> None:
    """Import libvips as a child wants it: a few threads, no cache of old pictures."""
    os.environ.setdefault("VIPS_CONCURRENCY", str(min(4, os.cpu_count() or 1)))
    import pyvips

    pyvips.cache_set_max(0)
