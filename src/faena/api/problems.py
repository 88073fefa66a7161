"""Errors as RFC 9457 problem documents: the one place that knows which error is which HTTP status.

A problem is ``{type, title, status, detail, …}`` with the error's own fields beside them (the task, the key, the
job, every fault of the arguments).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from faena import errors
from faena.api.absent import advice, missing_pack
from faena.api.deps import services_of
from faena.errors import FaenaError

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = 5
"""Seconds that a client is asked to wait when something is down."""

STATUSES: Final[Mapping[type[FaenaError], int]] = {
    errors.Rejected: 422,
    errors.InvalidSettings: 500,  # the server's own, not the request's
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unavailable: 503,
    errors.StoreFault: 500,
    errors.Stale: 409,
    errors.JobNotDone: 409,
    errors.WaitTimeout: 504,
    errors.Retry: 500,  # a task steers its job with these; outside of one they are a bug
    errors.Snooze: 500,
    errors.SoftTimeout: 500,
}
"""The nearest entry among an error's own bases holds."""

_SHOWN: Final[Mapping[str, str]] = {
    "task": "task",
    "known": "known",
    "faults": "faults",
    "key": "key",
    "status": "job_status",  # `status` is the problem's own
    "held_until": "held_until",
    "job_id": "job_id",
}
"""Fields of errors that are told to the client, unless they are None, and what they are called there."""


def status_of(error: type[FaenaError]) -> int:
    """Return the HTTP status of a kind of error. Raises KeyError for one that nobody mapped."""
    return next(STATUSES[base] for base in error.__mro__ if base in STATUSES or base is FaenaError)


class Problem(JSONResponse):
    """A problem document as a response."""

    media_type = MEDIA_TYPE

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        title = HTTPStatus(status).phrase
        slug = kind or title.lower().replace(" ", "-")
        told = {"type": f"urn:faena:problem:{slug}", "title": title, "status": status, "detail": detail}
        super().__init__({**told, **members}, status_code=status, headers=dict(headers or {}))


def problem_of(error: FaenaError) -> Problem:
    """Return the problem document of an error."""
    status = status_of(type(error))
    headers = {"Retry-After": str(RETRY_AFTER)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Problem(status, str(error), kind=_slug(type(error).__name__), headers=headers, **_members(error))


def _members(error: FaenaError) -> dict[str, Any]:
    fields = ((shown, getattr(error, name, None)) for name, shown in _SHOWN.items())
    members = {shown: value for shown, value in fields if value is not None}
    if "held_until" in members:
        at = datetime.fromtimestamp(members["held_until"], UTC)
        members["held_until"] = at.isoformat().replace("+00:00", "Z")
    if "job_id" in members:
        members["task_id"] = members["job_id"]
    return members


def install(api: FastAPI) -> None:
    """Answer every error of an application with a problem document."""

    @api.exception_handler(FaenaError)
    async def _faena_error(request: Request, error: FaenaError) -> Response:
        if isinstance(error, errors.StoreFault):
            log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem_of(error)

    @api.exception_handler(RequestValidationError)
    async def _invalid_request(_: Request, error: RequestValidationError) -> Response:
        faults = [_fault(fault) for fault in error.errors()]
        told = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults)
        return Problem(422, f"the request does not fit: {told}", kind="invalid-request", faults=faults)

    @api.exception_handler(HTTPException)
    async def _http_error(request: Request, error: HTTPException) -> Response:
        detail = error.detail
        if (
            detail == HTTPStatus(error.status_code).phrase
        ):  # the framework's: no such path, or not with this method
            if (pack := _missing_pack(request)) is not None:
                return pack
            detail = f"there is no {request.method} {request.url.path}; /docs lists every route"
        return Problem(error.status_code, str(detail), headers=error.headers)

    @api.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return Problem(500, "something went wrong in the server; its log has the whole story")


def _missing_pack(request: Request) -> Problem | None:
    """Return the answer to a request for a route of a shipped pack that the application does not include."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    pack = missing_pack(request.method, path, services_of(request).app.packs)
    if pack is None:
        return None
    told = f"{request.method} {path} is of the pack {pack}, which this server does not have: {advice(pack)}"
    return Problem(404, told, kind="missing-pack", pack=pack)


def _fault(fault: Mapping[str, Any]) -> dict[str, str]:
    where = ".".join(str(part) for part in fault["loc"])
    message = str(fault["msg"]).removeprefix("Value error, ")  # what pydantic puts before our own words
    return {"where": where or "body", "message": message}


def _slug(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
