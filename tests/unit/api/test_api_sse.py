"""Server-sent events, on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from api_kit import Kit, Running, serving
from faena.api import sse


class Events:
    """Reads a stream event by event, as a browser does."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        """Return the next event: ``{id, event, data}``, or ``{comment}``."""
        found: dict[str, Any] = {}
        async with asyncio.timeout(5):
            async for line in self._lines:
                if not line:
                    return found
                name, _, value = line.partition(": ")
                found[name or "comment"] = json.loads(value) if name == "data" else value
        return found

    async def rest(self) -> list[dict[str, Any]]:
        """Return every event to the end of the stream."""
        events = []
        while event := await self.next():
            events.append(event)
        return events


@asynccontextmanager
async def listening(
    server: Running, job_id: str, *, query: str = "", **headers: str
) -> AsyncIterator[Events]:
    accept = {"accept": "text/event-stream", **headers}
    async with (
        httpx.AsyncClient(base_url=server.url) as client,
        client.stream("GET", f"/jobs/{job_id}/events{query}", headers=accept) as response,
    ):
        yield Events(response)


async def test_a_stream_begins_with_a_snapshot_and_ends_after_the_final_event(
    kit: Kit, server: Running
) -> None:
    job = await kit.start()
    async with listening(server, job.id) as events:
        assert events.response.headers["content-type"].startswith("text/event-stream")
        snapshot = await events.next()
        assert (snapshot["event"], snapshot["data"]["status"]) == ("snapshot", "processing")
        assert snapshot["id"] == str(snapshot["data"]["seq"])
        await kit.progress(job.id, 50, "half\nway")
        progress = await events.next()
        assert (progress["event"], progress["data"]["message"]) == ("progress", "half\nway")
        await kit.complete(job.id)
        [final] = await events.rest()
    assert (final["event"], final["data"]["status"]) == ("status", "completed")


async def test_who_returns_names_the_last_id_and_gets_the_rest(kit: Kit, server: Running) -> None:
    job = await kit.start()
    seen = (await kit.client.get(job.id)).seq
    for step in range(3):
        await kit.emit(job.id, f"step {step}")
    await kit.complete(job.id)
    expected = [str(seq) for seq in range(seen + 1, seen + 5)]
    async with listening(server, job.id, **{"last-event-id": str(seen)}) as events:
        assert [event["id"] for event in await events.rest()] == expected
    async with listening(server, job.id, query=f"?after={seen}") as events:
        assert [event["id"] for event in await events.rest()] == expected


async def test_who_saw_the_end_is_told_to_stop_coming(kit: Kit, server: Running) -> None:
    job = await kit.start()
    await kit.complete(job.id)
    last = str((await kit.client.get(job.id)).seq)
    async with listening(server, job.id, **{"last-event-id": last}) as events:
        assert events.response.status_code == 204


@pytest.mark.parametrize("last", ["", "x", "-1", "9" * 40, "1.5"])
async def test_an_id_that_is_no_seq_counts_as_none(kit: Kit, server: Running, last: str) -> None:
    job = await kit.start()
    async with listening(server, job.id, **{"last-event-id": last}) as events:
        assert (await events.next())["event"] == "snapshot"


async def test_silence_is_filled_with_comments(
    kit: Kit, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE", 0.01)
    job = await kit.start()
    async with listening(server, job.id) as events:
        assert (await events.next())["event"] == "snapshot"
        assert "comment" in await events.next()
        await kit.complete(job.id)
        told = [event for event in await events.rest() if "event" in event]
    assert told[-1]["data"]["status"] == "completed"


async def test_who_leaves_is_forgotten(kit: Kit, server: Running) -> None:
    job = await kit.start()
    async with listening(server, job.id) as events:
        await events.next()
        assert kit.client.live.listeners == 1
    async with asyncio.timeout(5):
        while kit.client.live.listeners:
            await asyncio.sleep(0)


async def test_a_server_that_stops_ends_its_streams(kit: Kit) -> None:
    job = await kit.start()
    async with serving(kit.api) as running, listening(running, job.id) as events:
        await events.next()
        running.server.should_exit = True
        assert await events.rest() == []
