"""Kinds of checkpoints: the only place that knows what one kind does differently, without torch.

The other half of a family, what it computes, is in ``core/families/``. A package adds a family of its own, and rows of
the catalogue, through the entry point group ``svd_ui.checkpoints``: ``docs/extending.md`` shows how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import BadInput
from ...plugins import CHECKPOINTS, load
from .consistency import Consistency
from .svd import CheckpointFamily, Svd
from .warp import Warp

if TYPE_CHECKING:
    from ..checkpoint import CheckpointRow

__all__ = ["CheckpointFamily", "family_of", "fields_with_words", "register"]

_FAMILIES: dict[str, CheckpointFamily] = {family.id: family for family in (Svd(), Consistency(), Warp())}


def register(family: CheckpointFamily) -> None:
    """Make ``family`` known under its id. Raises ValueError where that is taken."""
    taken = _FAMILIES.setdefault(family.id, family)
    if taken is not family:
        raise ValueError(f"the family {family.id!r} is taken by {type(taken).__module__}")


def family_of(row: CheckpointRow) -> CheckpointFamily:
    """The family that ``row`` names. Raises BadInput where no installed package knows it."""
    if row.family not in _FAMILIES:
        load(CHECKPOINTS)
    try:
        return _FAMILIES[row.family]
    except KeyError:
        detail = f"{row.title} is of the family {row.family!r}, which no installed package knows."
        raise BadInput(detail, field="checkpoint") from None


def fields_with_words() -> set[str]:
    """The fields of a request of which some family has its own label or help."""
    return {name for family in _FAMILIES.values() for name in (*family.labels, *family.help)}
