"""The verbs as Lua scripts, one file each beside a shared prelude, named by their hash as Redis does."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from faena.job import GIVES_BACK, TRANSITIONS, Record, Status
from faena.stores.redis.rows import CODES

VERBS: Final = (
    "open",
    "insert",
    "claim",
    "claim_next",
    "extend",
    "started",
    "report",
    "finish",
    "promote",
    "rescue",
    "undelivered",
    "prune",
    "cancel",
    "purge",
    "get",
    "find",
    "counts",
    "story",
    "published",
    "waiting",
    "beat",
    "leave",
    "workers",
    "admit",
    "change",
    "pause",
    "resume",
    "paused",
    "obstacles",
    "put_schedules",
    "schedules",
    "tick",
    "steer_schedule",
    "drop_schedules",
    "time",
    "correct",
)
ROOMS: Final = ("prelude", "lanes", "moving", "answering", "writing")
"""What a script is made of, before its own file."""
READING_ROOMS: Final = ("prelude", "answering")
"""What those are made of that change nothing."""
READING: Final = frozenset(
    {"get", "find", "counts", "story", "waiting", "workers", "paused", "schedules", "time"}
)
MORE_ROOMS: Final = {
    "claim": ("gates", "taking"),
    "claim_next": ("gates", "serving", "taking"),
    "extend": ("holding",),
    "started": ("gates", "holding"),
    "report": ("holding",),
    "admit": ("gates", "serving"),
    "obstacles": ("gates",),
    "insert": ("keys", "inserting"),
    "tick": ("keys", "inserting"),
}
FIXED: Final = (
    "meta",
    "ids",
    "heads",
    "bodies",
    "events",
    "results",
    "checkpoints",
    "scheduled",
    "leases",
    "expiring",
    "places",
    "place_of",
    "holders",
    "queues",
    "workers",
    "log",
)
"""The keys that every script declares, in the order that prelude.lua names them."""

_CONSTANTS: Final = re.compile(r"^ *local ((?:[A-Z_]+,\s*)*[A-Z_]+) =\s*((?:\d+,\s*)*\d+) *$", re.MULTILINE)
_WORDS: Final = re.compile(r"--[^\n]*|'[^'\n]*'|\b[A-Z_]+\b")


class Script(Record, frozen=True):
    """A verb: its text, and the hash that Redis knows it by."""

    text: str
    sha: str


def _table() -> str:
    """Return `faena.job`'s transition table as Lua: the scripts have none of their own."""
    targets = ", ".join(f"{step} = {CODES[move.target]}" for step, move in TRANSITIONS.items())
    sources = ", ".join(
        f"{step} = {{{', '.join(sorted(f'[{CODES[source]}] = true' for source in move.sources if source))}}}"
        for step, move in TRANSITIONS.items()
    )
    gives_back = ", ".join(f"{step} = true" for step in sorted(GIVES_BACK))
    scheduled, pending, processing = (
        CODES[status] for status in (Status.SCHEDULED, Status.PENDING, Status.PROCESSING)
    )
    return "\n".join(
        (
            f"local SCHEDULED_STATUS, PENDING, PROCESSING = {scheduled}, {pending}, {processing}",
            f"local TARGETS = {{{targets}}}",
            f"local SOURCES = {{{sources}}}",
            f"local GIVES_BACK = {{{gives_back}}}",
        )
    )


def _inlined(text: str) -> str:
    """Write the numbers that Lua's constants stand for in their places, and leave out comments: a function that is made
    anew for each call should not carry sixty names along."""
    numbers: dict[str, str] = {}

    def note(found: re.Match[str]) -> str:
        names, values = (re.split(r",\s*", group) for group in found.groups())
        numbers.update(zip(names, values, strict=True))
        return ""

    def write(found: re.Match[str]) -> str:
        word = found.group()
        return "" if word.startswith("--") else numbers.get(word, word)

    text = re.sub(r" +(--[^\n]*)?$", "", text, flags=re.MULTILINE)
    return _WORDS.sub(write, _CONSTANTS.sub(note, text))


@cache
def load() -> Mapping[str, Script]:
    """Read the scripts of all verbs."""
    folder = files("faena.stores.redis").joinpath("lua")
    table = _table()
    scripts = {}
    for verb in VERBS:
        rooms = (*(READING_ROOMS if verb in READING else ROOMS), *MORE_ROOMS.get(verb, ()), verb)
        text = "\n".join((table, *(folder.joinpath(f"{room}.lua").read_text("utf-8") for room in rooms)))
        text = _inlined(text)
        scripts[verb] = Script(text=text, sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
    return scripts
