"""A task's arguments: checked against its signature when they are enqueued, and never first in the worker.

What the function receives equals what was passed. Arguments travel as JSON; pydantic checks and converts them in
its lax mode (as FastAPI does), and every set is read back once before it is accepted.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Union

from faena.errors import InvalidArguments, InvalidOptions
from faena.job import Record

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import CoreConfig, SchemaSerializer

Fault = dict[str, object]

_CONFIG: Final[CoreConfig] = {
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
    "ser_json_inf_nan": "strings",
}
_CHANGED: Final = (
    "it would reach the task changed (as JSON has it: a tuple as a list, a date as a text, numbers that are keys as "
    "texts): pass plain JSON values, or annotate the parameter with its type"
)


class Parameters(Record, frozen=True):
    """The signature of a task's function, as far as enqueueing is concerned."""

    task: str
    names: tuple[str, ...]
    """Of the arguments in their order, without the context."""
    positional: tuple[str, ...]
    annotations: dict[str, Any]
    defaults: dict[str, Any]
    extra: Any = None
    """The annotation of ``**kwargs``; None: the function takes none."""
    context: str | None = None
    """The parameter that is annotated `Context`."""


def read_signature(function: Callable[..., Any], *, task: str) -> Parameters:
    """Return a function's parameters; raise `InvalidOptions` for a signature that can't be a task's."""
    hints = _resolved_hints(function, task)
    names: list[str] = []
    positional: list[str] = []
    annotations: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    extra: Any = None
    context: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        annotation = hints.get(parameter.name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = annotation
            continue
        _refuse_unnamed(parameter, task)
        if _is_context(annotation):
            if context is not None:
                raise InvalidOptions(
                    f"task {task!r} asks for the Context twice: {context} and {parameter.name}"
                )
            context = parameter.name
            continue
        names.append(parameter.name)
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            positional.append(parameter.name)
        annotations[parameter.name] = annotation
        if parameter.default is not parameter.empty:
            defaults[parameter.name] = parameter.default
            if parameter.default is None:
                annotations[parameter.name] = Union[annotation, None]  # noqa: UP007 (annotations of any kind)
    return Parameters(
        task=task,
        names=tuple(names),
        positional=tuple(positional),
        annotations=annotations,
        defaults=defaults,
        extra=extra,
        context=context,
    )


def _resolved_hints(function: Callable[..., Any], task: str) -> dict[str, Any]:
    plain = inspect.unwrap(function)
    try:
        annotations = dict(plain.__annotations__)
        annotations.pop("return", None)

        def carrier() -> None: ...

        carrier.__annotations__ = annotations
        return typing.get_type_hints(carrier, globalns=plain.__globals__, include_extras=True)
    except NameError as error:
        raise InvalidOptions(
            f"task {task!r}: an annotation of its parameters can't be resolved ({error}). Define or import the type at "
            "the top of the module, above the task and not under `if TYPE_CHECKING`"
        ) from None


def _refuse_unnamed(parameter: inspect.Parameter, task: str) -> None:
    if parameter.kind is parameter.VAR_POSITIONAL:
        raise InvalidOptions(
            f"task {task!r} takes *{parameter.name}, but arguments are stored by name: take a list instead"
        )
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise InvalidOptions(
            f"task {task!r}: {parameter.name} is positional-only, but arguments are stored by name: remove the `/`"
        )


def _is_context(annotation: Any) -> bool:
    """Return whether an annotation is `Context`, ``Context | None`` or a class below it."""
    if isinstance(annotation, UnionType) or typing.get_origin(annotation) is Union:
        return any(_is_context(part) for part in typing.get_args(annotation))
    if not isinstance(annotation, type):
        return False
    return any(
        (base.__module__, base.__qualname__) == ("faena.context", "Context") for base in annotation.__mro__
    )


class Arguments:
    """Turns a task's arguments into JSON and back. The pydantic schema is built at the first use."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def dump(self, arguments: Mapping[str, object]) -> bytes:
        """Return the arguments, with the defaults of those left out, as a JSON object; raise `InvalidArguments`."""
        try:
            values = self._adapter.validate_python({**self._stored_defaults, **arguments})
        except self._invalid as error:
            raise self._refused(error) from None
        return self._dump_checked(values)

    def adopt(self, body: bytes) -> bytes:
        """Check arguments that came as JSON; return them as `dump` would have written them."""
        values = self.load(body)
        return self._dump_checked({**self._stored_defaults, **values})

    def load(self, body: bytes) -> dict[str, Any]:
        """Return the Python values of arguments that came as JSON; raise `InvalidArguments`."""
        try:
            return typing.cast("dict[str, Any]", self._adapter.validate_json(body))
        except self._invalid as error:
            raise self._refused(error) from None

    def name_positional(self, values: Sequence[object], named: Mapping[str, object]) -> dict[str, object]:
        """Return all arguments by name; raise `InvalidArguments` for too many, or one that is given twice."""
        taken = self.parameters.positional
        if len(values) > len(taken):
            message = f"at most {len(taken)} arguments can be given without their name, not {len(values)}"
            raise InvalidArguments(self.parameters.task, [_fault("arguments", message)])
        by_name = dict(zip(taken, values, strict=False))
        twice = [name for name in by_name if name in named]
        if twice:
            faults = [_fault(name, "given twice: by its position and by its name") for name in twice]
            raise InvalidArguments(self.parameters.task, faults)
        return {**by_name, **named}

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the arguments."""
        schema = self._adapter.json_schema()
        for name, default in self._json_defaults().items():
            schema["properties"][name]["default"] = default
        return schema

    def _dump_checked(self, given: Mapping[str, Any]) -> bytes:
        """Return values as JSON that reads back as the same values. The same values give the same bytes: a store
        compares them to tell a duplicate from a conflict."""
        from pydantic_core import PydanticSerializationError

        names = self.parameters.names
        values = {name: given[name] for name in names if name in given}
        values |= {name: given[name] for name in sorted(set(given) - set(names))}
        try:
            body = self._serializer.to_json(values, by_alias=True, warnings="error")
        except PydanticSerializationError:
            raise InvalidArguments(self.parameters.task, self._unserializable(values)) from None
        again = self.load(body)
        if again != values:
            changed = [name for name in values if not _same(again.get(name), values[name])]
            if changed:
                raise InvalidArguments(self.parameters.task, [_fault(name, _CHANGED) for name in changed])
        return body

    def _unserializable(self, values: Mapping[str, Any]) -> list[Fault]:
        from pydantic_core import PydanticSerializationError

        faults = []
        for name, value in values.items():
            try:
                self._serializer.to_json({name: value}, by_alias=True, warnings="error")
            except PydanticSerializationError as error:
                faults.append(_fault(name, f"it can't be stored as JSON: {error}"))
        return faults

    def _refused(self, error: ValidationError) -> InvalidArguments:
        accepted = ", ".join(self.parameters.names) or "none"
        faults: list[Fault] = []
        for found in error.errors(include_url=False, include_context=False, include_input=False):
            where = ".".join(str(part) for part in found["loc"]) or "arguments"
            message = found["msg"]
            if found["type"] == "extra_forbidden" and len(found["loc"]) == 1:
                message = f"not an argument of this task; it takes: {accepted}"
            elif found["type"] == "missing" and len(found["loc"]) == 1:
                message = "missing"
            faults.append({"where": where, "message": message, "type": found["type"]})
        return InvalidArguments(self.parameters.task, faults)

    @functools.cached_property
    def _invalid(self) -> type[ValidationError]:
        from pydantic import ValidationError

        return ValidationError

    @functools.cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        from pydantic import PydanticUserError, TypeAdapter

        parameters = self.parameters
        try:
            return TypeAdapter(_typed_dict(parameters))
        except PydanticUserError as error:
            raise InvalidOptions(
                f"task {parameters.task!r} has a parameter of a type that can't be stored as JSON: {error.message}"
            ) from error

    @functools.cached_property
    def _serializer(self) -> SchemaSerializer:
        """The adapter's own forgets the configuration of a TypedDict's bytes."""
        from pydantic_core import SchemaSerializer

        return SchemaSerializer(self._adapter.core_schema, _CONFIG)

    @functools.cached_property
    def _stored_defaults(self) -> dict[str, Any]:
        """The defaults that can be stored. Of the others the function's own comes in when it runs."""
        defaults = self.parameters.defaults
        if not defaults or self._storable(defaults):
            return defaults
        return {name: default for name, default in defaults.items() if self._storable({name: default})}

    def _storable(self, defaults: Mapping[str, object]) -> bool:
        """Return whether defaults come back from JSON as they are (one may not even be of its parameter's type)."""
        annotations = {name: self.parameters.annotations[name] for name in defaults}
        names = tuple(defaults)
        probe = Arguments(
            Parameters(
                task=self.parameters.task, names=names, positional=names, annotations=annotations, defaults={}
            )
        )
        try:
            return probe.load(probe.dump(defaults)) == defaults
        except InvalidArguments:
            return False

    def _json_defaults(self) -> dict[str, Any]:
        import json

        body = self._serializer.to_json(self._stored_defaults, by_alias=True)
        return typing.cast("dict[str, Any]", json.loads(body))


def _typed_dict(parameters: Parameters) -> type[Any]:
    import typing_extensions

    make: Any = typing_extensions.TypedDict
    fields = {
        name: typing.NotRequired[annotation] if name in parameters.defaults else annotation
        for name, annotation in parameters.annotations.items()
    }
    typed_extra = {} if parameters.extra in (None, Any) else {"extra_items": parameters.extra}
    made: type[Any] = make(parameters.task, fields, **typed_extra)
    extra = "forbid" if parameters.extra is None else "allow"
    made.__pydantic_config__ = {"extra": extra, **_CONFIG}
    return made


def _fault(where: str, message: str) -> Fault:
    return {"where": where, "message": message, "type": "invalid"}


def _same(one: object, other: object) -> bool:
    if one == other:
        return True
    if isinstance(one, float) and isinstance(other, float):
        return one != one and other != other  # both are not a number
    return type(one) is type(other) and type(one).__eq__ is object.__eq__
