"""From what the command line says to a ``GenerationRequest``: flags over the preset over ``--from``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import presets
from ..assets import Assets
from ..errors import BadInput, NotFound
from ..request import GenerationRequest, has_source
from ..sentences import sentence
from ..settings import Settings
from ..settings_tag import open_settings
from .runner import Runner


@dataclass(frozen=True)
class Asked:
    """``explicit`` holds the request fields given as flags; ``image`` may still be a path there."""

    picture: Path | None
    preset: str | None
    settings_of: Path | None
    background: str
    explicit: dict[str, Any]
    output_format: str | None


def asked(runner: Runner, want: Asked) -> tuple[GenerationRequest, list[str]]:
    """The request, its seed fixed, and remarks for the person. Raises BadInput; pictures become assets."""
    base, notes = _stored(runner.settings, want.settings_of) if want.settings_of else ({}, [])
    explicit = dict(want.explicit)
    if want.preset is not None:
        base |= _preset(runner, want.preset, explicit, base)
    if want.output_format is not None:
        base["output_format"] = want.output_format
    still, remarks = _still(runner.settings, want, explicit)
    if still is not None:
        explicit["image"] = still
        base.pop("prompt", None)
    elif "prompt" in explicit:
        base.pop("image", None)
    request = presets.validate({**base, **explicit})
    if not has_source(request):
        both = request.image is not None
        raise BadInput("Give a picture or --prompt, not both." if both else "Give a picture, or --prompt to make one.")
    return request.with_seed(), [*notes, *remarks]


def _stored(settings: Settings, path: Path) -> tuple[dict[str, Any], list[str]]:
    """The settings in a file. Its still is used if this data folder has it, else its prompt."""
    found = open_settings(path)
    values = found.request.model_dump(mode="json", exclude_none=True)
    notes = [f"Not known to this release, left out: {', '.join(found.dropped)}."] if found.dropped else []
    if "image" in values:
        try:
            Assets.of(settings).path(values["image"])
            values.pop("prompt", None)
        except NotFound:
            values.pop("image")
            if "prompt" not in values:
                notes.append("The still of that clip is not in this data folder, so give one.")
    return values, notes


def _preset(runner: Runner, id: str, explicit: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The preset's values; its aspect becomes the size of the checkpoint in use, unless a size was given."""
    presets.apply(id, {})  # an unknown name is told with the known ones
    preset = presets.presets()[id]
    if preset.aspect is None or {"width", "height"} & explicit.keys():
        return dict(preset.values)
    checkpoint = explicit.get("checkpoint") or preset.values.get("checkpoint") or base.get("checkpoint") or "auto"
    return {**preset.values, **presets.size_values(preset, runner.row(checkpoint))}


def _still(settings: Settings, want: Asked, explicit: dict[str, Any]) -> tuple[str | None, list[str]]:
    """The asset of the picture given, as an argument or as --image, which also takes an asset's name."""
    flagged = explicit.pop("image", None)
    if want.picture is not None and flagged is not None:
        raise BadInput("The picture is given twice.", field="image")
    source = str(want.picture or flagged or "")
    if not source or source.startswith("sha256:"):
        return source or None, []
    if not Path(source).is_file():
        raise BadInput(f"There is no file {source}.", field="image")
    added = Assets.of(settings).add(Path(source), want.background)
    return added.ref, list(map(sentence, added.notes))
