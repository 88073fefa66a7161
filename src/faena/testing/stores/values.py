"""What users put in comes out unchanged: large, strange and empty values."""

from __future__ import annotations

from typing import Any

import pytest

from faena.events import EventType, NewEvent
from faena.job import Failure, Step
from faena.testing.desk import Desk
from faena.testing.stores.base import StoreSuite

TEXTS = [
    pytest.param("Añadir, 加, сложить, أضف", id="scripts"),
    pytest.param("👩‍👩‍👧 🏁 🧵", id="emoji"),
    pytest.param("be\x00fore and after\x00", id="nul"),
    pytest.param("'; DROP TABLE jobs; --", id="quotes"),
    pytest.param("{job}:* [x] %s \\ \" ' \r\n\t", id="signs"),
    pytest.param(" ", id="space"),
    pytest.param("é" * 10_000, id="long"),
]

MEGABYTE = b'{"text":"' + b"x" * 1_000_000 + b'"}'

DATA: list[Any] = [
    None,
    True,
    0,
    -1.5,
    2**53,
    "",
    "be\x00fore",
    [],
    {},
    {"": [None, {"a": ["👩", 1e-9]}]},
]


class Values(StoreSuite):
    @pytest.mark.parametrize("text", TEXTS)
    async def test_any_text_comes_back_from_the_job(self, desk: Desk, text: str) -> None:
        job = await desk.enqueue(key=text, user=text, topic=text, task=text, queue=text)
        stored = await desk.look(job)
        assert [stored.key, stored.user, stored.topic, stored.task, stored.queue] == [text] * 5
        (claim,) = await desk.claim_next(text)
        assert claim.job.id == job.id

    @pytest.mark.parametrize("text", TEXTS)
    async def test_any_text_comes_back_from_messages_and_errors(self, desk: Desk, text: str) -> None:
        job = await desk.running(topic=text)
        await desk.report(job, message=text, events=(NewEvent(type=EventType.LOG, event=text, message=text),))
        assert (await desk.look(job)).message == text
        progress, log = (await desk.events(job))[2:]
        assert (progress.message, log.event, log.message) == (text, text, text)
        failure = Failure(type="ValueError", message=text, traceback=text)
        await desk.finish(job, Step.FAIL, error=failure)
        assert (await desk.look(job)).error == failure

    @pytest.mark.parametrize("text", TEXTS)
    async def test_any_text_is_told(self, desk: Desk, text: str) -> None:
        position = await desk.position()
        job = await desk.running(topic=text, task=text)
        await desk.report(job, message=text)
        told = await desk.told_since(position)
        assert [one.task for one in told] == [text] * 3
        assert (told[2].topic, told[2].event.message) == (text, text)

    async def test_a_megabyte_of_arguments_and_result_comes_back(self, desk: Desk) -> None:
        job = await desk.running(args=MEGABYTE)
        assert job.args == MEGABYTE
        await desk.report(job, checkpoint=MEGABYTE)
        await desk.finish(job, result=MEGABYTE)
        ended = await desk.look(job)
        assert (ended.args, ended.result, ended.checkpoint) == (MEGABYTE,) * 3

    async def test_bytes_come_back_to_the_byte(self, desk: Desk) -> None:
        body = ('{"text":"\\u0000 \\ud83d é 👩","list":[1, 2.0,  1e400]}').encode()
        job = await desk.running(args=body)
        await desk.finish(job, result=body)
        ended = await desk.look(job)
        assert (ended.args, ended.result) == (body, body)

    async def test_nothing_and_null_are_two_results(self, desk: Desk) -> None:
        nothing, null = await desk.running(), await desk.running()
        await desk.finish(nothing)
        await desk.finish(null, result=b"null")
        assert ((await desk.look(nothing)).result, (await desk.look(null)).result) == (None, b"null")

    @pytest.mark.parametrize("data", DATA, ids=repr)
    async def test_the_data_of_an_event_comes_back(self, desk: Desk, data: Any) -> None:
        position = await desk.position()
        job = await desk.running()
        await desk.report(job, events=(NewEvent(type=EventType.EVENT, event="named", data=data),))
        assert (await desk.last_event(job)).data == data
        assert (await desk.told_since(position))[-1].event.data == data

    async def test_a_large_event_comes_back(self, desk: Desk) -> None:
        job = await desk.running()
        data = {"text": "x" * 1_000_000}
        await desk.report(job, events=(NewEvent(type=EventType.EVENT, event="large", data=data),))
        assert (await desk.last_event(job)).data == data

    @pytest.mark.parametrize("priority", [0, -1, 1, -(2**31), 2**31 - 1])
    async def test_any_priority_is_kept(self, desk: Desk, priority: int) -> None:
        assert (await desk.look(await desk.enqueue(priority=priority))).priority == priority

    async def test_progress_may_be_any_fraction(self, desk: Desk) -> None:
        job = await desk.running()
        for number, progress in enumerate((0.1, 1 / 3, 33.333333333, 99.999), start=1):
            await desk.report(job, number=number, progress=progress)
            assert (await desk.look(job)).progress == progress

    async def test_an_empty_message_is_a_message(self, desk: Desk) -> None:
        job = await desk.running()
        await desk.report(job, message="reading")
        await desk.report(job, number=2, message="")
        assert (await desk.look(job)).message == ""
