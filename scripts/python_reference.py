"""The public names as the reference shows them: signatures and docstrings, read off the code."""

from __future__ import annotations

import ast
import enum
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import faena
from faena.task import Prepared

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "app": ("Faena", "Pack", "Schedule"),
    "task": ("Task", "JobRequest", "Rate", "AtOnce", "Unique", "OnConflict", "Limits"),
    "job": ("JobHandle", "Job", "Status", "Failure"),
    "context": ("Context", "Retry", "Snooze", "SoftTimeout", "Cancelled"),
}
"""The parts of the page; every other public name is an error, and in the tree."""

INNER: Mapping[str, frozenset[str]] = {
    "Faena": frozenset({"submit", "ask", "close", "use", "on", "make_store", "make_engine", "settings"}),
    "Task": frozenset({"rules", "context_parameter", "submitter", "refuse_unknown_names", "bound_to"})
    | {"dump_args", "adopt_args", "load_args", "dump_result"},
    "JobRequest": frozenset({"idempotency", "key_bound", "origin", "unique"}),
    "Context": frozenset({"of"}),
    "Rate": frozenset({"window"}),
    "Unique": frozenset({"key"}),
    "Schedule": frozenset({"definition"}),
}
"""What is public for Faena's own rooms and no business of an application."""


def part(section: str) -> str:
    """Return the names of a section, each with what its docstrings say."""
    return "\n\n".join(_class(name, getattr(faena, name)) for name in SECTIONS[section])


def errors() -> str:
    """Return the tree of errors, as the module draws it."""
    drawn = re.search(r"FaenaError\n.*?\n\n", str(inspect.getdoc(faena.errors)) + "\n\n", re.DOTALL)
    assert drawn is not None
    return f"```text\n{textwrap.dedent(drawn[0]).rstrip()}\n```"


def _class(name: str, found: type) -> str:
    head = f"### {name}\n\n{_plain(inspect.getdoc(found) or '')}"
    return f"{head}\n\n{lines}" if (lines := "\n".join(_members(name, found))) else head


def _members(name: str, found: type) -> Iterator[str]:
    if issubclass(found, enum.Enum):
        yield from (f"- `{member.value}`" for member in found)
    elif hasattr(found, "__struct_fields__"):
        yield from _fields(found)
    elif not issubclass(found, BaseException):
        yield from _init(name, found)
    for member, value in _public(found):
        if member in INNER.get(name, ()) or (member[0] == "a" and hasattr(found, member[1:])):
            continue
        twin = f", `a{member}`" if hasattr(found, f"a{member}") else ""
        if isinstance(value, property):
            yield f"- `{member}`: {_told(value)}"
        elif inspect.isfunction(value):
            yield f"- `{member}{_signature(value)}`{twin}: {_told(value)}"


def _public(found: type) -> Iterator[tuple[str, Any]]:
    bases = [base for base in reversed(found.__mro__) if base.__module__.startswith("faena.")]
    if found is faena.Task:
        bases.append(Prepared)  # whose docstrings say what those of the task point to
    members = {name: value for base in bases for name, value in vars(base).items()}
    yield from ((name, value) for name, value in members.items() if not name.startswith("_"))


def _init(name: str, found: type) -> Iterator[str]:
    if name not in ("Task", "JobHandle", "Context"):  # Faena makes those
        yield f"- `{name}{_signature(found.__init__)}`"
    for field, told in _attributes(found):
        if not field.startswith("_") and field not in INNER.get(name, ()):
            yield f"- `{field}`: {told}"


def _fields(found: type) -> Iterator[str]:
    inner = INNER.get(found.__name__, ())
    for base in reversed(found.__mro__):
        if not base.__module__.startswith("faena."):
            continue
        annotations = inspect.get_annotations(base)
        told = dict(_attributes(base))
        defaults = _defaults(base)
        for field, kind in annotations.items():
            if field in inner or field.startswith("_"):
                continue
            default = f" = {defaults[field]}" if field in defaults else ""
            yield f"- `{field}: {kind}{default}`" + (f": {told[field]}" if field in told else "")


def _attributes(found: type) -> Iterator[tuple[str, str]]:
    """Yield the attributes that have a docstring below them, in the class or in its ``__init__``."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(found))).body
    assert isinstance(tree, ast.ClassDef)
    bodies = [
        tree.body,
        *(node.body for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"),
    ]
    for body in bodies:
        for node, after in itertools.pairwise(body):
            if isinstance(node, ast.AnnAssign | ast.Assign) and _is_text(after):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                yield ast.unparse(target).removeprefix("self."), _plain(inspect.cleandoc(after.value.value))


def _defaults(found: type) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(found))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        ast.unparse(node.target): ast.unparse(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and node.value is not None
    }


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _signature(function: Callable[..., Any]) -> str:
    """Names, kinds and defaults of the parameters. Types are in the docstrings' words, and in the code."""
    told, starred = [], False
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            told.append(f"*{parameter.name}")
            starred = True
        elif parameter.kind is parameter.VAR_KEYWORD:
            told.append(f"**{parameter.name}")
        else:
            if parameter.kind is parameter.KEYWORD_ONLY and not starred:
                told.append("*")
                starred = True
            default = parameter.default
            told.append(
                parameter.name if default is parameter.empty else f"{parameter.name}={_shown(default)}"
            )
    return f"({', '.join(told)})"


def _shown(default: object) -> str:
    return repr(default.value if isinstance(default, enum.Enum) else default)


def _told(found: object) -> str:
    """A docstring as a list's item: one paragraph, for some readers of Markdown lose the rest of the list after two."""
    return _plain(inspect.getdoc(found) or "").replace("\n\n", " ")


def _plain(text: str) -> str:
    """A docstring as Markdown, in one paragraph each."""
    text = text.replace("``", "`")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


PARTS: Mapping[str, Callable[[], str]] = {
    **{f"python-{section}": lambda section=section: part(section) for section in SECTIONS},
    "python-errors": errors,
}
