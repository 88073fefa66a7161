"""The page at ``/``: static files, a client of the public API only.

Nothing is loaded from elsewhere and nothing is inline, so that the page keeps a strict content security policy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

HERE: Final = Path(__file__).parent
SCRIPTS: Final = frozenset(path.stem for path in HERE.glob("*.js"))
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@router.get("/")
async def page() -> Response:
    """The page."""
    return FileResponse(HERE / "index.html", headers=HEADERS)


@router.get("/assets/app.css")
async def style() -> Response:
    """How the page looks."""
    return FileResponse(HERE / "app.css", media_type="text/css", headers=HEADERS)


@router.get("/assets/{name}.js")
async def script(name: str) -> Response:
    """How the page moves."""
    if name not in SCRIPTS:
        raise HTTPException(404, f"the page has no script {name!r}")
    return FileResponse(HERE / f"{name}.js", media_type="text/javascript", headers=HEADERS)


@router.get("/favicon.ico")
@router.get("/assets/icon.svg")
async def icon() -> Response:
    """The page's sign."""
    return FileResponse(HERE / "icon.svg", media_type="image/svg+xml", headers=HEADERS)
