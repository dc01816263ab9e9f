"""The line that says in words what should move: what was understood of it fills the form, and is shown as chips."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import BadInput
from ..formatting import html
from .form import default_of
from .groups import Kinds, groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PLACEHOLDER = "Slow push in, hold the background, clouds drift left"


class Understood(Protocol):
    """What ``steering.words`` makes of a text."""

    @property
    def chips(self) -> Sequence[Any]: ...
    @property
    def values(self) -> Mapping[str, Any]: ...
    @property
    def unknown(self) -> Sequence[Any]: ...


def _recipe() -> Callable[..., Understood] | None:
    try:
        words = import_module("svd_ui.steering.words")
    except ModuleNotFoundError:
        return None
    return words.recipe  # type: ignore[no-any-return]


RECIPE = _recipe()
"""None where nothing here understands words: then the page has no such line."""


def understood(text: str, without: Collection[int] = ()) -> Understood:
    """Raises BadInput on ``say`` where the text is too long."""
    assert RECIPE is not None
    try:
        return RECIPE(text, without=without)
    except ValueError as error:
        said = str(error)
        raise BadInput(f"{said[:1].upper()}{said[1:]}.", field="say") from error


def values_of(recipe: Understood) -> dict[str, Any]:
    """What a recipe sets, as the form's controls: of a method no more than what was said, so that marks stay."""
    values = dict(recipe.values)
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
    return {name: value for name, value in {**gone, **after}.items() if name in values}


def chips(recipe: Understood) -> str:
    """What was understood, each to be taken out again, and what was not."""
    return html("animate/spoken", chips=recipe.chips, unknown=[str(one) for one in recipe.unknown])
