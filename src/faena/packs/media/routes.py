"""The routes of the media pack: upload, process, thumbnail, and the results."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from typing import Annotated, Any, Final

from annotated_types import Len
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from faena import JobRequest, StoreDown
from faena.api.deps import ClientDep, SettingsDep, streams_body
from faena.packs.media.errors import InvalidPath
from faena.packs.media.files import DERIVED, PREFIX, MediaRoot
from faena.packs.media.kinds import HEAD, sniff
from faena.packs.media.tasks import BOTH, FilePath, Operation, Size, generate_thumbnail, process_media
from faena.packs.media.upkeep import find_and_renew, looking_after_uploads
from faena.packs.media.uploads import FILE_FIELD, receive

router = APIRouter(tags=["media"], lifespan=looking_after_uploads)

SAFE_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Content-Disposition": "inline",
    "Cache-Control": "private, no-cache",
}
"""A result is a picture and nothing else, whatever a browser may think of its bytes."""

UPLOAD_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FILE_FIELD],
                    "properties": {
                        FILE_FIELD: {"type": "string", "format": "binary", "description": "The picture."},
                        "media_id": {
                            "type": "integer",
                            "description": "Your number for it; unset: one is drawn.",
                        },
                        "user": {"type": "string", "maxLength": 200, "description": "Whose job it is."},
                    },
                }
            }
        },
    }
}


class ThumbnailBody(BaseModel):
    """A picture below the media root, and the box that its thumbnail fits."""

    model_config = ConfigDict(extra="forbid")

    media_id: int
    file_path: FilePath = Field(examples=["/media/image.jpg"])
    size: Size = 300


class ProcessBody(ThumbnailBody):
    """A picture below the media root, and what is to be made of it."""

    operations: Annotated[list[Operation], Len(1)] = Field(default_factory=lambda: list(BOTH))


class Accepted(BaseModel):
    """The job that was made; ``task_id`` and ``job_id`` are the same."""

    task_id: str
    job_id: str
    message: str = "Task enqueued"


class Uploaded(Accepted):
    """The job that processes the stored picture."""

    media_id: int
    file_path: str


@router.post("/media/upload", status_code=202, openapi_extra=UPLOAD_FORM)
@streams_body
async def upload_media(request: Request, client: ClientDep, settings: SettingsDep) -> Uploaded:
    """Store a picture (JPEG, PNG, WebP, AVIF or GIF) and make its thumbnail and its optimised file."""
    root = MediaRoot(settings.media_root)
    upload = await receive(request, root, limit=settings.media_max_bytes)
    try:
        media_id = _media_id(upload.fields.get("media_id"))
        args = {"media_id": media_id, "file_path": upload.file_path}
        job_id = await _enqueue(client, process_media.name, args, user=upload.fields.get("user") or None)
    except (StoreDown, asyncio.CancelledError):
        raise  # the job may be stored all the same: it needs its picture
    except BaseException:
        await asyncio.to_thread(_remove, root, upload.file_path)
        raise
    return Uploaded(
        task_id=job_id,
        job_id=job_id,
        message="Processing started",
        media_id=media_id,
        file_path=upload.file_path,
    )


@router.post("/tasks/media/process", status_code=202)
async def enqueue_processing(body: ProcessBody, client: ClientDep, settings: SettingsDep) -> Accepted:
    """Make a thumbnail, an optimised file, or both, of a picture that lies below the media root."""
    return await _accepted(client, settings, process_media.name, body)


@router.post("/tasks/media/thumbnail", status_code=202)
async def enqueue_thumbnail(body: ThumbnailBody, client: ClientDep, settings: SettingsDep) -> Accepted:
    """Make a thumbnail of a picture that lies below the media root."""
    return await _accepted(client, settings, generate_thumbnail.name, body)


@router.get("/media/{path:path}", response_class=FileResponse)
async def read_result(path: str, settings: SettingsDep) -> FileResponse:
    """A thumbnail or an optimised file, by the path that its job told. Originals are not served."""
    root = MediaRoot(settings.media_root)
    return await asyncio.to_thread(_result, root, path)


async def _accepted(client: ClientDep, settings: SettingsDep, task: str, body: ThumbnailBody) -> Accepted:
    root = MediaRoot(settings.media_root)
    await asyncio.to_thread(find_and_renew, root, body.file_path)
    args = {**body.model_dump(), "file_path": root.tell(body.file_path)}
    job_id = await _enqueue(client, task, args)
    return Accepted(task_id=job_id, job_id=job_id)


async def _enqueue(client: ClientDep, task: str, args: dict[str, Any], user: str | None = None) -> str:
    inserted = await client.enqueue(JobRequest(task=task, args=args, user=user))
    return inserted.job.id


def _media_id(text: str | None) -> int:
    """Read the form's number; without one draw one that JavaScript can hold too."""
    if not text:
        return secrets.randbelow(2**53 - 1) + 1
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise HTTPException(422, f"media_id must be a whole number of at most 18 digits, not {text[:40]!r}")
    return int(text)


def _result(root: MediaRoot, path: str) -> FileResponse:
    """Answer with a file below ``derived``; anything else is simply not there."""
    missing = HTTPException(404, f"there is no result at {PREFIX}{path[:200]}")
    if not path.startswith(f"{DERIVED}/"):
        raise missing
    try:
        with root.open(path) as file:
            kind = sniff(file.read(HEAD))
        found = root.find(path)
    except (InvalidPath, OSError):
        raise missing from None
    if kind is None:
        raise missing
    return FileResponse(found, media_type=kind.media_type, headers=SAFE_HEADERS)


def _remove(root: MediaRoot, file_path: str) -> None:
    with contextlib.suppress(InvalidPath, OSError):
        root.find(file_path).unlink()
