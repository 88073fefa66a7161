"""The page at ``/``, in a real browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Browser, Locator, Page, WebSocketRoute, expect

from api_kit import Kit, Running, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Open = Callable[[], Awaitable[None]]


@pytest.fixture
def open_page(page: Page, server: Running) -> Open:
    async def opener() -> None:
        await page.goto(server.url)
        await expect(page.locator("#connection")).to_have_text("Live")

    return opener


def row(page: Page, job_id: str) -> Locator:
    return page.locator(f'li[data-id="{job_id}"]')


async def view(page: Page, name: str) -> None:
    """Go to a part of the page."""
    await page.get_by_role("navigation", name="Views").get_by_role("link", name=name).click()


async def test_a_bar_moves_while_the_job_runs(
    kit: Kit, page: Page, open_page: Open, complaints: list[str]
) -> None:
    await open_page()
    job = await kit.enqueue("thumbnail", args={"media_id": 1})
    mine = row(page, job.id)
    await expect(mine.locator(".status")).to_have_text("pending")
    await kit.claim(job.id)
    bar = mine.get_by_role("progressbar")
    for percent in (10, 30, 60):
        await kit.progress(job.id, percent, f"step {percent}")
        await expect(bar).to_have_attribute("aria-valuenow", str(percent))
        await expect(mine.locator(".message")).to_have_text(f"step {percent}")
    await kit.complete(job.id, {"ok": True})
    await expect(mine.locator(".status")).to_have_text("completed")
    await expect(bar).to_have_attribute("aria-valuenow", "100")
    assert complaints == []


async def test_jobs_that_were_there_before_are_listed_newest_first(
    kit: Kit, page: Page, open_page: Open, complaints: list[str]
) -> None:
    made = [await kit.enqueue(args={"a": number}) for number in range(3)]
    await open_page()
    await expect(page.locator("li.job")).to_have_count(3)
    shown = await page.locator("li.job").evaluate_all("rows => rows.map(row => row.dataset.id)")
    assert shown == [job.id for job in reversed(made)]
    newest = await kit.enqueue(args={"a": 4})
    await expect(page.locator("li.job").first).to_have_attribute("data-id", newest.id)
    assert complaints == []


async def test_an_empty_list_says_what_to_do(page: Page, open_page: Open) -> None:
    await open_page()
    await expect(page.locator("#empty")).to_contain_text("No jobs yet")
    await expect(page.locator("#empty pre")).to_contain_text("/jobs")


async def test_a_click_cancels_a_waiting_job(kit: Kit, page: Page, open_page: Open) -> None:
    job = await kit.enqueue()
    await open_page()
    await page.get_by_role("button", name="Cancel add").click()
    await expect(row(page, job.id).locator(".status")).to_have_text("cancelled")
    assert (await kit.client.get(job.id)).status == "cancelled"
    await expect(row(page, job.id).locator(".cancel")).to_be_hidden()


async def test_a_click_asks_a_running_job_to_stop(kit: Kit, page: Page, open_page: Open) -> None:
    job = await kit.start()
    await open_page()
    await page.get_by_role("button", name="Cancel add").click()
    await expect(row(page, job.id).locator(".status")).to_have_text("stopping")
    assert (await kit.client.get(job.id)).cancel_requested


async def test_a_failed_job_tells_why_and_runs_again(kit: Kit, page: Page, open_page: Open) -> None:
    job = await kit.start()
    await open_page()
    await kit.fail(job.id, "no paper")
    await expect(row(page, job.id).locator(".message")).to_have_text("ValueError: no paper")
    await page.get_by_role("button", name="Run add").click()
    await expect(page.locator("li.job")).to_have_count(2)


async def test_chips_show_one_kind_of_jobs_and_count_all(kit: Kit, page: Page, open_page: Open) -> None:
    done, running = await kit.start(), await kit.start()
    await kit.complete(done.id)
    await open_page()
    await expect(page.get_by_role("button", name="All")).to_have_text("All 2")
    await page.get_by_role("button", name="Processing").click()
    await expect(page.locator("li.job")).to_have_count(1)
    await expect(row(page, running.id)).to_be_visible()
    await kit.complete(running.id)  # it leaves the list, and the count follows
    await expect(page.locator("li.job")).to_have_count(0)
    await expect(page.get_by_role("button", name="Completed")).to_have_text("Completed 2")
    await expect(page.locator("#empty")).to_contain_text("No job is like that")


async def test_a_search_narrows_the_list(kit: Kit, page: Page, open_page: Open) -> None:
    await kit.enqueue(key="orders-77")
    await kit.enqueue(args={"a": 2})
    await open_page()
    await page.get_by_label("Search jobs").fill("orders")
    await expect(page.locator("li.job")).to_have_count(1)


async def test_after_the_server_was_away_the_page_catches_up(kit: Kit, page: Page) -> None:
    job = await kit.start()
    async with serving(kit.api) as first:
        await page.goto(first.url)
        await expect(page.locator("#connection")).to_have_text("Live")
        await kit.progress(job.id, 20)
        await expect(row(page, job.id).get_by_role("progressbar")).to_have_attribute("aria-valuenow", "20")
    await expect(page.locator("#connection")).to_contain_text("away")
    kit.listen_again()
    await kit.progress(job.id, 70, "meanwhile")  # nobody hears it
    async with serving(kit.api, port=first.port):
        await expect(page.locator("#connection")).to_have_text("Live")
        mine = row(page, job.id)
        await expect(mine.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "70")
        await kit.complete(job.id)
        await expect(mine.locator(".status")).to_have_text("completed")


async def test_a_server_that_falls_silent_is_held_to_be_away(page: Page, server: Running) -> None:
    def answer(socket: WebSocketRoute) -> None:
        socket.on_message(lambda _: socket.send('{"type": "subscribed"}') if silent else None)

    silent = [True]
    await page.clock.install()
    await page.route_web_socket("**/ws", answer)
    await page.goto(server.url)
    await expect(page.locator("#connection")).to_have_text("Live")
    silent.clear()
    for seconds in (8, 12):  # it is asked whether it is there, and does not say
        await page.clock.fast_forward(seconds * 1000)
    await expect(page.locator("#away")).to_contain_text("The server is away. This is how things stood at")


async def test_older_jobs_stay_shown_when_a_new_one_comes(kit: Kit, page: Page, open_page: Open) -> None:
    for number in range(51):
        await kit.enqueue(args={"a": number})
    await open_page()
    await page.get_by_role("button", name="Older jobs").click()
    await expect(page.locator("li.job")).to_have_count(51)
    await kit.enqueue()
    await expect(page.locator("li.job")).to_have_count(52)


async def test_what_strangers_write_is_text_and_nothing_else(
    kit: Kit, page: Page, open_page: Open, complaints: list[str]
) -> None:
    evil = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
    await open_page()
    job = await kit.enqueue(key=evil[:100])
    await kit.claim(job.id)
    await kit.progress(job.id, 10, evil)
    await expect(row(page, job.id).locator(".message")).to_have_text(evil)
    assert await page.title() == "Faena · jobs"
    assert complaints == []


async def test_a_waiting_job_says_why_and_a_queue_is_paused_and_resumed(
    kit: Kit, page: Page, open_page: Open, complaints: list[str]
) -> None:
    await kit.beat("default", "media")
    job = await kit.enqueue("thumbnail", args={"media_id": 1})
    await open_page()
    message = row(page, job.id).locator(".message")
    await expect(message).to_have_text("Nothing is in its way: it may start at any moment")
    await view(page, "Queues")
    await page.get_by_role("button", name="Pause the queue media").click()
    queue = page.locator('#queues [data-key="media"]')
    await expect(queue).to_contain_text("paused since ")
    assert [one.queue for one in await kit.client.paused()] == ["media"]
    await view(page, "Jobs")
    await expect(message).to_contain_text("The queue media is paused since ")
    await expect(page.locator("#alerts")).to_contain_text("1 job waits behind it")
    await page.locator("#alerts").get_by_role("button", name="Resume the queue media").click()
    await expect(page.locator("#alerts")).to_be_hidden()
    assert await kit.client.paused() == []
    await kit.claim(job.id)
    await expect(message).to_have_text("")
    assert complaints == []


async def test_a_task_is_paused_and_resumed_with_the_keyboard_alone(
    kit: Kit, page: Page, open_page: Open, complaints: list[str]
) -> None:
    await kit.beat("default", "media")
    await kit.enqueue("thumbnail", args={"media_id": 1})
    await open_page()
    await view(page, "Queues")
    await page.get_by_role("button", name="Pause the task thumbnail").press("Enter")
    resume = page.locator("#tasks").get_by_role("button", name="Resume the task thumbnail")
    await expect(resume).to_be_focused()
    assert [one.task for one in await kit.client.paused()] == ["thumbnail"]
    await expect(page.locator('#tasks [data-key="thumbnail"]')).to_contain_text("paused since ")
    await expect(page.get_by_role("link", name="Queues")).to_contain_text("1 paused")
    await expect(page.locator("#alerts")).to_contain_text("The task thumbnail is paused")
    await resume.press("Enter")
    await expect(page.get_by_role("button", name="Pause the task thumbnail")).to_be_focused()
    assert await kit.client.paused() == []
    assert complaints == []


async def test_a_pause_from_elsewhere_is_seen_when_somebody_looks(
    kit: Kit, page: Page, open_page: Open
) -> None:
    await open_page()
    await view(page, "Queues")
    await kit.client.pause(queue="default")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(page.locator('#queues [data-key="default"]')).to_contain_text("paused since ")


async def test_jobs_that_nobody_takes_are_told_of(kit: Kit, page: Page, open_page: Open) -> None:
    await kit.enqueue()
    await open_page()
    await expect(page.locator("#alerts")).to_contain_text("No worker takes jobs: 1 job waits")
    await kit.beat("media")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(page.locator("#alerts")).to_contain_text("No worker takes the queue default: 1 job waits")


async def test_a_job_opens_with_its_arguments_its_events_as_they_come_and_its_error(
    kit: Kit, page: Page, open_page: Open, complaints: list[str]
) -> None:
    job = await kit.start(args={"a": 41})
    await open_page()
    mine = row(page, job.id)
    await mine.get_by_role("button", name="add", exact=True).press("Enter")
    await expect(mine.get_by_label("Arguments")).to_contain_text('"a": 41')
    await kit.emit(job.id, "counted", data={"pages": 7})
    await expect(mine.get_by_label("Events")).to_contain_text('counted{"pages":7}')
    await kit.fail(job.id, "no paper")
    await expect(mine.get_by_label("Error")).to_contain_text("Traceback …")
    await mine.get_by_role("button", name="add", exact=True).press("Enter")
    await expect(mine.get_by_label("Arguments")).to_be_hidden()
    assert complaints == []


async def test_workers_are_shown_with_what_they_run(kit: Kit, page: Page, server: Running) -> None:
    await kit.beat("default", "media")
    await page.goto(f"{server.url}/#/workers")
    worker = page.locator('#workers [data-key="w"]')
    for told in ("here", "1 of 8 slots busy", "media", "direct", "Heartbeat", "Memory"):
        await expect(worker).to_contain_text(told)
    await worker.get_by_role("link", name="Job x").click()
    await expect(page.get_by_label("Search jobs")).to_have_value("x")


async def test_a_bar_whose_worker_is_gone_says_that_there_is_no_news(kit: Kit, page: Page) -> None:
    await page.clock.install()
    job = await kit.start()
    async with serving(kit.api) as server:
        await page.goto(server.url)
        await expect(row(page, job.id).locator(".status")).to_have_text("processing")
        await page.clock.fast_forward(12_000)  # nothing is heard of it, and its worker sends no heartbeat
        await expect(row(page, job.id).locator(".status")).to_have_text("no news")
        await expect(row(page, job.id).locator(".message")).to_contain_text("has not been heard of lately")
        await kit.progress(job.id, 50, "going on")
        await expect(row(page, job.id).locator(".status")).to_have_text("processing")
        await expect(row(page, job.id).locator(".message")).to_have_text("going on")


async def test_a_schedule_is_shown_paused_and_run_from_the_page(
    kit: Kit, page: Page, open_page: Open, complaints: list[str]
) -> None:
    await open_page()
    await view(page, "Schedules")
    await expect(page.locator("#no-schedules")).to_be_visible()
    await kit.client.put_schedule("hourly", "add", args={"a": 1}, every=3600)
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(page.locator('[data-key="hourly"]')).to_contain_text("every hour")
    await page.get_by_role("button", name="Pause the schedule hourly").click()
    await expect(page.locator('[data-key="hourly"]')).to_contain_text("paused")
    assert (await kit.client.schedule("hourly")).paused
    await page.get_by_role("button", name="Run the schedule hourly now").click()
    await expect(page.locator("li.job .task")).to_have_text("add")
    assert complaints == []


async def test_a_demo_job_starts_from_the_page(page: Page, open_page: Open) -> None:
    await open_page()
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page.locator("li.job .task")).to_have_text("long_task")


async def test_everything_works_from_the_keyboard(kit: Kit, page: Page, open_page: Open) -> None:
    job = await kit.enqueue()
    await open_page()
    cancel = row(page, job.id).locator(".cancel")
    await page.locator("body").press("Tab")
    for _ in range(40):
        if await cancel.evaluate("button => button === document.activeElement"):
            break
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(row(page, job.id).locator(".status")).to_have_text("cancelled")


async def test_who_wants_no_motion_gets_none(kit: Kit, browser: Browser, server: Running) -> None:
    job = await kit.start()
    page = await browser.new_page(reduced_motion="reduce")
    await page.goto(server.url)
    await expect(row(page, job.id).locator(".fill")).to_have_css("transition-property", "none")
    await page.close()


async def test_a_narrow_screen_needs_no_sideways_scrolling(kit: Kit, page: Page, open_page: Open) -> None:
    await page.set_viewport_size({"width": 320, "height": 640})
    job = await kit.start()
    await kit.progress(job.id, 40, "averylongword" * 20)
    await kit.client.pause(task="ship.to")
    await open_page()
    await expect(row(page, job.id)).to_be_visible()
    for name in ("Jobs", "Queues", "Workers", "Schedules"):
        await view(page, name)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


async def test_the_documentation_shows_each_tasks_arguments_and_loads_nothing_from_elsewhere(
    page: Page, server: Running, complaints: list[str]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{server.url}/docs")
    await page.get_by_role("button", name="Enqueue ship.to").click()
    await page.get_by_role("tab", name="Schema").first.click()
    await expect(page.locator(".opblock.is-open")).to_contain_text("weights")
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []
    assert complaints == []
