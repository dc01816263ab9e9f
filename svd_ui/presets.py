"""Presets: partial requests as data, one JSON file each in ``presets/``.

    {"version": 1, "order": 10, "title": "...", "description": "one line", "aspect": "9:16", "values": {"motion_bucket_id": 60}}

``values`` holds request fields only. ``families`` says, by family of checkpoint, what stands in the place of ``values`` and
``description`` there: ``{"warp": {"description": "...", "values": {...}}}``. ``aspect`` is optional: width and height depend on the checkpoint, so
``size_values`` turns it into them for a given row. ``version`` is the schema of the release that wrote the file: what
this one does not know of it is left out and named. In a file without it, written by hand, that is an error.
"""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from .catalog import CheckpointRow
from .errors import BadInput
from .migration import left_out, migrate, renamed
from .notes import sentence
from .request import Frozen, GenerationRequest
from .settings import REPOSITORY
from .validation import validate

__all__ = ["ASPECTS", "Preset", "preset_of", "presets", "size_values", "validate"]

log = logging.getLogger(__name__)
FOLDER = REPOSITORY / "presets"
ASPECTS = {"16:9": 16 / 9, "9:16": 9 / 16, "1:1": 1.0, "4:5": 4 / 5}
"""Aspects by the names people know, as width / height."""


class Wanted(Frozen):
    """What is asked for, and a line that says so."""

    description: str = Field(min_length=1, max_length=140)
    values: dict[str, Any] = {}


W = TypeVar("W", bound=Wanted)


class Preset(Wanted):
    """What a use case asks for; everything it does not say stays the checkpoint's or the field's.

    ``dropped`` names what its file has of another release.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str = Field(min_length=1, max_length=40)
    order: int = 0
    aspect: Literal["16:9", "9:16", "1:1", "4:5"] | None = None
    families: dict[str, Wanted] = {}
    dropped: tuple[str, ...] = ()

    def of(self, row: CheckpointRow) -> Wanted:
        """What it means for a checkpoint: of the nearest of its families that has values of its own."""
        return next((self.families[id] for id in row.facts.kin if id in self.families), self)


@cache
def presets(folder: Path = FOLDER) -> dict[str, Preset]:
    """All presets by id, in their order. Raises BadInput that names a broken file."""
    found = sorted((_read(path) for path in folder.glob("*.json")), key=lambda preset: (preset.order, preset.id))
    return {preset.id: preset for preset in found}


def preset_of(id: str) -> Preset:
    """Raises BadInput that names the known ones."""
    preset = presets().get(id)
    if preset is None:
        raise BadInput(f"There is no preset {id[:40]!r}. Known: {', '.join(presets())}.", field="preset")
    return preset


def size_values(preset: Preset, row: CheckpointRow) -> dict[str, int]:
    """``width`` and ``height`` of the preset's aspect for a checkpoint; empty when it names none."""
    if preset.aspect is None:
        return {}
    width, height = row.size_for(ASPECTS[preset.aspect])
    return {"width": width, "height": height}


def _read(path: Path) -> Preset:
    try:
        preset = _parsed(path.stem, dict(json.loads(path.read_text("utf-8"))))
        for wanted in (preset, *preset.families.values()):
            validate(wanted.values)
    except (OSError, ValueError, TypeError, RecursionError, ValidationError, BadInput) as error:
        reason = error.message if isinstance(error, BadInput) else "it is not a preset"
        raise BadInput(f"The preset {path.name} cannot be used: {reason}", field="preset") from error
    return preset


def _parsed(id: str, data: dict[str, Any]) -> Preset:
    """The preset in a file's JSON, under today's names. Raises ValidationError."""
    if "version" in data:
        version = data.pop("version")
        data, dropped = migrate(Preset, data, version)
        for wanted in (data, *data.get("families", {}).values()):
            wanted["values"], inside = migrate(GenerationRequest, wanted.get("values", {}), version)
            dropped += inside
        data["dropped"] = dropped
        for note in left_out(dropped):
            log.warning("preset %s: %s", id, sentence(note))
    preset = Preset.model_validate({**renamed(Preset, data), "id": id})
    families = {name: _renamed(wanted) for name, wanted in preset.families.items()}
    return _renamed(preset).model_copy(update={"families": families})


def _renamed(wanted: W) -> W:
    """Its values under today's names."""
    return wanted.model_copy(update={"values": renamed(GenerationRequest, wanted.values)})
