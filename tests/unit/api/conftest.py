"""A kit and a client in this process, for the tests of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from api_kit import Kit, Running, http, opened, serving


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    async with opened(Kit()) as kit:
        yield kit


@pytest.fixture
async def api(kit: Kit) -> AsyncIterator[httpx.AsyncClient]:
    async with http(kit.api) as client:
        yield client


@pytest.fixture
async def server(kit: Kit) -> AsyncIterator[Running]:
    async with serving(kit.api) as running:
        yield running
