"""Command line flags made from the fields of a request: name, help, range and default live there only."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..errors import BadInput
from ..migration import old_names
from ..plugins import Params, Registry, registry_of
from ..request import GenerationRequest

PANEL = "The request"


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def with_field_flags(model: type[BaseModel]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's ``**fields`` by one option per field of ``model``, for typer to see.

    All are None unless given, so that presets and checkpoints can fill what was not. Names that a field once had are
    options too, which the help leaves out.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        fresh = [*own, *_all_parameters(model)]
        command.__signature__ = signature.replace(parameters=fresh)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in fresh} | {"return": None}
        return command

    return decorate


def _all_parameters(model: type[BaseModel]) -> list[inspect.Parameter]:
    fields = model.model_fields
    now = [one for name, info in fields.items() for one in _parameters(name, info)]
    then = [one for old, name in old_names(model).items() for one in _parameters(old, fields[name])]
    for parameter in then:
        _, option = get_args(parameter.annotation)
        option.hidden = True
    return [*now, *then]


def today(model: type[BaseModel], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What the options say under today's names, blank ones left out, and a remark on each old name that was used."""
    found = {name: value for name, value in given.items() if value is not None and value != []}
    remarks = []
    for old, name in old_names(model).items():
        used = {key: value for key, value in found.items() if key.split("__")[0] == old}
        if used:
            remarks.append(f"{flag(old)} is called {flag(name)} now.")
        for key, value in used.items():
            del found[key]
            found.setdefault(f"{name}{key.removeprefix(old)}", value)
    return found, remarks


def values(given: dict[str, Any]) -> dict[str, Any]:
    """What the flags say (``today``), as request values; structured fields are read from a kind, JSON or flags of their own."""
    found: dict[str, Any] = {}
    for name, info in GenerationRequest.model_fields.items():
        registry = registry_of(info)
        if registry is not None:
            found |= _chosen(name, registry, given)
            continue
        inner = _switched(info)
        parts = {part: _part(name, part, given[key]) for part in inner if (key := f"{name}__{part}") in given}
        if parts or (inner and given.get(name)):
            found[name] = parts
        elif name in given and not inner:
            found[name] = _value(name, given[name])
    return found


def _chosen(name: str, registry: Registry[Any], given: dict[str, Any]) -> dict[str, Any]:
    """A field of kinds: what ``--method camera`` names, with what ``--camera.zoom`` and ``--camera "zoom=1"`` set.

    A parameter that is set chooses its kind. Raises BadInput where two methods are asked for.
    """
    several = get_origin(GenerationRequest.model_fields[name].annotation) is tuple
    value = _value(name, given[name]) if name in given else ()
    entries: list[dict[str, Any]] = [dict(one) for one in (value if several or value == () else [value])]
    for kind, cls in registry.classes().items():
        parts = _pairs(kind, given.get(f"{name}__{kind}", ""))
        parts |= {part: given[key] for part in _own(cls) if (key := f"{name}__{kind}__{part}") in given}
        if parts:
            entry = next((one for one in entries if one.get("kind") == kind), None)
            entries = entries if entry is not None else [*entries, {"kind": kind}]
            (entry or entries[-1]).update(parts)
    if len(entries) > 1 and not several:
        names = " and ".join(str(one.get("kind")) for one in entries)
        raise BadInput(f"A clip has one {name}: {names} were asked for.", field=name)
    return {name: tuple(entries) if several else entries[0]} if entries else {}


