"""What is said of routes that a shipped pack would have, when the application does not include it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

ROUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "demo": ("POST /tasks", "POST /tasks/a", "POST /tasks/b", "POST /run-progress"),
    "media": (
        "POST /media/upload",
        "POST /tasks/media/process",
        "POST /tasks/media/thumbnail",
        "GET /media/{path:path}",
    ),
}
"""The routes of the shipped packs, which are not imported for their names: what they need may not be installed."""

EXTRAS: Final[Mapping[str, str]] = {"media": "pip install 'faena[media]'"}
"""What a pack needs to be installed."""


def missing_pack(method: str, path: str, included: Iterable[str]) -> str | None:
    """Return the shipped pack that has this route, if the application does not include it."""
    asked = f"{method} {path}"
    for pack, routes in ROUTES.items():
        if pack not in included and any(_fits(asked, route) for route in routes):
            return pack
    return None


def advice(pack: str) -> str:
    """Say what to do about a pack that is missing."""
    include = f"include it in your application (from faena.packs.{pack} import pack; app.include(pack))"
    extra = EXTRAS.get(pack)
    return include if extra is None else f"{extra} and, unless the shipped packs run, {include}"


def _fits(asked: str, route: str) -> bool:
    fixed, placeholder, _ = route.partition("{")
    return asked.startswith(fixed) and asked != fixed if placeholder else asked == route
