"""Take docs/images/page.png anew: the page while the demo's jobs run. Needs Chromium.

Usage: .venv/bin/python scripts/picture_of_the_page.py
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright

from faena.cli.demo_server import DemoServer, Visitor
from faena.packs.media.photograph import make_photograph

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "page.png"
JOBS = (
    ("/tasks/a", {"user_id": 123, "duration": 0.5}),
    ("/tasks/a", {"user_id": 124, "duration": 14}),
    ("/tasks/b", {"user_id": 456, "duration": 12, "high": True}),
    ("/tasks", {"task_name": "long_task", "duration": 15, "payload": {"user_id": 123}}),
    ("/jobs", {"task": "long_running_progress", "args": {"steps": 40, "pause": 0.4}}),
    ("/jobs", {"task": "task_sleep", "args": {"seconds": 5}, "delay": 900}),
)


async def take(address: str, photograph: Path) -> None:
    """Make some jobs, let them go on for a while, and take the picture."""
    chromium = os.environ.get("FAENA_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    async with Visitor(address) as visitor, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1200, "height": 640}, device_scale_factor=1)
        await page.goto(address)
        await visitor.upload(photograph)
        for route, body in JOBS:
            await visitor.post(route, body)
        await asyncio.sleep(7)
        await page.screenshot(path=PICTURE)
        await browser.close()


def main() -> None:
    """Start a server of its own, and take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        photograph = make_photograph(Path(folder) / "photograph.jpg", 4)
        with DemoServer(Path(folder), engine="direct") as server:
            asyncio.run(take(server.address, photograph))
    print(PICTURE)


if __name__ == "__main__":
    main()
