"""Command line flags made from the fields of a request: name, help, range and default live there only."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..asset_ref import holds_pictures
from ..errors import BadInput
from ..migration import old_names
from ..plugins import Params, Registry, registry_of
from ..request import GenerationRequest
from ..validation import FieldFacts

PANEL = "The request"
SECONDS = "seconds"
"""A parameter of that name is a duration: 8, or 8s."""
ALSO = {"--loras": ("--lora",)}
"""An option that is given once for each of several is also found under the word for one."""


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
    """What the flags say (``today``), as request values; structured fields are read from a kind, JSON or flags of their own.

    LoRAs stay as they were typed: only the names of those there are tell where a name ends (``runner.request_of``).
    """
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
    """A field of kinds: what ``--method camera`` names, with what ``--camera.parallax`` and ``--camera "zoom=1"`` set.

    A flag of a kind chooses it. Raises BadInput where two methods are asked for.
    """
    several = FieldFacts.of(GenerationRequest.model_fields[name]).several
    value = _value(name, given[name]) if name in given else ()
    entries: list[dict[str, Any]] = [dict(one) for one in (value if several or value == () else [value])]
    for kind, cls in registry.classes().items():
        short = given.get(f"{name}__{kind}")
        parts = _short(kind, cls, short)
        parts |= {part: given[key] for part in _own(cls) if (key := f"{name}__{kind}__{part}") in given}
        if isinstance(parts.get(SECONDS), str):
            parts[SECONDS] = _seconds(parts[SECONDS])
        if parts or short:
            entry = next((one for one in entries if one.get("kind") == kind), None)
            entries = entries if entry is not None else [*entries, {"kind": kind}]
            (entry or entries[-1]).update(parts)
    if len(entries) > 1 and not several:
        names = " and ".join(str(one.get("kind")) for one in entries)
        raise BadInput(f"A clip has one {name}: {names} were asked for.", field=name)
    return {name: tuple(entries) if several else entries[0]} if entries else {}


def _short(kind: str, cls: type[Params], given: Any) -> dict[str, Any]:
    """What the flag of a kind's name alone sets; nothing where it was a bare switch, or is not there.

    Pairs whose names are all parameters of the kind mean those; any other text is the value of the kind's shorthand.
    """
    if not isinstance(given, str):
        return {}
    pairs = _pairs(given)
    if cls.shorthand is None:
        if pairs is None:
            raise BadInput(f"{flag(kind)} takes name=value pairs with commas between; {given!r} is none.")
        return dict(pairs)
    by_name = pairs is not None and set(pairs) <= _own(cls).keys()
    return dict(pairs) if pairs and by_name else {cls.shorthand: given.strip()}


def _pairs(text: str) -> dict[str, str] | None:
    """``mask=a.png,effect=water`` => values by name; None for any other text."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return (
        None if any(not equals for _, equals, _ in pairs) else {part.strip(): value.strip() for part, _, value in pairs}
    )


def _seconds(text: str) -> str:
    """``8s`` => ``8``; anything else as it is, for ``validate`` to judge."""
    found = re.fullmatch(r"\s*([\d.]+)\s*(?:s|sec|seconds?)?\s*", text)
    return found[1] if found else text


def picture_flag(kind: str, name: str) -> str:
    """How a person gives a picture of a kind: ``--end-frame``, ``--camera.depth``."""
    registries = (registry_of(info) for info in GenerationRequest.model_fields.values())
    cls = next((registry.classes()[kind] for registry in registries if registry and kind in registry.classes()), None)
    return flag(kind) if cls is not None and cls.shorthand == name else f"{flag(kind)}.{name.replace('_', '-')}"


def _own(cls: type[BaseModel]) -> dict[str, FieldInfo]:
    """The parameters of a kind."""
    fields: dict[str, FieldInfo] = cls.model_fields
    return {part: info for part, info in fields.items() if part != "kind"}


def _value(name: str, value: Any) -> Any:
    model = FieldFacts.of(GenerationRequest.model_fields[name]).model
    if model is None:
        return value
    if isinstance(value, list):
        items = [_item(name, text, model) for text in value]
        return tuple(inner for item in items for inner in (item if isinstance(item, list) else [item]))
    return _item(name, value, model)


def _item(name: str, text: str, model: type[BaseModel]) -> Any:
    """``plain`` -> {"kind": "plain"}; JSON as it is; what has no kind as it was typed, for who knows the names."""
    kinds = "kind" in model.model_fields
    if not text.lstrip().startswith(("{", "[")):
        return {"kind": text} if kinds else text
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        if kinds:
            raise BadInput(f"{flag(name)} is neither a kind nor JSON: {error}.", field=name) from error
        return text
    entries = data if isinstance(data, list) else [data]
    return data if kinds or all(isinstance(entry, dict) for entry in entries) else text


