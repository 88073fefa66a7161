"""The OpenAPI document: FastAPI's own, with one typed operation for each registered task."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI

from faena.api.idempotency import ABOUT, HEADER, SYNTAX
from faena.app import Faena
from faena.job import OnConflict
from faena.task import Task

TEMPLATE = "/tasks/{task}/enqueue"
OPTIONS: Mapping[str, tuple[dict[str, Any], str]] = {
    "queue": ({"type": "string"}, "Instead of the task's own."),
    "priority": ({"type": "integer"}, "Higher goes first within a queue."),
    "delay": ({"type": "number", "minimum": 0}, "Seconds until the job is due."),
    "at": ({"type": "string", "format": "date-time"}, "When the job is due, with a time zone."),
    "key": ({"type": "string"}, "Unique among the task's live jobs."),
    "keep_key": (
        {"anyOf": [{"type": "number", "minimum": 0}, {"const": "forever"}], "examples": [86400, "forever"]},
        "Seconds for which it is held even if the job ends sooner, or `forever`.",
    ),
    "on_conflict": (
        {"type": "string", "enum": [str(one) for one in OnConflict]},
        "What becomes of the job when another one holds its key.",
    ),
    "timeout": ({"type": "number", "exclusiveMinimum": 0}, "Seconds for one attempt."),
    "max_retries": ({"type": "integer", "minimum": 0}, "Attempts after the first."),
}

_IDEMPOTENCY: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": SYNTAX},
    "description": ABOUT,
}


def install(api: FastAPI, app: Faena) -> None:
    """Make ``/openapi.json`` tell the tasks that are registered when it is asked."""
    plain: Callable[[], dict[str, Any]] = api.openapi

    def openapi() -> dict[str, Any]:
        document = copy.deepcopy(plain())
        for name, task in sorted(app.tasks.items()):
            _add(document, name, task)
        return document

    api.openapi = openapi  # type: ignore[method-assign]


def _add(document: dict[str, Any], name: str, task: Task[Any, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    prefix = f"{_component(name)}.args"
    schema = task.schema()
    for definition, body in schema.pop("$defs", {}).items():
        schemas[f"{prefix}.{definition}"] = _renamed(body, prefix)
    schemas[prefix] = _renamed(schema, prefix)
    answers = document["paths"]["/jobs"]["post"]["responses"]
    document["paths"][TEMPLATE.replace("{task}", name)] = {"post": _operation(name, task, prefix, answers)}


def _operation(name: str, task: Task[Any, Any], schema: str, answers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tags": ["enqueue"],
        "summary": f"Enqueue {name}",
        "description": inspect.cleandoc(task.__doc__) if task.__doc__ else "",
        "operationId": f"enqueue_{_component(name)}",
        "parameters": [
            {"name": option, "in": "query", "required": False, "schema": kind, "description": told}
            for option, (kind, told) in OPTIONS.items()
        ]
        + [_IDEMPOTENCY],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _reference(schema)}}},
        "responses": dict(answers),
    }


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _renamed(part: Any, prefix: str) -> Any:
    """Return a part of a JSON schema whose references point into the document's components."""
    if isinstance(part, list):
        return [_renamed(item, prefix) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: value.replace("#/$defs/", f"#/components/schemas/{prefix}.")
        if key == "$ref" and isinstance(value, str)
        else _renamed(value, prefix)
        for key, value in part.items()
    }


def _component(name: str) -> str:
    """Return a name as OpenAPI allows it for a component."""
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in name
    )
