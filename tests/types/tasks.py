"""What a type checker says of users' code; `make lint` runs mypy on this file.

Each ``type: ignore`` is a fault that must be found: mypy complains of one that is not needed.
"""

from __future__ import annotations

from typing import Any, assert_type

from faena import AtOnce, Context, Faena, JobHandle, Limits, Pack, Rate, Task, Unique

app = Faena()
pack = Pack("media")


@app.task(queue="media", max_retries=3, timeout=60)
async def thumbnail(ctx: Context, media_id: int, file_path: str, size: int = 300) -> dict[str, str]:
    ctx.progress(10, "reading")
    return {"thumbnail_path": file_path}


@app.task
def add(a: int, b: int) -> int:
    return a + b


@pack.task(isolation="process", limits=Limits(memory=1 << 30))
def optimise(ctx: Context, path: str) -> None: ...


@app.task(
    rate=("10/s", Rate("100/m", per="host")), at_once=AtOnce(2, per=lambda args: args["host"]), unique="args"
)
def send(host: str) -> None: ...


@app.task(at_once=2, unique=Unique(by=("host",), keep=60))
def fetch(host: str) -> None: ...


def limits_and_schedules_are_checked() -> None:
    app.task(rate=10)  # type: ignore[call-overload]
    app.task(at_once="2")  # type: ignore[call-overload]
    send.using(rate="1/s", at_once=(), keep_key=60).enqueue(host="a")
    app.schedule("nightly", send, cron="@daily", catch_up="none")
    app.schedule("nightly", send, cron="@daily", catch_up="some")  # type: ignore[arg-type]


def the_context_is_no_argument() -> None:
    assert_type(thumbnail.enqueue(media_id=1, file_path="a.jpg"), JobHandle)
    thumbnail.enqueue(1, "a.jpg", size=200)
    optimise.enqueue(path="a.jpg")
    thumbnail.enqueue(Context(), media_id=1, file_path="a.jpg")  # type: ignore[misc, arg-type]


def arguments_are_checked() -> None:
    add.enqueue(a=1)  # type: ignore[call-arg]
    add.enqueue(a=1, b="2")  # type: ignore[arg-type]
    add.enqueue(a=1, b=2, c=3)  # type: ignore[call-arg]
    add.using(key="k").enqueue(a=1, c=2)  # type: ignore[call-arg]


def options_are_checked() -> None:
    add.using(retries=3)  # type: ignore[call-arg]
    app.task(retries=3)  # type: ignore[call-overload]


async def jobs_can_be_awaited() -> None:
    job = await thumbnail.using(queue="high", delay=300).aenqueue(media_id=1, file_path="a.jpg")
    assert_type(job, JobHandle)
    assert_type(await job, Any)


def tasks_have_a_type() -> None:
    task: Task[..., int] = add
    assert_type(add(1, 2), int)
    assert_type(task.name, str)
