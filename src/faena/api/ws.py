"""WebSockets: any number of subscriptions on one socket, each with its own bounded stream.

``/ws`` speaks three dialects, told apart by what is subscribed to:

* a job, ``{"type": "subscribe", "task_id": ID, "after": SEQ?}`` → ``{"type": "snapshot", …}`` (unless ``after`` is
  given and what followed is kept), then ``{"type": "event", …}`` up to the job's final event;
* everything, ``{"type": "subscribe", "channel": "jobs"}`` → ``{"type": "subscribed", …}``, then every event;
* seed 003's ``{"type": "subscribe", "channel": "ws_channel:{user_id}:{task_id}"}`` → ``{task_id, progress, status,
  message}``, first as the job stands, then at each change.

``/ws/{topic}`` tells what the jobs of a topic emit, as seed 000's ``{"type": "task_notification", "event", "data"}``.
A message that can't be understood is answered with ``{"type": "error", …}`` and the socket lives on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

import msgspec
from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect

from faena.api import dialects
from faena.api.deps import services_of
from faena.api.paths import job_id_of
from faena.errors import FaenaError, NotFound, Unavailable
from faena.live import Live
from faena.streams import Item, Stream

router = APIRouter()
log = logging.getLogger(__name__)

MAX_MESSAGE: Final = 64 * 1024
MAX_REASON: Final = 120
"""Bytes; a closing frame takes 123."""
MAX_SUBSCRIPTIONS: Final = 100
"""On one socket."""

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})

Render: TypeAlias = Callable[[Item], dict[str, Any] | None]
"""Turns what a stream yields into a message; None: nothing to say."""


class Misunderstood(Exception):
    """A message that can't be followed; says what was expected."""


@router.websocket("/ws")
async def everything(socket: WebSocket) -> None:
    """Subscribe to jobs and channels."""
    await Session(socket).run()


@router.websocket("/ws/{topic}")
async def topic(
    socket: WebSocket, topic: str, client_id: Annotated[str | None, Query(max_length=200)] = None
) -> None:
    """Hear what the jobs of a topic emit. ``client_id`` is the listener's own name for itself."""
    log.debug("%s listens to the topic %s", client_id or "somebody", topic)
    await Session(socket).run(topic=topic)


class Subscription(NamedTuple):
    """An entered stream, and who sends what it tells."""

    stream: Stream
    pump: asyncio.Task[None]


