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

    __slots__ = ("again", "answer", "parts", "stamp_at")

    def __init__(
        self, parts: list[Any], *, again: bool, stamp_at: int | None, answer: asyncio.Future[Any]
    ) -> None:
        self.parts = parts
        self.stamp_at = stamp_at
        """Which part is the time at which it is sent."""
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

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        *,
        scripts: Sequence[Script],
        where: str,
        stamp: Callable[[], str],
    ) -> None:
        self._make = connect
        self._stamp = stamp
        self._scripts = scripts
        self._where = where
        self._connection: AbstractConnection | None = None
        self._waiting: list[Command] = []
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def __call__(self, *parts: Any, again: bool = True, stamp_at: int | None = None) -> Any:
        """Send a command and return its answer. ``again``: it may be sent twice if its answer was lost (rule 9);
        ``stamp_at``: which part is the time at which it is sent."""
        if self._closed:
            raise StoreDown("the store is not open")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(Command([*parts], again=again, stamp_at=stamp_at, answer=answer))
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
        if unanswered and not isinstance(
            lost, (exceptions.TimeoutError, TimeoutError)
        ):  # it has waited enough
            again = [command for command in unanswered if command.again]
            for command in unanswered:
                if not command.again:
                    command.settle(as_faena_error(lost or EOFError(), self._where))
            unanswered, lost = await self._exchange(again) if again else ([], None)
        for command in unanswered:
            command.settle(as_faena_error(lost or EOFError(), self._where))

    async def _exchange(self, batch: Sequence[Command]) -> tuple[Sequence[Command], BaseException | None]:
        """Send and settle; returns the commands without an answer, and why they have none."""
        answered = 0
        unknown: list[Command] = []
        try:
            connection = await self._connected()
            await connection.send_packed_command(connection.pack_commands(self._stamped(batch)))
            for command in batch:
                answer = await _read(connection)
                answered += 1
                if isinstance(answer, exceptions.NoScriptError):
                    command.again = True  # it has not run: somebody made the server forget our scripts
                    unknown.append(command)
                else:
                    command.settle(as_faena_error(answer, self._where) if _failed(answer) else answer)
        except OURS as error:
            await self._hang_up()
            return [*unknown, *batch[answered:]], error
        except BaseException as error:  # a fault of ours: nobody may wait for ever
            await self._hang_up()
            for command in batch:
                command.settle(as_faena_error(error, self._where))
            if not isinstance(error, Exception):
                raise
        if unknown:
            await self._hang_up()
            return unknown, exceptions.NoScriptError("the scripts are not known to the server")
        return [], None

    def _stamped(self, batch: Sequence[Command]) -> list[list[Any]]:
        stamp = self._stamp()
        for command in batch:
            if command.stamp_at is not None:
                command.parts[command.stamp_at] = stamp
        return [command.parts for command in batch]

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            connection = self._connection = self._make()
            await connection.connect()  # type: ignore[no-untyped-call]
            await self._teach(connection)
        return self._connection

    async def _teach(self, connection: AbstractConnection) -> None:
        """Send the scripts that the server does not know yet."""
        asking = ("SCRIPT", "EXISTS", *(script.sha for script in self._scripts))
        await connection.send_packed_command(connection.pack_command(*asking))
        known = await connection.read_response()
        missing = [script for script, there in zip(self._scripts, known, strict=True) if not there]
        if missing:
            loads = [("SCRIPT", "LOAD", script.text) for script in missing]
            await connection.send_packed_command(connection.pack_commands(loads))
            for _ in missing:
                await connection.read_response()

    async def _hang_up(self, *, nowait: bool = True) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*OURS):
                await connection.disconnect(nowait=nowait)


def _failed(answer: Any) -> bool:
    return isinstance(answer, Exception)


async def _read(connection: AbstractConnection) -> Any:
    """Return an answer, or the error that the server answered with; raises when the connection failed."""
    try:
        return await connection.read_response(disconnect_on_error=True)
    except exceptions.ResponseError as error:
        return error
