"""The application: routes, live channels and the page over one `Client`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline

from faena import dashboard
from faena.api import auth, openapi, problems, ws
from faena.api.auth import LoopbackOnly
from faena.api.deps import Services
from faena.api.limits import BodyLimit
from faena.api.routes import health, jobs, queues, schedules, steering, tasks, workers
from faena.app import Faena
from faena.client import Client
from faena.errors import InvalidOptions
from faena.pack import Pack
from faena.presence import keep_telling
from faena.settings import Settings
from faena.wiring import Selection

ABOUT = "Background jobs: enqueue, watch live, cancel and retry. Errors are RFC 9457 problem documents."


def create_app(
    *, client: Client, app: Faena, settings: Settings, selection: Selection, worker: object | None = None
) -> FastAPI:
    """Return the ASGI application for the tasks and packs of ``app``.

    The caller owns ``client`` and its open store, on the loop that serves, and the ``worker`` that shares the process
    (``/health`` tells of it); the streams that the application opened end with it. Raises `InvalidSettings` when a
    secret is set, for this release could not honour it.
    """
    auth.check_secret(settings.secret)
    api = FastAPIOffline(  # its /docs loads nothing from elsewhere
        title=app.name,
        description=ABOUT,
        version=version("faena"),
        lifespan=_lifespan,
        redoc_url=None,
        static_url="/assets/docs",
        favicon_url="/assets/icon.svg",
    )
    api.state.faena = Services(
        client=client, app=app, settings=settings, selection=selection, embedded=worker is not None
    )
    problems.install(api)
    for pack in app.packs.values():
        if pack.routes is not None:
            api.include_router(_router(pack))
    for own in (health, jobs, tasks, queues, workers, steering, schedules, ws, dashboard):
        api.include_router(own.router)
    openapi.install(api, app)
    api.add_middleware(BodyLimit)
    api.add_middleware(LoopbackOnly)
    return api


@asynccontextmanager
async def _lifespan(api: FastAPI) -> AsyncIterator[None]:
    services: Services = api.state.faena
    telling = None
    if not services.embedded:  # else the worker in this process tells
        telling = asyncio.create_task(keep_telling(services.client.store, services.client.engine))
    yield
    await services.client.live.close()
    if telling is not None:
        telling.cancel()
        await asyncio.wait([telling])


def _router(pack: Pack) -> APIRouter:
    """Return the routes that a pack names. Raises `InvalidOptions` for what is no router."""
    module, _, name = (pack.routes or "").partition(":")
    router = getattr(import_module(module), name, None)
    if not isinstance(router, APIRouter):
        raise InvalidOptions(
            f"the pack {pack.name!r} names {pack.routes} as its routes: that is no APIRouter"
        )
    return router
