"""Settings: defaults < ``faena.toml`` < ``.env`` < environment < flags; frozen; every fault reported at once.

`Settings(...)` is exactly what is given, for tests and for code that decides by itself; `Settings.load(...)` reads
the four sources (`faena.sources`). The names of the environment are the ones that the seeds use, and ``FAENA_*`` for
Faena's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from faena import sources
from faena.errors import InvalidSettings
from faena.queue_directory import Directories, choose_directories

StoreName = Literal["auto", "sqlite", "memory", "redis", "postgres"]
ENGINES = ("auto", "direct", "huey", "dramatiq", "celery", "rq", "arq")
SECONDS = "a number of seconds above 0"


def _setting(default: object, env: str, about: str, expected: str, **rules: Any) -> Any:
    extra: JsonDict = {"env": env, "expected": expected}
    return Field(default, description=about, json_schema_extra=extra, **rules)


class Settings(BaseModel):
    """What a Faena process was told. Durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    app: str | None = _setting(
        None,
        "FAENA_APP",
        "Your application, `package.module:app`. Unset: the packs that Faena ships.",
        "a reference such as package.module:app",
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
    )
    store: StoreName = _setting(
        "auto",
        "FAENA_STORE",
        "Where jobs are kept. `auto`: Redis if `REDIS_URL` is set and answers, else SQLite.",
        "one of auto, sqlite, redis, memory",
    )
    engine: str = _setting(
        "auto",
        "FAENA_ENGINE",
        "What carries job ids to workers. `auto`: Dramatiq where the store is Redis, else Huey on files; `direct` "
        "needs no engine and is the fastest; `package.module:factory` is one of your own.",
        f"one of {', '.join(ENGINES)}, or package.module:factory",
        pattern=rf"^({'|'.join(ENGINES)}|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*)$",
    )
    redis_url: str | None = _setting(
        None,
        "REDIS_URL",
        "A Redis server: jobs are kept there, and engines use it.",
        "an address such as redis://localhost:6379/0",
        pattern=r"^(rediss?|unix)://.+",
    )
    broker_url: str | None = _setting(
        None,
        "FAENA_BROKER_URL",
        "Where the engine has its messages; Celery and Dramatiq may have them in RabbitMQ. Unset: `REDIS_URL`.",
        "an address such as redis://localhost:6379/1 or amqp://user:password@localhost/vhost",
        pattern=r"^(rediss?|unix|amqps?)://.+",
    )
    named_data_dir: Path | None = Field(
        None,
        alias="data_dir",
        description="One directory for everything that Faena writes. Unset: the queue directory.",
        json_schema_extra={"env": "FAENA_DATA_DIR", "expected": "a directory"},
    )
    queue_path: Path | None = _setting(
        None,
        "COATI_QUEUE_PATH",
        "The directory of the queue's files. Unset: `queue` below FAENA_DATA_DIR, or the first usable of four.",
        "a directory",
    )
    named_media_root: Path | None = Field(
        None,
        alias="media_root",
        description="Where uploaded and made pictures lie. Unset: `media` in the data directory.",
        json_schema_extra={"env": "FAENA_MEDIA_ROOT", "expected": "a directory"},
    )
    media_max_bytes: int = _setting(
        1 << 30,
        "FAENA_MEDIA_MAX_BYTES",
        "The largest upload, in bytes.",
        "a whole number of bytes above 0",
        gt=0,
    )
    upload_ttl: float = _setting(
        86400.0,
        "FAENA_UPLOAD_TTL",
        "How long an upload is kept after the last time that a job needed it; 0: for ever.",
        "a number of seconds, 0 or more",
        ge=0,
    )
    host: str = _setting(
        "127.0.0.1",
        "API_HOST",
        "The address that the server listens on; this release takes loopback addresses only.",
        "an address or host name",
        min_length=1,
    )
    port: int = _setting(
        8000,
        "API_PORT",
        "The port that the server listens on; 0 takes a free one.",
        "a whole number from 0 to 65535",
        ge=0,
        le=65535,
    )
    secret: str | None = _setting(
        None,
        "FAENA_SECRET",
        "For the tokens of a later release; the server of this one refuses to start with it.",
        'at least 32 characters (python -c "import secrets; print(secrets.token_urlsafe(48))" makes one)',
        min_length=32,
        repr=False,
    )
    queue_enabled: bool = _setting(
        True, "QUEUE_ENABLED", "0 refuses to enqueue; what is stored goes on.", "1 or 0"
    )
    result_ttl: float = _setting(
        3600.0, "RESULT_TTL", "How long a completed or cancelled job is kept.", SECONDS, gt=0
    )
    failure_ttl: float = _setting(86400.0, "FAILURE_TTL", "How long a failed job is kept.", SECONDS, gt=0)
    task_timeout: float = _setting(
        600.0, "TASK_TIMEOUT", "How long an attempt may take when its task says nothing.", SECONDS, gt=0
    )
    idemp_margin: float = _setting(
        300.0,
        "IDEMP_MARGIN",
        "Added to a task's duration for the time that its idempotency key holds.",
        "a number of seconds, 0 or more",
        ge=0,
    )
    lease: float = _setting(
        15.0,
        "FAENA_LEASE",
        "How long a worker may be silent before its jobs are taken from it.",
        SECONDS,
        gt=0,
    )
    grace: float = _setting(
        30.0,
        "FAENA_GRACE",
        "How long a stopping worker lets its jobs run before it hands them back.",
        "a number of seconds, 0 or more",
        ge=0,
    )
    cancel_grace: float = _setting(
        10.0,
        "FAENA_CANCEL_GRACE",
        "How long a job that is asked to stop may go on before it is stopped by force, where that can be done.",
        "a number of seconds, 0 or more",
        ge=0,
    )
    redeliver_after: float = _setting(
        5.0,
        "FAENA_REDELIVER_AFTER",
        "How long a job that nobody took may have been with its engine before the engine may be held to have lost it.",
        SECONDS,
        gt=0,
    )
    threads: int = _setting(
        8,
        "FAENA_THREADS",
        "Jobs at once in one worker process.",
        "a whole number from 1 to 1000",
        ge=1,
        le=1000,
    )
    processes: int = _setting(
        1, "FAENA_PROCESSES", "Worker processes.", "a whole number from 1 to 256", ge=1, le=256
    )
    queues: tuple[str, ...] = _setting(
        (),
        "FAENA_QUEUES",
        "The queues that a worker serves, in order, with commas. Unset: all queues of the tasks, `high` first.",
        "names with commas between them, such as high,default",
    )
    max_crashes: int = _setting(
        3,
        "FAENA_MAX_CRASHES",
        "How many workers a job may kill before it is failed.",
        "a whole number from 1 to 100",
        ge=1,
        le=100,
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "FAENA_LOG_LEVEL", "The least that is logged.", "one of debug, info, warning, error"
    )
    log_json: bool = _setting(False, "FAENA_LOG_JSON", "Log one JSON object a line.", "1 or 0")

    @field_validator("queues", mode="before")
    @classmethod
    def _split_queues(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        names = [part.strip() if isinstance(part, str) else part for part in parts]
        return tuple(dict.fromkeys(name for name in names if name != ""))

    @field_validator("log_level", "store", "engine", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return value.strip() if ":" in value else value.strip().lower()

    @field_validator("named_data_dir", "queue_path", "named_media_root", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else Path(os.path.abspath(value.expanduser()))

    @classmethod
    def load(cls, **flags: object) -> Self:
        """Read the file, ``.env``, the environment and ``flags`` (None: not given). Raises `InvalidSettings`."""
        found, faults = sources.find(_known(), flags)
        try:
            settings = cls.model_validate({field: one.raw for field, one in found.items()})
        except ValidationError as error:
            raise InvalidSettings(faults + _told(error, found)) from None
        if faults:
            raise InvalidSettings(faults)
        return settings

    @cached_property
    def directories(self) -> Directories:
        """Choose, make and probe the directories, at the first use. Raises `InvalidSettings`."""
        return choose_directories(self.named_data_dir, self.queue_path)

    @property
    def data_dir(self) -> Path:
        """The directory of the database and the media; it exists."""
        return self.directories.data

    @property
    def queue_dir(self) -> Path:
        """The directory of the queue engine's files; it exists."""
        return self.directories.queue

    @property
    def media_root(self) -> Path:
        """The directory of the media; whoever writes there makes it."""
        return self.named_media_root or self.data_dir / "media"

    @property
    def broker(self) -> str | None:
        """Where the engine has its messages, if it needs a server for them."""
        return self.broker_url or self.redis_url

    @property
    def on_rabbitmq(self) -> bool:
        """The engine has its messages in RabbitMQ."""
        return (self.broker_url or "").startswith("amqp")

    def given(self) -> dict[str, object]:
        """Return what was set, by public names; defaults are left out."""
        return {public_name(field): getattr(self, field) for field in sorted(self.model_fields_set)}

    def environment(self) -> dict[str, str]:
        """Return what was set, as environment variables: a child process that gets them loads the same settings."""
        return {
            env_name(field): _as_text(value)
            for field in sorted(self.model_fields_set)
            if (value := getattr(self, field)) is not None
        }


def env_name(field: str) -> str:
    """Return the environment's name of a setting."""
    return str(_extra(Settings.model_fields[field])["env"])


def public_name(field: str) -> str:
    """Return the name of a setting in ``faena.toml``, in `Settings.load` and (with dashes) among the flags."""
    return Settings.model_fields[field].alias or field


def _known() -> list[sources.Known]:
    return [
        sources.Known(
            field=field,
            name=public_name(field),
            env=env_name(field),
            expected=str(_extra(declared)["expected"]),
            secret=field == "secret",
        )
        for field, declared in Settings.model_fields.items()
    ]


def _told(error: ValidationError, found: Mapping[str, sources.Found]) -> list[str]:
    refused = dict.fromkeys(_field_of(str(fault["loc"][0])) for fault in error.errors())
    return [found[field].refused() for field in refused]


def _field_of(name: str) -> str:
    return next(field for field in Settings.model_fields if name in (field, public_name(field)))


def _extra(field: FieldInfo) -> Mapping[str, object]:
    extra = field.json_schema_extra
    assert isinstance(extra, dict), "every setting has its environment's name"
    return extra


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)
