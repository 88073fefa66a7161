"""The media pack: pictures become thumbnails and small files for the web. Needs ``faena[media]``."""

from importlib.util import find_spec

if find_spec("pyvips") is None:
    raise ModuleNotFoundError("pyvips is not installed", name="pyvips")

from faena.packs.media.pack import pack
from faena.packs.media.tasks import generate_thumbnail, optimize_image, process_media

__all__ = ["generate_thumbnail", "optimize_image", "pack", "process_media"]
