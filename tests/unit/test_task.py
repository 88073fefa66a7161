"""Tasks: what can be registered, and what becomes of arguments and results."""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import uuid
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from faena import (
    Context,
    Faena,
    FaenaWarning,
    InvalidArguments,
    InvalidOptions,
    InvalidResult,
    Limits,
    Pack,
    Task,
)
from faena.job import same_arguments
from faena.options import JobOptions

if TYPE_CHECKING:
    from socket import socket


MISSING = object()


class Colour(enum.Enum):
    RED = "red"


class Box(BaseModel):
    width: int
    name: str = Field(default="b", alias="boxName")


class Sealed(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class Unsealed(BaseModel):
    data: bytes


@dataclasses.dataclass
class Point:
    x: float
    tag: bytes = b""


def registered(function: Callable[..., Any], **options: Any) -> Task[Any, Any]:
    return Faena().task(**options)(function)


def there_and_back(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    task = registered(function)
    return task.load_args(task.dump_args(arguments))


def refusal(function: Callable[..., Any], **arguments: Any) -> InvalidArguments:
    with pytest.raises(InvalidArguments) as caught:
        registered(function).dump_args(arguments)
    return caught.value


def simple(a: int, b: str = "x") -> None: ...


def rich(
    when: datetime | None = None,
    day: date | None = None,
    span: timedelta | None = None,
    colour: Colour | None = None,
    box: Box | None = None,
    point: Point | None = None,
    sealed: Sealed | None = None,
    data: bytes | None = None,
    amount: Decimal | None = None,
    ids: set[int] | None = None,
    pair: tuple[int, str] | None = None,
    path: Path | None = None,
    id: uuid.UUID | None = None,
    ratio: float = 1.0,
    by_number: dict[int, str] | None = None,
    anything: Any = None,
) -> None: ...


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("when", datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)),
        ("when", datetime(2026, 1, 2, 3, 4, 5)),  # noqa: DTZ001 (a naive one is an argument as any other)
        ("day", date(2026, 1, 2)),
        ("span", timedelta(days=-3, microseconds=1)),
        ("colour", Colour.RED),
        ("box", Box(width=3, boxName="c")),
        ("point", Point(0.1, b"\xff\xfe")),
        ("sealed", Sealed(data=b"\xff")),
        ("data", bytes(range(256))),
        ("amount", Decimal("1.10")),
        ("ids", {1, 2, 3}),
        ("pair", (1, "a")),
        ("path", Path("a/b")),
        ("id", uuid.UUID(int=7)),
        ("ratio", math.inf),
        ("by_number", {1: "a"}),
        ("anything", {"plain": [1, 2.5, None, True, "é"]}),
    ],
)
def test_what_the_function_receives_equals_what_was_passed(name: str, value: object) -> None:
    received = there_and_back(rich, **{name: value})[name]
    assert received == value
    assert type(received) is type(value)


def test_not_a_number_comes_back() -> None:
    assert math.isnan(there_and_back(rich, ratio=math.nan)["ratio"])


@pytest.mark.parametrize(
    "value", [(1, 2), {1: "a"}, {"when": datetime(2026, 1, 1, tzinfo=UTC)}, b"x", Point(1.0)]
)
def test_what_an_unannotated_parameter_would_receive_changed_is_refused(value: object) -> None:
    assert refusal(rich, anything=value).faults[0]["where"] == "anything"


def test_a_secret_is_not_silently_stored_as_stars() -> None:
    def login(password: SecretStr) -> None: ...

    password = SecretStr("x")
    task = Faena().task(_annotated(login, password=SecretStr))
    with pytest.raises(InvalidArguments, match="password"):
        task.dump_args({"password": password})


def test_what_is_not_json_is_refused_by_name() -> None:
    error = refusal(rich, anything=object())
    assert error.faults[0]["where"] == "anything"
    assert "JSON" in str(error)


def test_a_models_bytes_that_json_cannot_hold_are_refused() -> None:
    def keep(model: Any) -> None: ...

    task = Faena().task(_annotated(keep, model=Unsealed))
    with pytest.raises(InvalidArguments, match="model: it can't be stored as JSON"):
        task.dump_args({"model": Unsealed(data=b"\xff")})