def _pairs(kind: str, text: str) -> dict[str, str]:
    """``zoom=1.2,pan=left`` => values by name. Raises BadInput for anything else."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not equals for _, equals, _ in pairs):
        raise BadInput(f"{flag(kind)} takes name=value pairs with commas between; {text!r} is none.")
    return {part.strip(): value.strip() for part, _, value in pairs}


def _own(cls: type[BaseModel]) -> dict[str, FieldInfo]:
    """The parameters of a kind."""
    return {part: info for part, info in cls.model_fields.items() if part != "kind"}


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
    """``plain`` -> {"kind": "plain"}; ``name:0.8`` -> the first two fields of what has no kind; JSON as it is."""
    if not text.lstrip().startswith(("{", "[")):
        if any("kind" in model.model_fields for model in models):
            return {"kind": text}
        return dict(zip(models[0].model_fields, text.split(":", 1), strict=False))
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInput(f"{flag(name)} is neither a kind nor JSON: {error}.", field=name) from error


def _parameters(name: str, info: FieldInfo) -> list[inspect.Parameter]:
    """One option; of a switched model, the switch and an option for each of its fields, named by their titles.

    A field of kinds has ``--camera.zoom`` for every parameter of a kind, and ``--camera`` for several in one text.
    """
    registry = registry_of(info)
    if registry is not None:
        return [
            option_of(name, info),
            *(one for kind, cls in registry.classes().items() for one in _of_kind(name, kind, cls)),
        ]
    inner = _switched(info)
    if not inner:
        return [option_of(name, info)]
    parts = [
        _parameter(f"{name}__{part}", f"{flag(name)}-{(of.title or part).lower()}", _part_type(of), of)
        for part, of in inner.items()
    ]
    return [_parameter(name, flag(name), bool, info), *parts]


def _of_kind(name: str, kind: str, cls: type[Params]) -> list[inspect.Parameter]:
    own = _own(cls)
    parts = [
        _parameter(f"{name}__{kind}__{part}", f"{flag(kind)}.{part.replace('_', '-')}", _plain_type(of.annotation), of)
        for part, of in own.items()
    ]
    if not own or kind in GenerationRequest.model_fields:
        return parts
    about = FieldInfo(annotation=str, default=None, title=cls.title(), description=cls.summary())
    return [_parameter(f"{name}__{kind}", flag(kind), str, about, metavar="NAME=VALUE,..."), *parts]


def option_of(name: str, info: FieldInfo) -> inspect.Parameter:
    """One option for one field; a union of models or a tuple of them is text, a yes or no a pair of switches."""
    kind = _plain_type(info.annotation)
    option = f"{flag(name)}/--no-{flag(name)[2:]}" if kind is bool else flag(name)
    return _parameter(name, option, kind, info)


def _parameter(name: str, option: str, kind: Any, info: FieldInfo, metavar: str | None = None) -> inspect.Parameter:
    declared = typer.Option(
        option,
        help=_help(info),
        show_default=False,
        rich_help_panel=PANEL,
        metavar=metavar or (None if kind is bool else _metavar(info)),
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, declared]
    )


def _switched(info: FieldInfo) -> dict[str, FieldInfo]:
    """The fields of a model that is there or not, and has no kinds to choose from, such as a wall."""
    inner = _without_none(info.annotation)
    is_model = isinstance(inner, type) and issubclass(inner, BaseModel)
    return inner.model_fields if is_model and info.default is None and "kind" not in inner.model_fields else {}


def _part_type(info: FieldInfo) -> Any:
    """Several numbers are one text, such as ``40,127,200``."""
    return str if get_origin(info.annotation) is tuple else info.annotation


def _part(name: str, part: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return [int(number) for number in value.split(",")]
    except ValueError as error:
        info = _switched(GenerationRequest.model_fields[name])[part]
        raise BadInput(f"{info.title} are whole numbers with commas between; {value!r} is not.", field=name) from error


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
    registry = registry_of(info)
    if registry is not None:
        return f"{'|'.join(registry.classes())}|JSON"
    models, inner = _models(info.annotation), _without_none(info.annotation)
    if models:
        return "KIND|JSON"
    if get_origin(inner) is tuple:
        return "N,N,..."
    if get_origin(inner) is Literal:
        return "|".join(str(choice) for choice in get_args(inner))
    return None


def _help(info: FieldInfo) -> str:
    """``Motion: How much moves ... (1 to 255; default 127)``."""
    limits = {type(item).__name__: item for item in info.metadata}
    low, high = getattr(limits.get("Ge"), "ge", None), getattr(limits.get("Le"), "le", None)
    notes = [f"{low} to {high}"] if low is not None and high is not None else []
    if isinstance(info.default, tuple) and info.default:
        notes.append(f"default {','.join(map(str, info.default))}")
    elif not info.is_required() and info.default is not None and not isinstance(info.default, BaseModel | tuple):
        notes.append(f"default {info.default}")
    tail = f" ({'; '.join(notes)})" if notes else ""
    return f"{info.title}: {info.description}{tail}"
