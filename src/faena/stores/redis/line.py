"""One connection that all calls of a store share: those that wait at the same moment travel together.

A pool gives each call a connection of its own, and five hundred calls at once a queue or an error. Redis works on one
command after the other anyway, so a pipeline on one connection is both quicker and bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from faena.errors import StoreDown
from faena.stores.redis.faults import OURS, as_faena_error
from faena.stores.redis.scripts import Script

AT_ONCE: Final = 200
"""Commands that one round trip carries at most."""


class Command:
    """A command on its way, and the future that its answer goes to."""

    __slots__ = ("again", "answer", "parts", "script")

    def __init__(
        self, parts: tuple[Any, ...], *, script: Script | None, again: bool, answer: asyncio.Future[Any]
    ) -> None:
        self.parts = parts
        self.script = script
        self.again = again
        """It may be sent again when its answer was lost (rule 9)."""
        self.answer = answer

    def settle(self, answer: Any) -> None:
        """Hand the answer over, unless the caller was cancelled meanwhile."""
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Line:
    """Sends commands, reconnects by itself, and raises Faena's errors only."""

    def __init__(self, connect: Callable[[], AbstractConnection], *, where: str) -> None:
        self._make = connect
        self._where = where
        self._connection: AbstractConnection | None = None
        self._waiting: list[Command] = []
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def __call__(self, *parts: Any, script: Script | None = None, again: bool = True) -> Any:
        """Send a command and return its answer. ``script`` is loaded where the server does not know it."""
        if self._closed:
            raise StoreDown("the store is not open")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(Command(parts, script=script, again=again, answer=answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await answer

    async def close(self) -> None:
        """Finish what was asked for and hang up."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._hang_up(nowait=False)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                await self._carry_out(batch)
        finally:
            self._task = None

    async def _carry_out(self, batch: Sequence[Command]) -> None:
        """Send a batch; what lost its answer and may be repeated is sent once more on a new connection."""
        unanswered, lost = await self._exchange(batch)
        if unanswered and lost is not None:
            again = [command for command in unanswered if command.again]
            for command in unanswered:
                if not command.again:
                    command.settle(as_faena_error(lost, where=self._where))
            unanswered, lost = await self._exchange(again) if again else ([], None)
        for command in unanswered:
            command.settle(as_faena_error(lost or EOFError(), where=self._where))

    async def _exchange(self, batch: Sequence[Command]) -> tuple[Sequence[Command], BaseException | None]:
        """Send and settle; returns the commands without an answer, and what went wrong with the connection."""
        answered = 0
        try:
            connection = await self._connected()
            await connection.send_packed_command(
                connection.pack_commands([command.parts for command in batch])
            )
            strange: list[Command] = []
            for command in batch:
                answer = await _read(connection)
                answered += 1
                if isinstance(answer, exceptions.NoScriptError) and command.script is not None:
                    strange.append(command)
                else:
                    command.settle(self._told(answer))
            await self._teach(connection, strange)
        except OURS as error:
            await self._hang_up()
            return [command for command in batch[answered:] if not command.answer.done()], error
        except BaseException as error:  # a fault of ours: nobody may wait for ever
            await self._hang_up()
            for command in batch:
                command.settle(as_faena_error(error, where=self._where))
            if not isinstance(error, Exception):
                raise
        return [], None

    async def _teach(self, connection: AbstractConnection, strange: Sequence[Command]) -> None:
        """Send scripts in full that the server does not know yet (it was restarted, or is new): none has run."""
        for command in strange:
            assert command.script is not None
            whole = ("EVAL", command.script.text, *command.parts[2:])
            try:
                await connection.send_packed_command(connection.pack_command(*whole))
                command.settle(self._told(await _read(connection)))
            except OURS as error:
                command.settle(as_faena_error(error, where=self._where))
                raise

    def _told(self, answer: Any) -> Any:
        return as_faena_error(answer, where=self._where) if isinstance(answer, Exception) else answer

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            self._connection = self._make()
        if not self._connection.is_connected:
            await self._connection.connect()  # type: ignore[no-untyped-call]
        return self._connection

    async def _hang_up(self, *, nowait: bool = True) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*OURS):
                await connection.disconnect(nowait=nowait)


async def _read(connection: AbstractConnection) -> Any:
    """Return an answer, or the error that the server answered with; raises when the connection failed."""
    try:
        return await connection.read_response(disconnect_on_error=True)
    except exceptions.ResponseError as error:
        return error
