"""The line that says in words what should move: what was understood of it fills the form, and is shown as chips."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...errors import BadInput
from ...steering.words import Recipe, recipe
from ..formatting import html
from .form import default_of, looped
from .groups import Kinds, groups

PLACEHOLDER = "Slow push in, hold the background, clouds drift left"


def understood(text: str, without: Collection[int] = ()) -> Recipe:
    """Raises BadInput on ``say`` where the text is too long."""
    try:
        return recipe(text, without=without)
    except ValueError as error:
        said = str(error)
        raise BadInput(f"{said[:1].upper()}{said[1:]}.", field="say") from error


def values_of(said: Recipe) -> dict[str, Any]:
    """What a recipe sets, as the form's controls: of a method no more than what was said, so that marks stay."""
    values = dict(said.values)
    for group in groups():
        if not isinstance(group, Kinds) or group.several or group.field not in values:
            continue
        given = dict(values.pop(group.field))
        kind = given.pop("kind")
        values |= {group.field: kind, **{f"{group.field}.{kind}.{name}": value for name, value in given.items()}}
    return values


def changes(before: Mapping[str, Any], after: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The form's way from one recipe to the next: what is not said any more goes back, unless the visitor has changed it."""
    gone = {name: default_of(name) for name in before if name not in after and values.get(name) == before[name]}
    changed = {name: value for name, value in {**gone, **after}.items() if name in values}
    return {**looped(changed["method"], values), **changed} if "method" in changed else changed


def chips(said: Recipe) -> str:
    """What was understood, each to be taken out again, and what was not."""
    return html("animate/spoken", chips=said.chips, unknown=[str(one) for one in said.unknown])
