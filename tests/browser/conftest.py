"""A real browser on the real page. Without Chromium these tests skip on a laptop, and fail in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from api_kit import Kit, Running, opened, serving

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def chromium() -> str:
    """Return the browser's path; without one, skip the test, or fail it where CI is set."""
    found = os.environ.get("FAENA_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        told = "no Chromium is installed (apt-get install chromium, or set FAENA_CHROMIUM): the page is NOT tested"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    path = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    page = await browser.new_page(viewport={"width": 1100, "height": 800})
    page.set_default_timeout(10_000)
    yield page
    await page.close()


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the page writes to the console as an error, and what it throws."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda line: found.append(line.text) if line.type == "error" else None)
    return found


@pytest_asyncio.fixture(loop_scope="module")
async def kit() -> AsyncIterator[Kit]:
    async with opened(Kit()) as kit:
        yield kit


@pytest_asyncio.fixture(loop_scope="module")
async def server(kit: Kit) -> AsyncIterator[Running]:
    async with serving(kit.api) as running:
        yield running
