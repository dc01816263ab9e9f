"""Values of another release => values of this one: one table of old names, one way to leave out what is not known.

Whatever was written down and may be read by another release goes through ``migrate``: requests of jobs and in the tags
of files, presets, training runs. What people and programs say now goes through ``renamed`` alone (``validation``), so
that old names of the HTTP API, of flags and of what the browser kept still work while a mistyped one is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from .notes import Note
from .plugins import registry_of
from .request import SCHEMA_VERSION

RENAMED: dict[str, dict[str, str]] = {"GenerationRequest": {}, "TrainRequest": {}, "Preset": {}}
"""By model: the name that a field had => the one it has. All there is to do when a field is renamed."""

UPGRADES: dict[str, dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""By model, from each older schema to the next: changed meanings. Additions, removals and renames need none."""


def old_names(model: type[BaseModel]) -> dict[str, str]:
    """The name that a field of ``model`` had => the one it has."""
    return RENAMED.get(model.__name__, {})


def renamed(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` under today's names; where both are given, what stands under today's counts."""
    old = old_names(model)
    return {old.get(name, name): value for name, value in values.items() if old.get(name) not in values}


def migrate(model: type[BaseModel], data: Mapping[str, Any], version: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Stored values of any release as ``model`` accepts them now, and the names of what was dropped.

    Older schemas are upgraded step by step; a newer or unreadable ``version`` is read as far as this one goes. Unknown
    keys (also inside a method or post step), values out of range and kinds whose package is gone are dropped. Never
    raises; what ``model`` requires may be missing.
    """
    current = renamed(model, {str(name): value for name, value in data.items()})
    known = version if isinstance(version, int) else SCHEMA_VERSION
    for step in range(max(1, known), SCHEMA_VERSION):
        current = UPGRADES.get(model.__name__, {}).get(step, dict)(current)
    dropped: list[str] = []
    while faults := culprits(model, current):
        for name, errors in faults.items():
            if not _drop_inside(model.model_fields.get(name), current, name, errors, dropped):
                dropped.append(_called(name, current.pop(name)))
    return current, tuple(dropped)


def left_out(dropped: Iterable[str]) -> tuple[Note, ...]:
    """The note on what was dropped; none for nothing."""
    names = list(dropped)
    return (Note.of("settings_left_out", names=names),) if names else ()


def culprits(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, list[ErrorDetails]]:
    """The fields without which ``values`` are valid or merely incomplete, with what is wrong about each.

    Of two that exclude each other the later is named.
    """
    errors = _errors(model, values)
    found: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        if error["loc"]:
            found.setdefault(str(error["loc"][0]), []).append(error)
    if errors and not found:
        messages = {error["msg"] for error in errors}
        for name in reversed(list(values)):
            rest = {other: value for other, value in values.items() if other != name}
            if not messages & {error["msg"] for error in _errors(model, rest)}:
                return {name: errors}
    return {name: found[name] for name in values if name in found}


def _errors(model: type[BaseModel], values: Mapping[str, Any]) -> list[ErrorDetails]:
    """What is wrong with ``values``, fields that are required and missing left out."""
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        found = error.errors(include_url=False)
        return [one for one in found if one["type"] != "missing" or len(one["loc"]) > 1]
    return []


def _drop_inside(
    info: FieldInfo | None, current: dict[str, Any], name: str, errors: list[ErrorDetails], dropped: list[str]
) -> bool:
    """Take only what is wrong out of a nested value; False where it has to go as a whole.

    Anywhere that is unknown keys; where a kind is chosen also values it does not take, and entries whose kind is gone.
    """
    chosen = info is not None and registry_of(info) is not None
    places = [error["loc"][1:] for error in errors]
    if not all(places) or not all(chosen or error["type"] == "extra_forbidden" for error in errors):
        return False
    named = []
    try:
        for place in reversed(places):
            path = _in_data(current[name], place)
            gone = _at(current[name], path)
            current[name] = _without(current[name], path)
            named.append(_called(name, gone) if chosen and _is_kind(gone) else ".".join(map(str, (name, *path))))
    except (KeyError, IndexError, TypeError):
        return False
    dropped += reversed(named)
    return True


def _called(name: str, value: Any) -> str:
    """How a dropped value is named: by its field, and by its kind where it is one of several."""
    return f"{name} {value['kind']}" if _is_kind(value) else name


def _is_kind(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("kind"), str)


def _in_data(value: Any, place: tuple[Any, ...]) -> tuple[Any, ...]:
    """``place`` without the labels that a union adds to it, which the data does not have."""
    path: list[Any] = []
    for part in place:
        inside = isinstance(value, list | tuple) or (isinstance(value, dict) and part in value)
        if not inside and part is not place[-1]:
            continue
        path.append(part)
        value = value[part]
    return tuple(path)


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    """A copy of ``value`` without what lies at ``path``."""
    part, rest = path[0], path[1:]
    if isinstance(value, list | tuple):
        return [*value[:part], *([_without(value[part], rest)] if rest else []), *value[part + 1 :]]
    kept = {key: inner for key, inner in value.items() if key != part}
    return {**value, part: _without(value[part], rest)} if rest else kept
