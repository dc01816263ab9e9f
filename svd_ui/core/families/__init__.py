"""What a kind of checkpoint computes differently, in torch; its plain facts are in ``svd_ui.catalog.families``."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from ...catalog.families import family_of

if TYPE_CHECKING:
    from ...catalog import CheckpointRow
    from .svd import FamilyVerbs


def verbs_of(row: CheckpointRow) -> FamilyVerbs:
    """The torch half of the family that ``row`` names."""
    return _imported(family_of(row).verbs)


@cache
def _imported(place: str) -> FamilyVerbs:
    module, _, name = place.partition(":")
    return cast("FamilyVerbs", getattr(import_module(module), name)())