def _parameters(name: str, info: FieldInfo) -> list[inspect.Parameter]:
    """One option; of a switched model, the switch and an option for each of its fields, named by their titles.

    A field of kinds has ``--camera.parallax`` for every parameter of a kind, and ``--camera`` for what its name alone sets
    (``Params.shorthand``). A yes or no is a pair of switches.
    """
    inner = _switched(info)
    if inner:
        parts = [
            _parameter(f"{name}__{part}", f"{flag(name)}-{(of.title or part).lower()}", of, _one_text(of))
            for part, of in inner.items()
        ]
        return [_parameter(name, flag(name), info, bool), *parts]
    kind = _typed(info)
    registry = registry_of(info)
    kinds = registry.classes().items() if registry is not None else ()
    option = f"{flag(name)}/--no-{flag(name)[2:]}" if kind is bool else flag(name)
    panel = str(info.title)
    inside = (one for named, cls in kinds for one in _of_kind(name, named, cls, panel))
    return [_parameter(name, option, info, kind), *inside]


def _of_kind(name: str, kind: str, cls: type[Params], panel: str) -> list[inspect.Parameter]:
    """The kind's own flag, and one for each parameter; that of its shorthand works too, but the help says it once."""
    own = _own(cls)
    parts = [
        _parameter(f"{name}__{kind}__{part}", _part_flag(kind, part, of), of, _part_type(part, of), panel=panel)
        for part, of in own.items()
    ]
    if not own or kind in GenerationRequest.model_fields:
        return parts
    for parameter in parts:
        if parameter.name == f"{name}__{kind}__{cls.shorthand}":
            _, option = get_args(parameter.annotation)
            option.hidden = True
    short = own.get(cls.shorthand or "")
    said = f"{cls.summary()} {_described(short)}" if short else cls.summary()
    about = FieldInfo(annotation=str, default=None, title=cls.title(), description=said)
    takes, metavar = (bool, None) if cls.shorthand == "" else (str, _short_metavar(cls))
    return [_parameter(f"{name}__{kind}", flag(kind), about, takes, metavar, panel), *parts]


def _part_flag(kind: str, part: str, info: FieldInfo) -> str:
    """``--extend.seconds``; ``--extend.colour-lock/--no-extend.colour-lock`` of a yes or no."""
    name = f"{flag(kind)}.{part.replace('_', '-')}"
    return f"{name}/--no-{name[2:]}" if _typed(info) is bool else name


def _part_type(part: str, info: FieldInfo) -> Any:
    return str if part == SECONDS else _typed(info)


def _short_metavar(cls: type[Params]) -> str:
    """``FILE`` of a mask's flag, ``NAME=VALUE,...`` where only pairs are taken."""
    if not cls.shorthand:
        return "NAME=VALUE,..."
    return _metavar(_own(cls)[cls.shorthand]) or ("SECONDS" if cls.shorthand == SECONDS else "TEXT")


def _parameter(
    name: str, option: str, info: FieldInfo, kind: Any, metavar: str | None = None, panel: str = PANEL
) -> inspect.Parameter:
    declared = typer.Option(
        *ALSO.get(option, ()),
        option,
        help=_help(info),
        show_default=False,
        rich_help_panel=panel,
        metavar=metavar or (None if kind is bool else _metavar(info)),
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, declared]
    )


def _switched(info: FieldInfo) -> dict[str, FieldInfo]:
    """The fields of a model that is there or not, and has no kinds to choose from, such as a wall."""
    facts = FieldFacts.of(info)
    if facts.model is None or facts.several or info.default is not None or "kind" in facts.model.model_fields:
        return {}
    inner: dict[str, FieldInfo] = facts.model.model_fields
    return inner


def _typed(info: FieldInfo) -> Any:
    """What typer reads from the command line for a field: a text for whatever is no number and no yes or no."""
    facts = FieldFacts.of(info)
    if facts.several:
        return list[str]
    return facts.type if facts.type in (int, float, bool) else str


def _one_text(info: FieldInfo) -> Any:
    """The same where several are one text, such as ``40,127,200``."""
    return str if FieldFacts.of(info).several else _typed(info)


def _part(name: str, part: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return [int(number) for number in value.split(",")]
    except ValueError as error:
        info = _switched(GenerationRequest.model_fields[name])[part]
        raise BadInput(f"{info.title} are whole numbers with commas between; {value!r} is not.", field=name) from error


def _metavar(info: FieldInfo) -> str | None:
    registry, facts, pictures = registry_of(info), FieldFacts.of(info), holds_pictures(info)
    if pictures:
        return "FILE" if pictures == "one" else "SHARE=FILE;..."
    if registry is not None:
        return f"{'|'.join(registry.classes())}|JSON"
    if facts.model is not None:
        return ":".join(facts.model.model_fields).upper() + "|JSON"
    return "N,N,..." if facts.several else "|".join(facts.choices) or None


def _help(info: FieldInfo) -> str:
    """``Motion: How much moves ... (1 to 255; default 127)``."""
    return f"{info.title}: {_described(info)}"


def _described(info: FieldInfo) -> str:
    notes, default = [FieldFacts.of(info).range], None if info.is_required() else info.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default)) or None
    if default not in (None, "") and not isinstance(default, BaseModel):
        notes.append(f"default {default}")
    tail = "; ".join(note for note in notes if note)
    return f"{info.description}{f' ({tail})' if tail else ''}"
