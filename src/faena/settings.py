"""Settings: defaults < ``faena.toml`` < ``.env`` < environment < flags; frozen; every fault reported at once.

`Settings(...)` is exactly what is given, for tests and for code that decides by itself; `Settings.load(...)` reads
the four sources. The names of the environment are the ones that the seeds use, and ``FAENA_*`` for Faena's own.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from faena.errors import InvalidSettings
from faena.job import Record
from faena.queue_directory import Note, choose_queue_directory, prepare_named_directory

CONFIG_FILE = "faena.toml"
CONFIG_VARIABLE = "FAENA_CONFIG"
INTERNAL_PREFIX = "FAENA__"
"""What Faena's processes tell one another in the environment; never a setting."""

StoreName = Literal["auto", "sqlite", "memory", "redis", "postgres"]
ENGINES = ("auto", "direct", "huey", "dramatiq", "celery", "rq", "arq")
SECONDS = "a number of seconds above 0"


class Directories(Record, frozen=True):
    """Where the embedded default writes; all of it exists and was probed."""

    data: Path
    """The database; the media too, unless FAENA_MEDIA_ROOT names another place."""
    queue: Path
    """The queue engine's files."""
    temporary: bool = False
    notes: tuple[Note, ...] = ()


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
        faults: list[str] = []
        found = _file_values(faults) | _dotenv_values(faults) | _environment_values(os.environ, "", faults)
        found |= _flag_values(flags, faults)
        try:
            settings = cls.model_validate({value.field: value.raw for value in found.values()})
        except ValidationError as error:
            raise InvalidSettings(faults + _told(error, found)) from None
        if faults:
            raise InvalidSettings(faults)
        return settings

    @cached_property
    def directories(self) -> Directories:
        """Choose, make and probe the directories, at the first use. Raises `InvalidSettings`."""
        if self.named_data_dir is not None:
            data = prepare_named_directory(self.named_data_dir, name="FAENA_DATA_DIR")
            below = self.queue_path or data.path / "queue"
            queue = prepare_named_directory(below, name="COATI_QUEUE_PATH")
            return Directories(data=data.path, queue=queue.path, notes=(*data.notes, *queue.notes))
        if self.queue_path is not None:
            queue = prepare_named_directory(self.queue_path, name="COATI_QUEUE_PATH")
            return Directories(data=queue.path, queue=queue.path, notes=queue.notes)
        chosen = choose_queue_directory()
        return Directories(
            data=chosen.path, queue=chosen.path, temporary=chosen.temporary, notes=chosen.notes
        )

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


class _Value(Record, frozen=True):
    """A raw value, the setting it is for, and where it was found."""

    field: str
    raw: object
    name: str
    """As its source calls it: ``API_PORT``, ``port in faena.toml``, ``--port``."""


def _file_values(faults: list[str]) -> dict[str, _Value]:
    named = os.environ.get(CONFIG_VARIABLE)
    path = Path(named).expanduser() if named else Path(CONFIG_FILE)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if named:
            faults.append(f"{CONFIG_VARIABLE} names {path}, and there is no such file")
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        faults.append(f"{path} can't be read: {error}")
        return {}
    fields = {public_name(field): field for field in Settings.model_fields}
    known: dict[str, _Value] = {}
    for key, raw in table.items():
        if key in fields:
            known[fields[key]] = _Value(field=fields[key], raw=raw, name=f"{key} in {path}")
        else:
            faults.append(f"{key} in {path} is no setting{_nearest(key, fields)}")
    return known


def _dotenv_values(faults: list[str]) -> dict[str, _Value]:
    path = Path(".env")
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{path} can't be read: {error}")
        return {}
    return _environment_values({name: raw or "" for name, raw in values.items()}, " in .env", faults)


def _environment_values(values: Mapping[str, str], where: str, faults: list[str]) -> dict[str, _Value]:
    """Pick the settings out of an environment. An empty value is the same as none."""
    fields = {env_name(field): field for field in Settings.model_fields}
    known: dict[str, _Value] = {}
    for name, raw in values.items():
        if name in fields and raw.strip():
            known[fields[name]] = _Value(field=fields[name], raw=raw.strip(), name=f"{name}{where}")
        elif name.startswith("FAENA_") and not _is_known(name, fields):
            faults.append(f"{name}{where} is no setting{_nearest(name, fields)}")
    return known


def _flag_values(flags: Mapping[str, object], faults: list[str]) -> dict[str, _Value]:
    fields = {public_name(field): field for field in Settings.model_fields}
    known: dict[str, _Value] = {}
    for key, raw in flags.items():
        if key not in fields:
            faults.append(f"{key} is no setting{_nearest(key, fields)}")
        elif raw is not None:
            name = f"--{key.replace('_', '-')}"
            known[fields[key]] = _Value(field=fields[key], raw=raw, name=name)
    return known


def _is_known(name: str, fields: Mapping[str, str]) -> bool:
    return name in fields or name == CONFIG_VARIABLE or name.startswith(INTERNAL_PREFIX)


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the same name without or with its prefix, or the most similar one."""
    names = [*known]
    bare = name.removeprefix("FAENA_")
    same = [other for other in names if other.lower() in (bare.lower(), f"api_{bare}".lower())]
    near = same or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; the settings are {', '.join(sorted(names))}"


def _told(error: ValidationError, found: Mapping[str, _Value]) -> list[str]:
    """Say each fault in words that a person can act on; a secret is never shown."""
    told: dict[str, str] = {}
    for fault in error.errors():
        field = _field_of(str(fault["loc"][0]))
        value = found[field]
        shown = "what is set" if field == "secret" else repr(value.raw)
        told[field] = f"{value.name} must be {_extra(Settings.model_fields[field])['expected']}, not {shown}"
    return list(told.values())


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