class Session:
    """One socket: reads what the client asks for, and sends what its subscriptions tell."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._live: Live = services_of(socket).client.live
        self._accepted = asyncio.Event()
        self._sending = asyncio.Lock()
        self._subscriptions: dict[str, Subscription] = {}

    async def run(self, *, topic: str | None = None) -> None:
        """Serve the socket until it closes."""
        try:
            if topic is not None:  # listen before the client knows that it is connected
                await self._open("topic", self._live.topic(topic), dialects.notification)
            await self._socket.accept()
            self._accepted.set()
            async for message in self._messages():
                await self._follow(message)
        except WebSocketDisconnect:
            pass
        except Unavailable as error:
            await self._turn_away(str(error))
        finally:
            for name in list(self._subscriptions):
                await self._drop(name)

    async def _turn_away(self, reason: str) -> None:
        """Close the socket and say why: accepted first, or what the client gets is a bare 403."""
        with contextlib.suppress(WebSocketDisconnect):
            if not self._accepted.is_set():
                await self._socket.accept()
            fits = reason.encode()[:MAX_REASON].decode(errors="ignore")
            await self._socket.close(code=1013, reason=fits)

    async def _messages(self) -> AsyncIterator[Mapping[str, Any]]:
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            try:
                yield _understand(received)
            except Misunderstood as fault:
                await self._refuse("malformed", str(fault))

    async def _follow(self, message: Mapping[str, Any]) -> None:
        try:
            match message.get("type"):
                case "ping":
                    await self._send({"type": "pong"})
                case "pong":
                    pass
                case "subscribe":
                    await self._subscribe(message)
                case "unsubscribe":
                    await self._unsubscribe(message)
                case other:
                    raise Misunderstood(
                        f"the type {other!r} is unknown; there are subscribe, unsubscribe and ping"
                    )
        except Misunderstood as fault:
            await self._refuse("malformed", str(fault), **_subject(message))
        except FaenaError as error:
            code = "not_found" if isinstance(error, NotFound) else "unavailable"
            await self._refuse(code, str(error), **_subject(message))

    async def _subscribe(self, message: Mapping[str, Any]) -> None:
        subject = _subject(message)
        name = _name(subject)
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS and name not in self._subscriptions:
            raise Misunderstood(
                f"a socket holds {MAX_SUBSCRIPTIONS} subscriptions: unsubscribe, or open another"
            )
        stream, render, hello = await self._stream(message)
        await self._drop(name)
        await self._open(name, stream, render, subject=subject, hello=hello)

    async def _stream(self, message: Mapping[str, Any]) -> tuple[Stream, Render, dict[str, Any] | None]:
        if "task_id" in message:
            job_id = job_id_of(_text(message, "task_id"))
            return self._live.job(job_id, after=_after(message)), dialects.own, None
        channel = _text(message, "channel")
        if channel == "jobs":
            return self._live.everything(), dialects.own, {"type": "subscribed", "channel": channel}
        user, job_id = dialects.read_channel(channel)
        job = await self._live.read_job(job_id_of(job_id))
        if job.user not in (None, user):
            raise NotFound(job_id)  # whose job it is, is nobody else's business
        return self._live.job(job.id), dialects.progress, None

    async def _unsubscribe(self, message: Mapping[str, Any]) -> None:
        subject = _subject(message)
        await self._drop(_name(subject))
        await self._send({"type": "unsubscribed", **subject})

    async def _open(
        self,
        name: str,
        stream: Stream,
        render: Render,
        *,
        subject: Mapping[str, Any] = EMPTY,
        hello: Mapping[str, Any] | None = None,
    ) -> None:
        await stream.__aenter__()
        pump = asyncio.create_task(self._pump(name, stream, render, subject, hello))
        self._subscriptions[name] = Subscription(stream, pump)

    async def _pump(
        self,
        name: str,
        stream: Stream,
        render: Render,
        subject: Mapping[str, Any],
        hello: Mapping[str, Any] | None,
    ) -> None:
        """Send what a stream tells, to its end; the subscription is then over."""
        with contextlib.suppress(WebSocketDisconnect):  # `run` hears of it too
            await self._accepted.wait()
            if hello is not None:
                await self._send(hello)
            try:
                async for item in stream:
                    if (message := render(item)) is not None:
                        await self._send(message)
            except FaenaError as error:
                await self._refuse(
                    "unavailable", f"{error}; subscribe again, `after` the last seq", **subject
                )
            except Exception:
                log.exception("a subscription of a WebSocket failed")
                await self._refuse(
                    "internal", "the server failed; subscribe again, `after` the last seq", **subject
                )
        subscription = self._subscriptions.get(name)
        if subscription is not None and subscription.stream is stream:
            del self._subscriptions[name]
            await stream.__aexit__(None, None, None)

    async def _drop(self, name: str) -> None:
        """End a subscription, whether its pump has begun or not."""
        subscription = self._subscriptions.pop(name, None)
        if subscription is not None:
            subscription.pump.cancel()
            await asyncio.gather(subscription.pump, return_exceptions=True)
            await subscription.stream.__aexit__(None, None, None)

    async def _refuse(self, code: str, told: str, **subject: Any) -> None:
        await self._send({"type": "error", "code": code, "message": told, **subject})

    async def _send(self, message: Mapping[str, Any]) -> None:
        text = msgspec.json.encode(message).decode()
        async with self._sending:  # a socket that does not take it holds up only its own subscriptions
            try:
                await self._socket.send_text(text)
            except RuntimeError as gone:  # Starlette's word for a socket that was closed meanwhile
                raise WebSocketDisconnect(1006) from gone


def _understand(received: Mapping[str, Any]) -> Mapping[str, Any]:
    raw = received.get("text") or received.get("bytes") or ""
    if len(raw) > MAX_MESSAGE:
        raise Misunderstood(f"a message may have {MAX_MESSAGE} bytes")
    try:
        message = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as fault:
        raise Misunderstood(f"a message must be a JSON object: {fault}") from None
    if not isinstance(message, dict):
        raise Misunderstood('a message must be a JSON object with a "type"')
    return message


def _text(message: Mapping[str, Any], field: str) -> str:
    value = message.get(field)
    if not isinstance(value, str):
        raise Misunderstood(
            'name what you mean: "task_id": "…", "channel": "jobs" or "channel": "ws_channel:{user_id}:{task_id}"'
        )
    return value


def _after(message: Mapping[str, Any]) -> int | None:
    after = message.get("after")
    if after is None:
        return None
    if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after <= 2**53:
        raise Misunderstood('"after" must be the last seq that you saw: a whole number, 0 or more')
    return after


def _subject(message: Mapping[str, Any]) -> dict[str, str]:
    """What a message is about, to be named in the answer."""
    fields = {field: message.get(field) for field in ("task_id", "channel")}
    return {field: value[:300] for field, value in fields.items() if isinstance(value, str)}


def _name(subject: Mapping[str, str]) -> str:
    if "task_id" in subject:
        return f"job {subject['task_id'].lower()}"
    return f"channel {subject.get('channel')}"
