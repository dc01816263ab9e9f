"""Presets: partial requests as data, one JSON file each in ``presets/``.

    {"order": 10, "title": "...", "description": "one line", "aspect": "9:16", "values": {"motion_bucket_id": 60}}

``values`` holds request fields only. ``aspect`` is optional: width and height depend on the checkpoint, so
``size_values`` turns it into them for a given row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from .catalog import CheckpointRow
from .errors import BadInput
from .request import Frozen, GenerationRequest
from .settings import REPOSITORY
from .validation import validate

__all__ = ["ASPECTS", "Preset", "apply", "presets", "size_values", "validate"]

FOLDER = REPOSITORY / "presets"
ASPECTS = {"16:9": 16 / 9, "9:16": 9 / 16, "1:1": 1.0, "4:5": 4 / 5}
"""Aspects by the names people know, as width / height."""


class Preset(Frozen):
    """What a use case asks for; everything it does not say stays the checkpoint's or the field's."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    title: str = Field(min_length=1, max_length=40)
    description: str = Field(min_length=1, max_length=140)
    order: int = 0
    aspect: str | None = None
    values: dict[str, Any] = {}

    @field_validator("aspect")
    @classmethod
    def _known_aspect(cls, value: str | None) -> str | None:
        if value is not None and value not in ASPECTS:
            raise ValueError(f"aspect must be one of {', '.join(ASPECTS)}")
        return value


@cache
def presets(folder: Path = FOLDER) -> dict[str, Preset]:
    """All presets by id, in their order. Raises BadInput that names a broken file."""
    found = sorted((_read(path) for path in folder.glob("*.json")), key=lambda preset: (preset.order, preset.id))
    return {preset.id: preset for preset in found}


def apply(preset_id: str | None, explicit: Mapping[str, Any], row: CheckpointRow | None = None) -> GenerationRequest:
    """The request made of explicit values over the preset's over the fields' defaults.

    An explicit None means "not given". With ``row`` the preset's aspect becomes a size, unless a size was
    given. Raises BadInput with the field at fault.
    """
    given = {name: value for name, value in explicit.items() if value is not None}
    if not preset_id:
        return validate(given)
    preset = presets().get(str(preset_id))
    if preset is None:
        raise BadInput(f"There is no preset {str(preset_id)[:40]!r}. Known: {', '.join(presets())}.", field="preset")
    size = size_values(preset, row) if row is not None and not {"width", "height"} & given.keys() else {}
    return validate({**preset.values, **size, **given})


def size_values(preset: Preset, row: CheckpointRow) -> dict[str, int]:
    """``width`` and ``height`` of the preset's aspect for a checkpoint; empty when it names none."""
    if preset.aspect is None:
        return {}
    width, height = row.size_for(ASPECTS[preset.aspect])
    return {"width": width, "height": height}


def _read(path: Path) -> Preset:
    try:
        preset = Preset.model_validate({**json.loads(path.read_text("utf-8")), "id": path.stem})
        validate(preset.values)
    except (OSError, ValueError, TypeError, ValidationError, BadInput) as error:
        reason = error.message if isinstance(error, BadInput) else "it is not a preset"
        raise BadInput(f"The preset {path.name} cannot be used: {reason}", field="preset") from error
    return preset
