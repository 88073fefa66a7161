"""The WebSockets, on a real server: snapshot then events, resumed without a hole, in three dialects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api_kit import UNKNOWN, Kit, Running, serving
from faena.api import ws as ws_module
from faena.errors import StoreDown


async def say(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))


async def hear(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(5):
        message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def ask(socket: ClientConnection, **message: Any) -> dict[str, Any]:
    await say(socket, **message)
    return await hear(socket)


async def until_final(socket: ClientConnection) -> list[dict[str, Any]]:
    heard = []
    while True:
        heard.append(await hear(socket))
        if heard[-1]["type"] == "event" and heard[-1]["event"]["status"] in (
            "completed",
            "failed",
            "cancelled",
        ):
            return heard


@pytest.fixture
async def socket(server: Running) -> AsyncIterator[ClientConnection]:
    async with connect(server.ws) as socket:
        yield socket


async def test_a_subscription_answers_with_a_snapshot_and_then_every_event(
    kit: Kit, socket: ClientConnection
) -> None:
    job = await kit.start()
    snapshot = await ask(socket, type="subscribe", task_id=job.id)
    assert (snapshot["type"], snapshot["task_id"]) == ("snapshot", job.id)
    assert (snapshot["job"]["status"], snapshot["job"]["seq"]) == ("processing", snapshot["seq"])
    await kit.progress(job.id, 30, "adding")
    event = await hear(socket)
    assert (event["type"], event["seq"]) == ("event", snapshot["seq"] + 1)
    assert event["event"] | {"at": ""} == {
        "seq": snapshot["seq"] + 1, "task_id": job.id, "type": "progress", "status": "processing", "progress": 30,
        "message": "adding", "attempt": 1, "event": None, "data": None, "at": "",
    }  # fmt: skip
    await kit.complete(job.id, 3)
    assert (await until_final(socket))[-1]["event"]["status"] == "completed"


async def test_who_subscribes_after_the_end_hears_the_end(kit: Kit, socket: ClientConnection) -> None:
    job = await kit.start()
    await kit.complete(job.id, {"sum": 3})
    snapshot = await ask(socket, type="subscribe", task_id=job.id)
    assert snapshot["job"]["result"] == {"sum": 3}
    assert (await hear(socket))["event"]["status"] == "completed"


async def test_who_returns_hears_the_rest_and_nothing_twice(kit: Kit, server: Running) -> None:
    job = await kit.start()
    async with connect(server.ws) as socket:
        seen = (await ask(socket, type="subscribe", task_id=job.id))["seq"]
    for step in range(5):
        await kit.emit(job.id, f"step {step}")
    await kit.complete(job.id)
    async with connect(server.ws) as socket:
        await say(socket, type="subscribe", task_id=job.id, after=seen)
        heard = await until_final(socket)
    assert [message["seq"] for message in heard] == list(range(seen + 1, seen + 7))


async def test_a_seq_that_is_not_kept_is_answered_with_a_snapshot(kit: Kit, socket: ClientConnection) -> None:
    job = await kit.start()
    assert (await ask(socket, type="subscribe", task_id=job.id, after=999))["type"] == "snapshot"


async def test_one_socket_follows_many_jobs(kit: Kit, socket: ClientConnection) -> None:
    jobs = [await kit.start() for _ in range(3)]
    for job in jobs:
        assert (await ask(socket, type="subscribe", task_id=job.id))["task_id"] == job.id
    for job in reversed(jobs):
        await kit.progress(job.id, 50)
        assert (await hear(socket))["task_id"] == job.id


async def test_after_unsubscribing_nothing_more_is_heard(kit: Kit, socket: ClientConnection) -> None:
    job = await kit.start()
    await ask(socket, type="subscribe", task_id=job.id)
    assert await ask(socket, type="unsubscribe", task_id=job.id) == {
        "type": "unsubscribed",
        "task_id": job.id,
    }
    await kit.progress(job.id, 50)
    await kit.complete(job.id)
    assert await ask(socket, type="ping") == {"type": "pong"}


async def test_subscribing_again_replaces_the_subscription(kit: Kit, socket: ClientConnection) -> None:
    job = await kit.start()
    for _ in range(3):
        assert (await ask(socket, type="subscribe", task_id=job.id))["type"] == "snapshot"
    await kit.progress(job.id, 50)
    assert (await hear(socket))["event"]["progress"] == 50
    assert await ask(socket, type="ping") == {"type": "pong"}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("{", "JSON"),
        ("[1]", "object"),
        ("null", "object"),
        ("{}", "type"),
        ('{"type": "dance"}', "dance"),
        ('{"type": "subscribe"}', "task_id"),
        ('{"type": "subscribe", "task_id": 7}', "task_id"),
        ('{"type": "subscribe", "task_id": "018f0000-0000-7000-8000-00000000ffff", "after": "x"}', "after"),
        ('{"type": "subscribe", "task_id": "018f0000-0000-7000-8000-00000000ffff", "after": -1}', "after"),
        ("[" * 60_000, "JSON"),
        ("x" * 70_000, "65536"),
        ('{"type": "subscribe", "task_id": "\\ud800"}', ""),
    ],
)
async def test_a_message_that_makes_no_sense_is_answered_and_the_socket_lives(
    socket: ClientConnection, raw: str, told: str
) -> None:
    await socket.send(raw)
    error = await hear(socket)
    assert error["type"] == "error"
    assert told in error["message"]
    assert await ask(socket, type="ping") == {"type": "pong"}


async def test_binary_messages_are_read_too(socket: ClientConnection) -> None:
    await socket.send(b'{"type": "ping"}')
    assert await hear(socket) == {"type": "pong"}
    await socket.send(b"\xff\xfe")
    assert (await hear(socket))["code"] == "malformed"


@pytest.mark.parametrize(
    "subject",
    [
        {"task_id": UNKNOWN},
        {"task_id": "nonsense"},
        {"channel": f"ws_channel:1:{UNKNOWN}"},
        {"channel": "ws_channel:1"},
        {"channel": "gossip"},
    ],
)
async def test_what_is_not_there_is_said_so(socket: ClientConnection, subject: dict[str, str]) -> None:
    error = await ask(socket, type="subscribe", **subject)
    assert (error["type"], error["code"]) == ("error", "not_found")
    assert error.items() >= subject.items()


async def test_a_socket_holds_so_many_subscriptions_and_no_more(
    kit: Kit, socket: ClientConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws_module, "MAX_SUBSCRIPTIONS", 2)
    first, second, third = [await kit.start() for _ in range(3)]
    for job in (first, second):
        await ask(socket, type="subscribe", task_id=job.id)
    assert (await ask(socket, type="subscribe", task_id=third.id))["type"] == "error"
    assert (await ask(socket, type="subscribe", task_id=second.id))["type"] == "snapshot"


async def test_a_subscription_that_ended_makes_room(
    kit: Kit, socket: ClientConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws_module, "MAX_SUBSCRIPTIONS", 1)
    first, second = await kit.start(), await kit.start()
    await kit.complete(first.id)
    await say(socket, type="subscribe", task_id=first.id)
    await until_final(socket)
    assert (await ask(socket, type="subscribe", task_id=second.id))["type"] == "snapshot"


async def test_the_jobs_channel_tells_everything(kit: Kit, socket: ClientConnection) -> None:
    assert await ask(socket, type="subscribe", channel="jobs") == {"type": "subscribed", "channel": "jobs"}
    job = await kit.enqueue("thumbnail", args={"media_id": 1})
    event = await hear(socket)
    assert (event["task_id"], event["task"], event["queue"]) == (job.id, "thumbnail", "media")
    assert (event["seq"], event["event"]["status"]) == (1, "pending")


async def test_seed_003_is_spoken_as_written(kit: Kit, socket: ClientConnection) -> None:
    job = await kit.start("long_running_progress", args={"steps": 2}, user="123")
    await kit.progress(job.id, 10, "step 1")
    channel = f"ws_channel:123:{job.id}"
    assert await ask(socket, type="subscribe", channel=channel) == {
        "task_id": job.id, "progress": 10, "status": "processing", "message": "step 1",
    }  # fmt: skip
    await kit.log(job.id, "not for this channel")
    await kit.progress(job.id, 50, "step 2")
    assert await hear(socket) == {
        "task_id": job.id, "progress": 50, "status": "processing", "message": "step 2",
    }  # fmt: skip
    await kit.complete(job.id)
    final = await hear(socket)
    assert (set(final), final["status"]) == ({"task_id", "progress", "status", "message"}, "completed")
    assert final["progress"] == 100


async def test_a_channel_of_another_user_is_not_there(kit: Kit, socket: ClientConnection) -> None:
    job = await kit.start("long_running_progress", args={"steps": 2}, user="ana")
    error = await ask(socket, type="subscribe", channel=f"ws_channel:ben:{job.id}")
    assert error["code"] == "not_found"


async def test_a_job_of_nobody_is_on_any_users_channel(kit: Kit, socket: ClientConnection) -> None:
    job = await kit.start("long_running_progress", args={"steps": 2})
    heard = await ask(socket, type="subscribe", channel=f"ws_channel:a:b:{job.id}")
    assert heard["task_id"] == job.id


async def test_seed_000_is_spoken_as_written(kit: Kit, server: Running) -> None:
    async with connect(f"{server.ws}/media?client_id=user1") as socket:
        other = await kit.start()
        await kit.emit(other.id, "added")
        job = await kit.start("thumbnail", args={"media_id": 1})
        await kit.progress(job.id, 30, "thumbnail")
        await kit.log(job.id, "not for this channel")
        await kit.emit(job.id, "thumbnail_generated", data={"thumbnail_path": "/media/a.jpg"})
        await kit.emit(job.id, "bare")
        await kit.complete(job.id)
        heard = [await hear(socket) for _ in range(6)]
    assert all(message["type"] == "task_notification" for message in heard)
    assert [message["event"] for message in heard] == [
        "task_pending", "task_processing", "task_progress", "thumbnail_generated", "bare", "task_completed",
    ]  # fmt: skip
    assert heard[3] == {
        "type": "task_notification",
        "event": "thumbnail_generated",
        "data": {"thumbnail_path": "/media/a.jpg", "task_id": job.id},
    }
    assert heard[2]["data"]["progress"] == 30


async def test_a_topics_socket_answers_and_lives_like_any_other(server: Running) -> None:
    async with connect(f"{server.ws}/media?client_id=user1") as socket:
        assert await ask(socket, type="ping") == {"type": "pong"}
        assert (await ask(socket, type="dance"))["type"] == "error"


async def test_a_page_of_another_site_gets_no_socket(server: Running) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(server.ws, origin="https://evil.example"):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 403
    async with connect(server.ws, origin="http://localhost:5173") as socket:  # type: ignore[arg-type]
        assert await ask(socket, type="ping") == {"type": "pong"}


async def test_a_server_that_stops_closes_its_sockets_and_does_not_wait_for_them(kit: Kit) -> None:
    job = await kit.start()
    async with serving(kit.api) as running:
        socket = await connect(running.ws)
        await ask(socket, type="subscribe", task_id=job.id)
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_slow_socket_does_not_slow_another(kit: Kit, server: Running) -> None:
    job = await kit.start()
    async with connect(server.ws, max_queue=1) as slow, connect(server.ws) as quick:
        for socket in (slow, quick):  # the slow one reads nothing more from here on
            await ask(socket, type="subscribe", task_id=job.id)
        for number in range(300):
            await kit.emit(job.id, "step", data={"filling": "x" * 20_000, "number": number})
            assert (await hear(quick))["event"]["data"]["number"] == number
        await kit.complete(job.id)
        heard = await until_final(slow)
    numbers = [message["event"]["data"]["number"] for message in heard if message["event"]["data"]]
    assert numbers == list(range(300))


async def test_sockets_that_were_closed_leave_no_listener_behind(kit: Kit, server: Running) -> None:
    job = await kit.start()
    async with connect(f"{server.ws}/media") as topic, connect(server.ws) as socket:
        for _ in range(20):  # without waiting for answers: each replaces the one before
            await say(socket, type="subscribe", task_id=job.id)
            await say(socket, type="subscribe", channel="jobs")
        assert await ask(topic, type="ping") == {"type": "pong"}
        await say(socket, type="ping")
        while (await hear(socket))["type"] != "pong":
            pass
        assert kit.client.live.listeners <= 3
    async with asyncio.timeout(5):
        while kit.client.live.listeners:
            await asyncio.sleep(0)


async def test_a_topic_is_closed_with_the_reason_while_the_store_is_down(
    kit: Kit, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> None:
        raise StoreDown("the disk is gone" + " ñ" * 100)

    monkeypatch.setattr(kit.store, "published", down)
    async with connect(f"{server.ws}/media") as topic:
        with pytest.raises(ConnectionClosed) as closed:
            await topic.recv()
    told = closed.value.rcvd
    assert told is not None
    assert (told.code, told.reason[:18]) == (1013, "the disk is gone ñ")
    async with connect(server.ws) as socket:
        error = await ask(socket, type="subscribe", channel="jobs")
        assert (error["type"], error["code"]) == ("error", "unavailable")


async def test_a_listener_to_many_jobs_that_missed_something_is_told_so(kit: Kit, server: Running) -> None:
    kit.client.live.buffer = 4
    job = await kit.start("thumbnail", args={"media_id": 1})
    async with connect(f"{server.ws}/media") as topic, connect(server.ws) as jobs:
        await ask(jobs, type="subscribe", channel="jobs")
        await kit.emit(job.id, *(f"step {number}" for number in range(6)))  # at once, and four fit
        for socket in (topic, jobs):
            assert await hear(socket) == {"type": "lagged", "lost": 4}
        assert [(await hear(topic))["event"] for _ in range(2)] == ["step 4", "step 5"]