def test_defaults_are_applied() -> None:
    assert there_and_back(simple, a=1) == {"a": 1, "b": "x"}
    task = registered(simple)
    assert task.dump_args({"a": 1}) == task.dump_args({"a": 1, "b": "x"})


def test_a_default_that_cannot_be_stored_is_left_to_the_function() -> None:
    def job(a: int = 1, missing: Any = MISSING) -> None: ...

    assert there_and_back(job) == {"a": 1}


def test_none_as_a_default_may_be_passed_too() -> None:
    def job(size: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    assert there_and_back(job) == {"size": None}
    assert there_and_back(job, size=3) == {"size": 3}


def test_texts_are_converted_as_fastapi_does() -> None:
    assert there_and_back(simple, a="5") == {"a": 5, "b": "x"}


def test_an_extra_argument_is_refused_with_the_accepted_ones() -> None:
    assert "c: not an argument of this task; it takes: a, b" in str(refusal(simple, a=1, c=2))


def test_missing_and_wrong_arguments_are_all_named() -> None:
    def job(a: int, b: int, c: int) -> None: ...

    assert [(fault["where"], fault["message"]) for fault in refusal(job, b="x").faults] == [
        ("a", "missing"),
        ("b", "Input should be a valid integer, unable to parse string as an integer"),
        ("c", "missing"),
    ]


def test_a_refusal_does_not_repeat_the_value() -> None:
    assert "hunter2" not in str(refusal(simple, a="hunter2"))


def test_constraints_of_annotations_hold() -> None:
    def job(size: Annotated[int, Field(gt=0)] = 1) -> None: ...

    assert refusal(job, size=0).faults[0]["where"] == "size"


def test_keyword_arguments_may_be_extra() -> None:
    def job(a: int, **rest: Any) -> None: ...

    assert there_and_back(job, a=1, z=[2]) == {"a": 1, "z": [2]}


def test_annotated_extra_arguments_are_checked() -> None:
    def job(**counts: int) -> None: ...

    assert there_and_back(job, a=1) == {"a": 1}
    assert refusal(job, a="x").faults[0]["where"] == "a"


def test_a_task_without_arguments_says_so() -> None:
    def job() -> None: ...

    assert there_and_back(job) == {}
    assert "it takes: none" in str(refusal(job, a=1))


def test_arguments_that_came_as_json_are_read_as_json() -> None:
    task = registered(rich)
    adopted = task.adopt_args(b'{"data": "/w==", "day": "2026-01-02"}')
    assert task.load_args(adopted)["data"] == b"\xff"
    assert adopted == task.dump_args({"data": b"\xff", "day": date(2026, 1, 2)})


def test_the_same_arguments_are_the_same_bytes_in_whatever_order_they_came() -> None:
    def job(a: int, b: int = 0, **rest: Any) -> None: ...

    task = registered(job)
    first = task.dump_args({"z": 1, "y": 2, "b": 3, "a": 4})
    assert first == task.dump_args({"a": 4, "b": 3, "y": 2, "z": 1})
    assert first == task.adopt_args(b'{"y": 2, "a": 4, "z": 1, "b": 3}')


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a":{"x":1,"y":[2]}}', b'{"a": {"y": [2], "x": 1}}', True),
        (b'{"a":true}', b'{"a":1}', False),
        (b'{"a":[false]}', b'{"a":[0]}', False),
        (b'{"a":123456789012345678901}', b'{"a":123456789012345678902}', False),
    ],
)
def test_arguments_are_compared_as_json(one: bytes, other: bytes, same: bool) -> None:
    assert same_arguments(one, other) is same


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"a": 1, "c": 2}', b"{}"])
def test_json_that_does_not_fit_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArguments):
        registered(simple).adopt_args(body)


def test_the_schema_names_types_defaults_and_what_is_required() -> None:
    schema = registered(simple).schema()
    assert schema["required"] == ["a"]
    assert schema["properties"]["b"]["default"] == "x"
    assert schema["additionalProperties"] is False


def test_the_context_is_no_argument() -> None:
    def first(ctx: Context, a: int) -> None: ...
    def last(a: int, ctx: Context | None = None) -> None: ...

    for function, parameter in ((first, "ctx"), (last, "ctx")):
        task = registered(function)
        assert task.context_parameter == parameter
        assert list(task.schema()["properties"]) == ["a"]
    assert registered(simple).context_parameter is None


