"""What a route may ask for: ``from faena.api.deps import AppDep, ClientDep, SettingsDep``.

    @router.post("/reports", status_code=202)
    async def report(client: ClientDep, month: str) -> dict[str, str]:
        inserted = await client.enqueue(JobRequest(task="report", args={"month": month}))
        return {"task_id": inserted.job.id, "message": "Task enqueued"}

These are all that a pack's routes need of the API. The annotated forms are for routes; the functions are for
dependencies of dependencies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection

from faena.app import Faena
from faena.client import Client
from faena.settings import Settings
from faena.task import JobRequest
from faena.wiring import Selection

__all__ = [
    "AppDep",
    "ClientDep",
    "JobRequest",
    "Services",
    "ServicesDep",
    "SettingsDep",
    "current_app",
    "current_client",
    "current_services",
    "current_settings",
    "services_of",
    "streams_body",
]

Endpoint = TypeVar("Endpoint", bound=Callable[..., object])

STREAMS_BODY = "__faena_streams_body__"


@dataclass(frozen=True)
class Services:
    """What one API application is built on."""

    client: Client
    app: Faena
    settings: Settings
    selection: Selection
    embedded: bool = False
    """A worker runs in this process too."""


def services_of(connection: HTTPConnection) -> Services:
    """Everything that the application serving this request or socket is built on."""
    services: Services = connection.app.state.faena
    return services


# Async, though they wait for nothing: FastAPI calls plain functions in a thread, and every request would pay for it.


async def current_services(connection: HTTPConnection) -> Services:
    """Everything that the application is built on."""
    return services_of(connection)


async def current_app(connection: HTTPConnection) -> Faena:
    """The `Faena` whose tasks are served."""
    return services_of(connection).app


async def current_client(connection: HTTPConnection) -> Client:
    """The client on this event loop: enqueue, cancel, retry, get, wait."""
    return services_of(connection).client


async def current_settings(connection: HTTPConnection) -> Settings:
    """The settings in force."""
    return services_of(connection).settings


ServicesDep = Annotated[Services, Depends(current_services)]
AppDep = Annotated[Faena, Depends(current_app)]
ClientDep = Annotated[Client, Depends(current_client)]
SettingsDep = Annotated[Settings, Depends(current_settings)]


def streams_body(endpoint: Endpoint) -> Endpoint:
    """Mark a route that reads its body piece by piece and bounds it itself: the API's size cap lets it through.

    Such a route takes the `Request` and reads ``request.stream()`` (or a parser over it), and declares no body.
    """
    setattr(endpoint, STREAMS_BODY, True)
    return endpoint
