"""Receive one picture as ``multipart/form-data``, straight into the media root.

The body is parsed while it comes in, so that memory stays the same for every size, the cap holds at once, and a
file of another kind is refused after its first bytes. Until all of it has come, it has a temporary name.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import BinaryIO, Final, NamedTuple, NoReturn, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from faena import StoreFull
from faena.packs.media.files import MediaRoot, upload_name
from faena.packs.media.kinds import HEAD, TAKEN, describe, sniff

T = TypeVar("T")

FILE_FIELD: Final = "file"
MAX_PARTS: Final = 20
MAX_FIELD: Final = 1000
"""Bytes of one form field that is no file."""
OVERHEAD: Final = 64 * 1024
"""What a form may weigh beside its file."""
BLOCK: Final = 1 << 20
"""Bytes that are written at once."""


class Upload(NamedTuple):
    """A picture that has arrived, and the form's other fields."""

    file_path: str
    size: int
    fields: Mapping[str, str]


async def receive(request: Request, root: MediaRoot, *, limit: int) -> Upload:
    """Store the part ``file`` of the request and return it.

    Raises HTTPException: 413 above ``limit`` bytes, 415 for what is no picture, 422 for a broken form or no file;
    and `StoreFull` when the disk has no room.
    """
    form = _Form(limit)
    parser = _parser(request, form)
    _must_fit(request, limit)
    with _room(), _Target(root) as target:
        async for chunk in request.stream():
            _parse(parser, chunk)
            await target.take(form)
        form.must_be_whole()
        return Upload(await target.finish(form), form.size, form.fields)


class _Form:
    """What the parser's callbacks gather: the file's bytes that are not yet written, and the fields."""

    def __init__(self, limit: int) -> None:
        self.fields: dict[str, str] = {}
        self.pending = bytearray()
        self.size = 0
        self.file_ended = False
        self._limit = limit
        self._parts = 0
        self._ended = False
        self._header = bytearray(), bytearray()
        self._disposition = b""
        self._name = ""
        self._value = bytearray()

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Return what `MultipartParser` calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._name_part,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def must_be_whole(self) -> None:
        """Refuse a form that stopped in its middle, that has no file, or an empty one."""
        if not self._ended:
            refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "the form ends before its last boundary: send it whole")
        if not self.file_ended:
            refuse(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"the form has no file: send the picture as its field {FILE_FIELD!r}",
            )
        if not self.size:
            refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "the file is empty; a picture was expected")

    def _begin(self) -> None:
        self._parts += 1
        self._disposition, self._name = b"", ""
        self._value.clear()
        if self._parts > MAX_PARTS:
            refuse(HTTPStatus.UNPROCESSABLE_ENTITY, f"the form has more than {MAX_PARTS} fields")

    def _end_header(self) -> None:
        name, value = self._header
        if bytes(name).lower() == b"content-disposition":
            self._disposition = bytes(value)
        name.clear()
        value.clear()

    def _name_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == FILE_FIELD and self.file_ended:
            refuse(HTTPStatus.UNPROCESSABLE_ENTITY, "the form has more than one file: send one at a time")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE_FIELD:
            self.size += end - start
            if self.size > self._limit:
                too_large(self._limit)
            self.pending += memoryview(data)[start:end]
        else:
            self._value += data[start:end]
            if len(self._value) > MAX_FIELD:
                refuse(HTTPStatus.UNPROCESSABLE_ENTITY, f"the field {self._name!r} is over {MAX_FIELD} bytes")

    def _end_part(self) -> None:
        if self._name == FILE_FIELD:
            self.file_ended = True
        else:
            self.fields[self._name] = self._value.decode("utf-8", "replace").strip()

    def _end(self) -> None:
        self._ended = True


class _Target(contextlib.ExitStack):
    """Where the file goes, once its first bytes have told its kind. Left without `finish`, it is removed."""

    def __init__(self, root: MediaRoot) -> None:
        super().__init__()
        self._root = root
        self._path = ""
        self._file: BinaryIO | None = None

    async def take(self, form: _Form, *, all_of_it: bool = False) -> None:
        """Write what is pending, if it is worth a write or ``all_of_it`` is wanted."""
        if self._file is None and form.pending and (form.file_ended or len(form.pending) >= HEAD):
            self._path = upload_name_for(bytes(form.pending[:HEAD]), self._root)
            self._file = await _in_thread(self.enter_context, self._root.replacing(self._path))
        if self._file is not None and form.pending and (all_of_it or len(form.pending) >= BLOCK):
            block, form.pending = form.pending, bytearray()
            await _in_thread(self._file.write, block)

    async def finish(self, form: _Form) -> str:
        """Give the whole file its name, for good, and return its path."""
        await self.take(form, all_of_it=True)
        await _in_thread(self.close)
        return self._path


async def _in_thread(step: Callable[..., T], *args: object) -> T:
    """Run a step in a thread, to its end though the request be cancelled: what it opened can then be removed."""
    running = asyncio.ensure_future(asyncio.to_thread(step, *args))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def upload_name_for(head: bytes, root: MediaRoot) -> str:
    """Return a new path for a picture that begins with ``head``; 415 for anything else."""
    kind = sniff(head)
    if kind is None:
        told = f"the file is no {TAKEN} picture: by its first bytes it is {describe(head)}"
        refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, told)
    return root.tell(upload_name(kind))


@contextlib.contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreFull("the disk of the media root has no room; nothing of the upload was kept") from error


def refuse(status: HTTPStatus, told: str) -> NoReturn:
    """End the request; what is still on its way is not read."""
    raise HTTPException(status, told, headers={"Connection": "close"})


def too_large(limit: int) -> NoReturn:
    """End the request with 413."""
    refuse(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the file is over {limit:,} bytes, which is the most that is taken",
    )


def _parser(request: Request, form: _Form) -> MultipartParser:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        told = f"send the picture as multipart/form-data with a boundary, in the field {FILE_FIELD!r}"
        refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, told)
    try:
        return MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
    except FormParserError as error:
        _refuse_form(error)


def _parse(parser: MultipartParser, chunk: bytes) -> None:
    try:
        parser.write(chunk)
    except FormParserError as error:
        _refuse_form(error)


def _refuse_form(error: FormParserError) -> NoReturn:
    refuse(HTTPStatus.UNPROCESSABLE_ENTITY, f"the form can't be read: {error}")


def _must_fit(request: Request, limit: int) -> None:
    """Refuse a body that says itself that it is too large, before reading any of it."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit + OVERHEAD:
        too_large(limit)