def test_two_contexts_are_refused() -> None:
    def job(one: Context, two: Context) -> None: ...

    with pytest.raises(InvalidOptions, match="Context twice: one and two"):
        registered(job)


def test_positional_only_parameters_are_refused() -> None:
    def job(a: int, /) -> None: ...

    with pytest.raises(InvalidOptions, match="a is positional-only"):
        registered(job)


def test_unnamed_arguments_are_refused() -> None:
    def job(*many: int) -> None: ...

    with pytest.raises(InvalidOptions, match=r"takes \*many"):
        registered(job)


def test_a_type_that_cannot_be_resolved_is_refused_with_what_to_do() -> None:
    class Local: ...

    def local(a: Local) -> None: ...
    def checking(a: socket) -> None: ...

    for function, name in ((local, "Local"), (checking, "socket")):
        with pytest.raises(InvalidOptions, match=f"{name}.*top of the module"):
            registered(function)


def test_a_return_type_need_not_be_resolved() -> None:
    def job(a: int) -> socket: ...  # type: ignore[empty-body]

    assert there_and_back(job, a=1) == {"a": 1}


def test_a_parameter_of_a_type_that_json_cannot_hold_is_told_at_its_first_use() -> None:
    def job(a: Any) -> None: ...

    class Plain: ...

    with pytest.raises(InvalidOptions, match="can't be stored as JSON"):
        Faena().task(_annotated(job, a=Plain)).dump_args({"a": Plain()})


def _annotated(function: Callable[..., Any], **annotations: Any) -> Callable[..., Any]:
    function.__annotations__.update(annotations)
    return function


def test_generators_are_refused() -> None:
    def plain() -> Any:
        yield

    async def coroutine() -> Any:
        yield

    for function in (plain, coroutine):
        with pytest.raises(InvalidOptions, match="is a generator"):
            registered(function)


def test_only_functions_can_be_tasks() -> None:
    class Callable_:
        def __call__(self) -> None: ...

    for thing in (Callable_(), Callable_, functools.partial(simple, 1), print):
        with pytest.raises(InvalidOptions, match="a task is a function"):
            Faena().task(thing)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_retries": -1}, "max_retries=-1"),
        ({"max_retries": True}, "max_retries=True"),
        ({"isolation": "thread"}, "isolation='thread'"),
        ({"timeout": 0}, "timeout=0.0 must be above zero"),
        ({"timeout": math.nan}, "timeout=nan"),
        ({"timeout": "60"}, "timeout='60'"),
        ({"grace": -1}, "grace=-1.0"),
        ({"min_backoff": 10, "max_backoff": 5}, r"min_backoff \(10 s\) is above max_backoff \(5 s\)"),
        ({"retry_on": KeyboardInterrupt}, "retry_on must name exception classes"),
        ({"retry_on": (ValueError, "x")}, "not 'x'"),
        ({"queue": "a b"}, "queue='a b'"),
        ({"queue": "x" * 65}, "1 to 64"),
        ({"priority": 1001}, "from -1000 to 1000"),
        ({"name": "a b"}, "name='a b'"),
        ({"topic": ""}, "topic must be a text"),
        ({"result_ttl": -1}, "result_ttl=-1.0"),
        ({"limits": Limits(memory=1)}, "add isolation='process'"),
        ({"retries": 3}, "no such task options: retries"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidOptions, match=told):
        registered(simple, **options)


def test_all_faults_of_the_options_are_told_at_once() -> None:
    with pytest.raises(InvalidOptions, match=r"queue=.*max_retries="):
        registered(simple, queue="", max_retries=-1)


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidOptions, match=r"memory=0.*cpu=-1.*files=0"):
        Limits(memory=0, cpu=-1, files=0)


def test_durations_are_seconds_or_a_timedelta() -> None:
    async def job() -> None: ...

    options = registered(
        job, timeout=timedelta(minutes=1), max_backoff=60, result_ttl=timedelta(days=1)
    ).options
    assert (options.timeout, options.max_backoff, options.result_ttl) == (60.0, 60.0, 86400.0)


def test_one_exception_may_stand_for_a_tuple_of_one() -> None:
    assert registered(simple, retry_on=OSError).options.retry_on == (OSError,)


def test_a_timeout_on_a_plain_function_warns_where_it_is_written() -> None:
    app = Faena()
    with pytest.warns(FaenaWarning, match="a thread can't be stopped") as caught:

        @app.task(timeout=5)
        def job() -> None: ...

    assert caught[0].filename == __file__


