"""What a worker and its child processes say to one another: frames of 4 bytes of length and that much msgpack."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from faena.context import Item
from faena.events import NewEvent
from faena.job import Job, Outcome

MAX_FRAME: Final = 64 * 1024 * 1024
HEADER: Final = struct.Struct(">I")


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """One message."""


class Setup(Frame, frozen=True):
    """To the child, first: where its tasks are."""

    app: str
    path: list[str]
    """`sys.path` of the worker."""
    parent: int
    """The worker's process id: a child that has another parent is an orphan."""


class Order(Frame, frozen=True):
    """To the child: run this job."""

    job: Job
    cancelled: bool = False
    """Somebody asked to cancel it before it began."""


class Stop(Frame, frozen=True):
    """To the child: what came up about the job that runs."""

    job_id: str
    token: int
    cancelled: bool = False
    """Somebody asked to cancel it."""
    overdue: bool = False
    """Its time is up."""


class Ready(Frame, frozen=True):
    """From the child: the app is loaded."""

    pid: int


class Refused(Frame, frozen=True):
    """From the child: the app can't be loaded."""

    message: str


class Tell(Frame, frozen=True):
    """From the child: what the function told."""

    progress: float | None = None
    message: str | None = None
    events: bytes = b"[]"
    """As JSON: msgpack has no integers above 64 bits."""
    checkpoint: bytes | None = None
    size: int = 0


class Done(Frame, frozen=True):
    """From the child: how the job ended."""

    outcome: Outcome
    spoiled: bool = False
    """The child ran out of memory: don't use it again."""


ToChild: TypeAlias = Setup | Order | Stop
FromChild: TypeAlias = Ready | Refused | Tell | Done

_pack = msgspec.msgpack.Encoder().encode
decode_to_child: Callable[[bytes], ToChild] = msgspec.msgpack.Decoder(ToChild).decode
decode_from_child: Callable[[bytes], FromChild] = msgspec.msgpack.Decoder(FromChild).decode
_pack_events = msgspec.json.Encoder().encode
_unpack_events = msgspec.json.Decoder(tuple[NewEvent, ...]).decode


class TooLarge(Exception):
    """A message does not fit in a frame."""


def pack(frame: Frame) -> bytes:
    """Return a frame as bytes, with its length in front; raises `TooLarge`."""
    body = _pack(frame)
    if len(body) > MAX_FRAME:
        raise TooLarge(f"a message of {len(body):,} bytes is more than a child process takes ({MAX_FRAME:,})")
    return HEADER.pack(len(body)) + body


def tell(item: Item) -> Tell:
    """Return what was told as a frame."""
    return Tell(
        progress=item.progress,
        message=item.message,
        events=_pack_events(item.events),
        checkpoint=item.checkpoint,
        size=item.size,
    )


def told(frame: Tell) -> Item:
    """Return what a frame tells."""
    return Item(
        progress=frame.progress,
        message=frame.message,
        events=_unpack_events(frame.events),
        checkpoint=frame.checkpoint,
        size=frame.size,
    )
