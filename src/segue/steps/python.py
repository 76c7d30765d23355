"""Python functions as actions: `@segue.action("crm.enrich")` on a function makes it usable by that name in any flow.

The function's signature is the contract: parameters are converted to the annotated types and checked before it is
called (msgspec's conversion: dataclasses, enums, dates, structs, nested containers), and their JSON Schema is derived
from them, and that of the result from what it is annotated to return, so that `$step.field` is checked before a run.
A parameter annotated `AttemptContext` gets the facts of the attempt. Plain functions run in a thread,
`async` ones on the event loop. What it returns must be JSON or convertible to it; what it raises fails the attempt.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import sys
import typing
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from segue.engine.port import Action, AttemptContext, Effect
from segue.errors import TerminalError

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)
_BUILTINS = frozenset((dict, list, str, int, float, bool, type(None)))


@dataclass(frozen=True, slots=True)
class _Signature:
    """How a function is called: the struct of its parameters, and where it wants the context."""

    struct: type[msgspec.Struct]
    context_name: str | None
    open_ended: bool
    """It takes any further parameters (`**kwargs`)."""
    plain: bool
    """All parameters are of any type: nothing to convert."""


def python_action(
    function: Function,
    *,
    name: str | None = None,
    effect: Effect = "keyed",
    description: str | None = None,
    threads: Callable[[], ThreadPoolExecutor | None] = lambda: None,
) -> Action:
    """The action of a function. Raises TypeError if its signature cannot be an action's (positional-only, `*args`).

    `effect` says whether it may be called again after a crash (`segue.engine.port.Effect`); `threads` gives the pool
    for plain functions (None: the event loop's own).
    """
    called = name or function.__name__
    signature = _signature_of(function, called)
    is_async = inspect.iscoroutinefunction(function)

    async def run(params: dict[str, Any], context: AttemptContext) -> Any:
        arguments = _arguments(signature, called, params)
        if signature.context_name is not None:
            arguments[signature.context_name] = context
        if is_async:
            return _as_builtins(await function(**arguments))
        loop = asyncio.get_running_loop()
        # In the attempt's context, so that its log lines tell the run and hide its secrets.
        call = partial(copy_context().run, partial(function, **arguments))
        return _as_builtins(await loop.run_in_executor(threads(), call))

    return Action(
        name=called,
        run=run,
        effect=effect,
        description=description or inspect.getdoc(function) or "",
        params_schema=_schema(signature),
        result_schema=_result_schema(_hints(function).get("return", Any)),
        retry_unclassified=True,
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """What `@action` notes on a function for whoever registers the module's actions."""

    name: str
    effect: Effect


def action(name: str | None = None, *, effect: Effect = "keyed") -> Callable[[F], F]:
    """Mark a function of a module as an action: `@action("crm.enrich")`. `actions_of(module)` finds it.

    It registers nothing by itself, so that importing a module changes no engine.
    """

    def mark(function: F) -> F:
        function.__segue_action__ = Mark(name or function.__name__, effect)  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return mark


def actions_of(module: ModuleType, *, threads: Callable[[], ThreadPoolExecutor | None] = lambda: None) -> list[Action]:
    """The actions that a module's functions are marked as, in the order of their definition."""
    found: list[Action] = []
    for value in vars(module).values():
        mark = getattr(value, "__segue_action__", None)
        if isinstance(mark, Mark):
            found.append(python_action(value, name=mark.name, effect=mark.effect, threads=threads))
    return found


def _signature_of(function: Function, name: str) -> _Signature:
    hints = _hints(function)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    context_name, open_ended, plain = None, False, True
    for parameter in inspect.signature(function).parameters.values():
        annotation = hints.get(parameter.name, Any)
        if annotation is AttemptContext:
            context_name = parameter.name
        elif parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise TypeError(
                f"{name}: parameter {parameter.name!r} cannot be given by name; actions get their parameters by name"
            )
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, annotation))
            plain = plain and annotation is Any
        else:
            fields.append((parameter.name, annotation, msgspec.field(default_factory=lambda p=parameter: p.default)))
            plain = plain and annotation is Any
    struct = msgspec.defstruct(f"{name} parameters", fields, kw_only=True, forbid_unknown_fields=not open_ended)
    return _Signature(struct, context_name, open_ended, plain)


def _hints(function: Function) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        # Annotations that only a type checker can resolve: parameters are then passed as they are.
        return {}


def _arguments(signature: _Signature, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    struct = signature.struct
    try:
        converted = msgspec.convert(params, struct)
    except msgspec.ValidationError as error:
        raise TerminalError(f"{name}: {error}", category="validation", code="invalid_params") from error
    if len(params) == len(struct.__struct_fields__) and not signature.open_ended:
        return msgspec.structs.asdict(converted)
    arguments = {field: getattr(converted, field) for field in struct.__struct_fields__ if field in params}
    if signature.open_ended:
        arguments.update({key: value for key, value in params.items() if key not in arguments})
    return arguments


def _as_builtins(value: Any) -> Any:
    """Models that know how to say themselves as JSON (pydantic) do; the rest is the engine's to encode."""
    if type(value) in _BUILTINS:
        return value
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else value


def _schema(signature: _Signature) -> dict[str, Any] | None:
    try:
        return _unfolded(msgspec.json.schema(signature.struct))
    except (TypeError, ValueError):
        return None


def _result_schema(annotation: Any) -> dict[str, Any] | None:
    """The JSON Schema of what a function says it returns; None if it says nothing that a schema could tell.

    A dataclass or struct has no fields but its own; of a `TypedDict` or a model more may come.
    """
    if annotation is Any or annotation is object or annotation is type(None):
        return None
    try:
        schema = _unfolded(msgspec.json.schema(annotation))
    except (TypeError, ValueError):
        return _model_schema(annotation)
    is_record = dataclasses.is_dataclass(annotation) or _is_struct(annotation)
    if is_record and schema.get("type") == "object":
        schema["additionalProperties"] = False
    return schema or None


def _is_struct(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def _model_schema(annotation: Any) -> dict[str, Any] | None:
    """Of a pydantic model, or of a container of some. Nobody returns one whose process has not imported pydantic."""
    pydantic: Any = sys.modules.get("pydantic")
    if pydantic is None:
        return None
    try:
        return _unfolded(pydantic.TypeAdapter(annotation).json_schema(mode="serialization"))
    except pydantic.errors.PydanticUserError:
        # A type that pydantic has no schema for either: the result is then not described.
        return None


def _unfolded(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its root in place of a reference to it; definitions that are still used stay."""
    definitions = dict(schema.get("$defs", {}))
    reference = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if reference in definitions:
        own: dict[str, Any] = dict(definitions[reference])
        if f'"#/$defs/{reference}"' not in json.dumps(definitions):
            del definitions[reference]
    else:
        own = {key: value for key, value in schema.items() if key != "$defs"}
    own.pop("title", None)
    if definitions:
        own["$defs"] = definitions
    return own
