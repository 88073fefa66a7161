"""Take docs/images/page.png anew: the page with jobs in every state, the same ones each time. Needs Chromium.

The server is real; the store is in memory, its clock and its jobs are moved by hand, so that no picture depends on how
fast the machine is. Usage: .venv/bin/python scripts/picture_of_the_page.py
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import sys
import time
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright, expect

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from api_kit import Kit, opened, serving  # noqa: E402
from faena import Context, Faena  # noqa: E402
from faena.client import Client  # noqa: E402
from faena.engines.direct import DirectEngine  # noqa: E402
from faena.ports.store import StoreOptions  # noqa: E402
from faena.stores.memory import MemoryStore  # noqa: E402
from faena.testing import FakeClock  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "page.png"
SIZE = {"width": 1080, "height": 660}
SCALE = 1.75
"""Pixels to a CSS pixel: sharp where the README shows it about 900 wide on a dense screen."""
STORY = 300.0
"""Seconds that the story on the picture takes; it ends now."""


def make_shop() -> Faena:
    """Return the tasks of a small shop."""
    app = Faena(name="shop")

    @app.task(queue="mail", at_once=1)
    async def send_newsletter(ctx: Context, issue: int) -> None: ...

    @app.task(queue="reports")
    async def monthly_report(ctx: Context, month: str) -> None: ...

    @app.task(max_retries=0)
    async def charge_card(order: int) -> None: ...

    @app.task
    async def import_products(ctx: Context, file: str) -> None: ...

    return app


class Shop(Kit):
    """The shop's jobs, on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = FakeClock(time.time() - STORY)
        super().__init__(MemoryStore(options=StoreOptions(), clock=self.clock))
        self.app = make_shop()
        self.client = Client(self.store, DirectEngine(), self.app.tasks)

    async def live_a_little(self) -> None:
        """Bring jobs into every state."""
        end = self.clock.now + STORY
        done = await self.start("monthly_report", args={"month": "September"})
        self.clock.advance(48)
        await self.progress(done.id, 100, "24 pages")
        await self.complete(done.id)
        failed = await self.start("charge_card", args={"order": 4711})
        await self.fail(failed.id, "order 4711: the bank declined the card")
        self.clock.advance(60)
        await self.client.pause(task="monthly_report")
        await self.enqueue("monthly_report", args={"month": "October"})
        mails = await self.start("send_newsletter", args={"issue": 13})
        self.clock.advance(30)
        goods = await self.start("import_products", args={"file": "products.csv"})
        self.clock.now = end
        await self.enqueue("send_newsletter", args={"issue": 14})
        await self.beat("default", "mail", "reports", tasks=tuple(self.app.tasks))
        await self.client.put_schedule("nightly-import", "import_products", args={"file": "all"}, every=86400)
        await self.progress(mails.id, 38, "mail 380 of 1,000")
        await self.progress(goods.id, 72, "row 7,214 of 10,020")


async def take(page: Page) -> bytes:
    """Wait until everything is told, and return the picture."""
    await expect(page.locator("#connection")).to_have_text("Live")
    await expect(page.locator("#alerts")).to_contain_text("1 job waits behind it")
    await expect(page.locator("li.job .message", has_text="is paused since")).to_be_visible()
    await expect(page.locator("li.job .message", has_text="The limit task:send_newsletter")).to_be_visible()
    return await page.screenshot(animations="disabled")


async def photograph(browser: Browser) -> bytes:
    """Serve the shop, and look at its page."""
    shop = Shop()
    async with opened(shop), serving(shop.api) as server:
        await shop.live_a_little()
        page = await browser.new_page(viewport=SIZE, device_scale_factor=SCALE, color_scheme="light")
        await page.goto(server.url)
        return await take(page)


async def main() -> None:
    """Take the picture; 128 colours are enough for it."""
    chromium = os.environ.get("FAENA_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        picture = Image.open(io.BytesIO(await photograph(browser))).convert("RGB")
        await browser.close()
    picture.quantize(128, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1000} kB")


if __name__ == "__main__":
    asyncio.run(main())
