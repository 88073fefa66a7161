"""Where settings come from: ``faena.toml``, then ``.env``, then the environment, then flags; the later one wins.

Each value keeps the name that its source calls it by, so that a fault is told in the words of whoever wrote it.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from faena.job import Record

CONFIG_FILE = "faena.toml"
CONFIG_VARIABLE = "FAENA_CONFIG"
INTERNAL_PREFIX = "FAENA__"
"""What Faena's processes tell one another in the environment; never a setting."""


class Known(Record, frozen=True):
    """A setting as the sources know it."""

    field: str
    name: str
    """In ``faena.toml`` and (with dashes) among the flags."""
    env: str
    expected: str
    secret: bool = False
    """Its value is never shown."""


class Found(Record, frozen=True):
    """A raw value, the setting it is for, and where it was found."""

    setting: Known
    raw: object
    name: str
    """As its source calls it: ``API_PORT``, ``port in faena.toml``, ``--port``."""

    def refused(self) -> str:
        """Say what was expected, in words that a person can act on."""
        shown = "what is set" if self.setting.secret else repr(self.raw)
        return f"{self.name} must be {self.setting.expected}, not {shown}"


def find(settings: Sequence[Known], flags: Mapping[str, object]) -> tuple[dict[str, Found], list[str]]:
    """Return what the sources say, by fields, and their own faults. A flag that is None was not given."""
    faults: list[str] = []
    by_name = {setting.name: setting for setting in settings}
    by_env = {setting.env: setting for setting in settings}
    found = (
        _in_the_file(by_name, faults)
        | _in_dotenv(by_env, faults)
        | _in_environment(os.environ, "", by_env, faults)
        | _among_flags(flags, by_name, faults)
    )
    return found, faults


def _in_the_file(known: Mapping[str, Known], faults: list[str]) -> dict[str, Found]:
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
    found: dict[str, Found] = {}
    for key, raw in table.items():
        if setting := known.get(key):
            found[setting.field] = Found(setting=setting, raw=raw, name=f"{key} in {path}")
        else:
            faults.append(f"{key} in {path} is no setting{_nearest(key, known)}")
    return found


def _in_dotenv(known: Mapping[str, Known], faults: list[str]) -> dict[str, Found]:
    path = Path(".env")
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{path} can't be read: {error}")
        return {}
    return _in_environment({name: raw or "" for name, raw in values.items()}, " in .env", known, faults)


def _in_environment(
    values: Mapping[str, str], where: str, known: Mapping[str, Known], faults: list[str]
) -> dict[str, Found]:
    """Pick the settings out of an environment. An empty value is the same as none."""
    found: dict[str, Found] = {}
    for name, raw in values.items():
        if name in known:
            if raw.strip():
                setting = known[name]
                found[setting.field] = Found(setting=setting, raw=raw.strip(), name=f"{name}{where}")
        elif name.startswith("FAENA_") and name != CONFIG_VARIABLE and not name.startswith(INTERNAL_PREFIX):
            faults.append(f"{name}{where} is no setting{_nearest(name, known)}")
    return found


def _among_flags(
    flags: Mapping[str, object], known: Mapping[str, Known], faults: list[str]
) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for key, raw in flags.items():
        setting = known.get(key)
        if setting is None:
            faults.append(f"{key} is no setting{_nearest(key, known)}")
        elif raw is not None:
            found[setting.field] = Found(setting=setting, raw=raw, name=f"--{key.replace('_', '-')}")
    return found


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the same name without or with its prefix, or the most similar one."""
    names = [*known]
    bare = name.removeprefix("FAENA_")
    same = [other for other in names if other.lower() in (bare.lower(), f"api_{bare}".lower())]
    near = same or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; the settings are {', '.join(sorted(names))}"
