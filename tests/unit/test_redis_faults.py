"""What Redis's errors and what a Redis says of itself come to."""

from __future__ import annotations

import inspect

import pytest
from redis import exceptions

from faena.errors import StoreDown, StoreFault, StoreFull, Unavailable
from faena.stores.redis import faults, health

# Errors


def _vendor_errors() -> list[type[BaseException]]:
    found = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass)]
    return [kind for kind in found if issubclass(kind, exceptions.RedisError)]


@pytest.mark.parametrize("kind", _vendor_errors(), ids=lambda kind: kind.__name__)
def test_no_error_of_the_vendor_leaves_the_store(kind: type[BaseException]) -> None:
    error = kind.__new__(kind)
    told = faults.as_faena_error(error)
    assert isinstance(told, Unavailable | StoreFault)
    assert told.__cause__ is error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (exceptions.OutOfMemoryError("command not allowed"), StoreFull, "maxmemory"),
        (
            exceptions.ResponseError("Error running script: @user_script:1: -OOM command not allowed"),
            StoreFull,
            "maxmemory",
        ),
        (exceptions.ResponseError("MISCONF Redis is configured to save"), StoreDown, "snapshot failed"),
        (exceptions.ReadOnlyError("You can't write"), StoreDown, "replica"),
        (exceptions.BusyLoadingError("Redis is loading"), StoreDown, "still loading"),
        (exceptions.AuthenticationError("WRONGPASS invalid"), StoreDown, "password"),
        (exceptions.NoPermissionError("this user has no permissions"), StoreDown, "may not do that"),
        (exceptions.TimeoutError("Timeout reading"), StoreDown, "in time"),
        (exceptions.ConnectionError("Error 111"), StoreDown, "cannot be reached"),
        (ConnectionResetError(), StoreDown, "cannot be reached"),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), StoreDown, "prefix"),
        (
            exceptions.ResponseError(
                "user_script:7: attempt to index a nil value script: 0a, on @user_script:7."
            ),
            StoreFault,
            "attempt to index",
        ),
        (
            exceptions.ResponseError("Error running script (call to f_0a): @user_script:7: bad argument"),
            StoreFault,
            "bad argument",
        ),
        (exceptions.DataError("Invalid input of type: 'NoneType'"), StoreFault, "Invalid input"),
        (
            exceptions.ResponseError(
                "Error running script: @user_script:7: Script killed by user with SCRIPT KILL"
            ),
            StoreDown,
            "Script killed",
        ),
        (
            exceptions.ResponseError(
                "The user executing the script can't run this command, on @user_script:7."
            ),
            StoreDown,
            "can't run this command",
        ),
    ],
)
def test_an_error_says_what_to_do(error: Exception, kind: type[Exception], words: str) -> None:
    told = faults.as_faena_error(error)
    assert type(told) is kind
    assert words in str(told)


# What is checked at the start


def info(**fields: str) -> health.Info:
    return health.Info(fields={"redis_version": "7.0.1", "aof_enabled": "1"} | fields, snapshots="")


@pytest.mark.parametrize("version", ["6.0.16", "5.0.3", "2.8"])
def test_a_redis_that_is_too_old_is_refused(version: str) -> None:
    with pytest.raises(StoreDown, match=r"Faena needs 6\.2 or later"):
        health.require_version(info(redis_version=version))


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "8.2.1", "255.255.255"])
def test_a_redis_that_is_new_enough_is_taken(version: str) -> None:
    health.require_version(info(redis_version=version))


def test_a_redis_in_order_is_not_warned_of() -> None:
    assert health.warnings(info(maxmemory_policy="noeviction")) == ()


def test_what_will_hurt_is_warned_of() -> None:
    assert "throw jobs away" in health.warnings(info(maxmemory_policy="allkeys-lru"))[0]
    none = health.Info(fields={"aof_enabled": "0"}, snapshots="")
    assert "a restart loses every job" in health.warnings(none)[0]
    some = health.Info(fields={"aof_enabled": "0"}, snapshots="3600 1")
    assert "since the last one" in health.warnings(some)[0]
    assert "replica" in health.warnings(info(role="slave"))[0]
    assert health.warnings(health.Info(fields={}, snapshots=None)) == ()
