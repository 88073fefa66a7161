"""Limits as they are written, the gates that jobs get of them, and what is told when they make no sense."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from faena import AtOnce, Context, Faena, InvalidOptions, JobRequest, Rate
from faena.job import Gate, Window
from faena.making import Maker
from faena.rates import as_rates


def gates(app: Faena, task: str, args: dict[str, Any] | None = None, **options: Any) -> tuple[Gate, ...]:
    request = JobRequest(task=task, args=args or {}, **options)
    return Maker(app.tasks, app.queues).make(request).gates


def an_app(**options: Any) -> Faena:
    app = Faena("limited")

    @app.task(**options)
    def send(ctx: Context, host: str = "mx.example", tenant: int = 1) -> None: ...

    return app


@pytest.mark.parametrize(
    ("written", "count", "period"),
    [
        ("10/s", 10, 1.0),
        ("10/m", 10, 60.0),
        (" 5 / 30s ", 5, 30.0),
        ("1/1.5h", 1, 5400.0),
        ("3/2d", 3, 172800.0),
        (Rate(10, 60), 10, 60.0),
        (Rate(10, timedelta(minutes=1)), 10, 60.0),
    ],
)
def test_a_rate_is_a_number_and_a_time(written: Any, count: int, period: float) -> None:
    (rate,) = as_rates(written)
    assert rate.window.count == count
    assert period < rate.window.period <= period + min(0.04 * period, 0.25)


def test_a_limit_is_counted_for_its_task() -> None:
    assert gates(an_app(rate="10/m", at_once=3), "send") == (
        Gate(name="task:send", at_once=3, windows=(Window(count=10, period=60.25),)),
    )


def test_several_rates_hold_together() -> None:
    (gate,) = gates(an_app(rate=("10/s", "100/m")), "send")
    assert [window.count for window in gate.windows] == [10, 100]


def test_a_limit_may_be_counted_for_the_value_of_an_argument() -> None:
    app = an_app(rate=Rate("10/m", per="host"), at_once=AtOnce(2, per=("host", "tenant")))
    names = [gate.name for gate in gates(app, "send", {"host": "mx.one", "tenant": 7})]
    assert names == ["task:send[host=mx.one,tenant=7]", "task:send[host=mx.one]"]


def test_values_that_differ_have_gates_that_differ() -> None:
    app = Faena()

    @app.task(at_once=AtOnce(1, per="value"))
    def f(value: Any) -> None: ...

    values = ["1", 1, "true", True, None, "null", "a,b", "a b", ["a"], '["a"]', "x=1", 1.5, ""]
    names = [gates(app, "f", {"value": value})[0].name for value in values]
    assert len({*names}) == len(values)
    assert gates(app, "f", {"value": {"b": 1, "a": 2}}) == gates(app, "f", {"value": {"a": 2, "b": 1}})


def test_a_long_value_is_told_by_its_digest() -> None:
    app = an_app(rate=Rate("1/s", per="host"))
    one, other = (gates(app, "send", {"host": "x" * 500 + end})[0].name for end in "ab")
    assert one != other
    assert len(one) < 60


def test_a_limit_may_be_counted_by_a_function_of_the_arguments() -> None:
    app = an_app(rate=Rate("1/s", per=lambda args: args["host"].rpartition(".")[2] or None))
    assert [gate.name for gate in gates(app, "send", {"host": "mx.one"})] == ["task:send[one]"]
    assert gates(app, "send", {"host": "mx."}) == ()


def test_tasks_may_share_a_limit_by_its_name() -> None:
    app = Faena()
    shared = Rate("100/h", name="smtp")

    @app.task(rate=shared)
    def one() -> None: ...

    @app.task(rate=(shared, "1/s"))
    def two() -> None: ...

    assert [gate.name for gate in gates(app, "one")] == ["smtp"]
    assert [gate.name for gate in gates(app, "two")] == ["smtp", "task:two"]


def test_a_queue_has_limits_besides_its_tasks() -> None:
    app = an_app(at_once=3)
    app.queue("media", at_once=AtOnce(2, per="tenant"), rate="100/m")
    assert [gate.name for gate in gates(app, "send", queue="media")] == [
        "queue:media",
        "queue:media[tenant=1]",
        "task:send",
    ]
    assert [gate.name for gate in gates(app, "send")] == ["task:send"]


def test_a_job_without_the_argument_of_a_queues_limit_passes_it() -> None:
    app = Faena()
    app.queue("default", at_once=AtOnce(2, per="tenant"))

    @app.task
    def plain() -> None: ...

    assert gates(app, "plain") == ()


def test_one_job_may_have_limits_of_its_own() -> None:
    app = an_app(rate="10/m", at_once=3)
    (gate,) = gates(app, "send", at_once=1)
    assert (gate.at_once, gate.windows[0].count) == (1, 10)
    assert gates(app, "send", rate=(), at_once=()) == ()


def test_a_task_without_limits_has_no_gates() -> None:
    assert gates(an_app(), "send") == ()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rate": "10/q"}, "unit 'q'"),
        ({"rate": "10"}, "must be written as"),
        ({"rate": 10}, "must be a text"),
        ({"rate": "0/s"}, "from 1 to 100,000"),
        ({"rate": "1/400d"}, "at most 366 days"),
        ({"rate": "1/0s"}, "above zero"),
        ({"at_once": 0}, "at_once=0 must be a whole number"),
        ({"at_once": True}, "whole number"),
        ({"at_once": 2.5}, "whole number"),
        ({"at_once": "2"}, "whole number"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_when_it_is_declared(
    options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidOptions, match=told):
        an_app(**options)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidOptions, match=r"unit 'q'.*at_once=0.*unique=1"):
        an_app(rate="10/q", at_once=0, unique=1)
    with pytest.raises(InvalidOptions, match=r"the number of a rate, 0.*unit 'w'.*per=''.*name='a b'"):
        Rate("0/w", per="", name="a b")
    with pytest.raises(InvalidOptions, match=r"needs a period"):
        Rate(10)
    with pytest.raises(InvalidOptions, match=r"says its period itself"):
        Rate("10/s", 60)
    with pytest.raises(InvalidOptions, match=r"from 1 to 100,000.*names an argument twice"):
        AtOnce(0, per=("a", "a"))


def test_an_argument_that_the_task_does_not_take_is_named() -> None:
    with pytest.raises(InvalidOptions, match=r"takes host, tenant; .*per='hots', per='x', unique 'user'"):
        an_app(rate=Rate("1/s", per="hots"), at_once=AtOnce(1, per=("host", "x")), unique=("user",))
    with pytest.raises(InvalidOptions, match=r"per='x'"):
        an_app().tasks["send"].using(rate=Rate("1/s", per="x"))


def test_a_queue_is_limited_once() -> None:
    app = an_app()
    app.queue("media", at_once=2)
    with pytest.raises(InvalidOptions, match="already"):
        app.queue("media", at_once=3)
    with pytest.raises(InvalidOptions, match=r"queue='a b'.*unit 'q'"):
        app.queue("a b", rate="1/q")