def test_a_timeout_that_can_be_kept_does_not_warn() -> None:
    async def coroutine() -> None: ...

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registered(coroutine, timeout=5)
        registered(simple, isolation="process", timeout=5)


def test_a_function_that_a_child_cannot_import_is_refused_for_isolation() -> None:
    def local() -> None: ...

    script: dict[str, Any] = {"__name__": "__main__"}
    exec("def in_script(): ...", script)
    for function in (local, _lambda(), script["in_script"]):
        with pytest.raises(InvalidOptions, match="top level of a module"):
            registered(function, isolation="process", name="isolated")


def _lambda() -> Callable[..., Any]:
    return lambda: None


def test_an_async_function_is_known_behind_a_decorator() -> None:
    async def job() -> None: ...

    @functools.wraps(job)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return job(*args, **kwargs)

    assert registered(job).is_async
    assert registered(decorated).is_async
    assert not registered(simple).is_async


def test_calling_a_task_runs_the_plain_function() -> None:
    def double(a: int) -> int:
        return 2 * a

    task = registered(double)
    assert task(2) == task(a=2) == 4


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (None, b"null"),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'.encode()),
        (Box(width=1), b'{"width":1,"boxName":"b"}'),
        (Point(1.0, b"\xff"), b'{"x":1.0,"tag":"_w=="}'),
        (datetime(2026, 1, 1, tzinfo=UTC), b'"2026-01-01T00:00:00Z"'),
        ((1, 2), b"[1,2]"),
        (math.nan, b'"NaN"'),
        (Colour.RED, b'"red"'),
    ],
)
def test_results_are_stored_as_json(value: object, body: bytes) -> None:
    assert registered(simple).dump_result(value) == body


def test_a_result_that_is_not_json_is_refused_by_its_type() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value, name in ((object(), "object"), (circle, "list")):
        with pytest.raises(InvalidResult, match=f"'simple' returned.*{name}"):
            registered(simple).dump_result(value)


def test_arguments_without_names_go_by_their_position() -> None:
    def job(ctx: Context, a: int, *, b: int = 0) -> None: ...

    arguments = registered(job).arguments
    assert arguments.name_positional((1,), {"b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(InvalidArguments, match="at most 1 arguments"):
        arguments.name_positional((1, 2), {})
    with pytest.raises(InvalidArguments, match="a: given twice"):
        arguments.name_positional((1,), {"a": 1})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"priority": 1001}, "priority=1001"),
        ({"priority": 1.5}, "priority=1.5"),
        ({"delay": 1, "at": datetime(2030, 1, 1, tzinfo=UTC)}, "exclude one another"),
        ({"at": datetime(2030, 1, 1)}, "has no time zone"),  # noqa: DTZ001
        ({"at": 5}, "must be a datetime"),
        ({"at": datetime.fromisoformat("0001-01-01T00:00:00+14:00")}, "from 1970 to 9999"),
        ({"at": datetime.fromisoformat("1969-12-31T23:59:59+00:00")}, "from 1970 to 9999"),
        ({"at": datetime.fromisoformat("9999-12-31T23:59:59-14:00")}, "from 1970 to 9999"),
        ({"delay": -1}, "delay=-1"),
        ({"delay": timedelta(seconds=-1)}, "delay="),
        ({"key": ""}, "key must be"),
        ({"key": "x" * 201}, "1 to 200"),
        ({"queue": "a/b"}, "queue='a/b'"),
        ({"timeout": 0}, "timeout=0"),
        ({"max_retries": -1}, "max_retries=-1"),
        ({"user": 5}, "user must be"),
    ],
)
def test_a_job_option_that_makes_no_sense_is_refused_at_once(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidOptions, match=told):
        registered(simple).using(**options)


def test_options_add_up() -> None:
    prepared = registered(simple).using(queue="high", priority=1).using(priority=2, key="k")
    assert prepared._options == JobOptions(queue="high", priority=2, key="k")


def test_a_packs_task_says_how_to_enqueue_it() -> None:
    pack = Pack("media")
    task = pack.task(simple)
    with pytest.raises(InvalidOptions, match=r"pack 'media'.*include it.*app.tasks\['simple'\]"):
        task.enqueue(a=1)
