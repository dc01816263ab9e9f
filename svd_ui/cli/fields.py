"""Command line flags made from the fields of ``GenerationRequest``: name, help, range and default live there only."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..errors import BadInput
from ..request import GenerationRequest

PANEL = "The request"


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def parameters() -> list[inspect.Parameter]:
    """One option per field, all None unless given, so that presets and checkpoints can fill what was not."""
    return [_parameter(name, info) for name, info in GenerationRequest.model_fields.items()]


def with_field_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's ``**fields`` by one option per request field, for typer to see."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    fresh = [*own, *parameters()]
    command.__signature__ = signature.replace(parameters=fresh)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in fresh} | {"return": None}
    return command


def values(given: dict[str, Any]) -> dict[str, Any]:
    """What the flags say, as request values; structured fields are read from a kind or JSON."""
    return {name: _value(name, value) for name, value in given.items() if value is not None and value != []}


def _value(name: str, value: Any) -> Any:
    info = GenerationRequest.model_fields[name]
    models = _models(info.annotation)
    if not models:
        return value
    if isinstance(value, list):
        items = [_item(name, text, models) for text in value]
        return tuple(inner for item in items for inner in (item if isinstance(item, list) else [item]))
    return _item(name, value, models)


def _item(name: str, text: str, models: tuple[type[BaseModel], ...]) -> Any:
    """``plain`` -> {"kind": "plain"}; JSON as it is."""
    if not text.lstrip().startswith(("{", "[")):
        key = "kind" if any("kind" in model.model_fields for model in models) else next(iter(models[0].model_fields))
        return {key: text}
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInput(f"{flag(name)} is neither a kind nor JSON: {error}.", field=name) from error


def _parameter(name: str, info: FieldInfo) -> inspect.Parameter:
    kind = _plain_type(info.annotation)
    # A switch would need --no-...; a union of models or a tuple of them is text.
    option = typer.Option(
        flag(name), help=_help(info), show_default=False, rich_help_panel=PANEL, metavar=_metavar(info)
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _plain_type(annotation: Any) -> Any:
    """What typer reads from the command line for a field."""
    models, inner = _models(annotation), _without_none(annotation)
    if get_origin(inner) is tuple:
        return list[str]
    if models or get_origin(inner) is Literal or inner not in (int, float, str, bool):
        return str
    return inner


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        return _without_none(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _models(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The params classes a field may hold, in any nesting of unions, tuples and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(model for part in get_args(annotation) for model in _models(part))


def _metavar(info: FieldInfo) -> str | None:
    models, inner = _models(info.annotation), _without_none(info.annotation)
    if models:
        return "KIND|JSON"
    if get_origin(inner) is Literal:
        return "|".join(str(choice) for choice in get_args(inner))
    return None


def _help(info: FieldInfo) -> str:
    """``Motion: How much moves ... (1 to 255; default 127)``."""
    limits = {type(item).__name__: item for item in info.metadata}
    low, high = getattr(limits.get("Ge"), "ge", None), getattr(limits.get("Le"), "le", None)
    notes = [f"{low} to {high}"] if low is not None and high is not None else []
    if info.default is not None and not isinstance(info.default, BaseModel | tuple):
        notes.append(f"default {info.default}")
    tail = f" ({'; '.join(notes)})" if notes else ""
    return f"{info.title}: {info.description}{tail}"
