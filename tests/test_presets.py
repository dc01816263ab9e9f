"""Presets are data that stays valid, and people who type wrong values get one clear sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from svd_ui.catalog import CheckpointRow, checkpoints, nano_row
from svd_ui.catalog.families.svd import Svd
from svd_ui.catalog.families.warp import Warp
from svd_ui.errors import BadInput
from svd_ui.presets import ASPECTS, FOLDER, Preset, Wanted, preset_of, presets, size_values, validate
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings

EXPECTED = ["animate-a-still", "product-shot", "portrait", "artwork", "landscape", "social-vertical", "concept-preview", "quick-draft"]  # fmt: skip
SMALL = CheckpointRow(id="small", title="Small", num_frames=14, width=256, height=144, size_multiple=8)


def rows(folder: Path) -> list[CheckpointRow]:
    settings = Settings(data_dir=folder, _env_file=None)  # type: ignore[call-arg]
    return [*checkpoints(settings).values(), SMALL]


def test_the_eight_in_their_order() -> None:
    assert list(presets()) == EXPECTED
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(EXPECTED)


@pytest.mark.parametrize("id", EXPECTED)
def test_every_preset_is_valid_for_every_checkpoint(id: str, tmp_path: Path) -> None:
    preset = presets()[id]
    for row in rows(tmp_path):
        wanted = preset.of(row).values
        assert wanted.keys() <= GenerationRequest.model_fields.keys()
        assert not {"image", "prompt", "checkpoint", "width", "height", "seed"} & wanted.keys()
        request = validate({**wanted, **size_values(preset, row)}).resolved(row.defaults())
        assert request.width is not None
        assert request.height is not None
        assert request.width % row.size_multiple == request.height % row.size_multiple == 0
        if preset.aspect:
            assert request.width / request.height == pytest.approx(ASPECTS[preset.aspect], rel=0.12)
        for name, value in wanted.items():
            assert getattr(request, name) == value


def test_titles_and_descriptions_fit_the_page() -> None:
    for preset in presets().values():
        for wanted in (preset, *preset.families.values()):
            assert wanted.description.endswith(".")
            assert "\n" not in wanted.description
    assert len({preset.title for preset in presets().values()}) == len(EXPECTED)


@pytest.mark.parametrize("row", [SMALL, nano_row()], ids=lambda row: row.family)
def test_presets_differ(row: CheckpointRow) -> None:
    said = [json.dumps([preset.of(row).values, preset.aspect], sort_keys=True) for preset in presets().values()]
    assert len(set(said)) == 8


def test_presets_promise_of_nano_what_it_does() -> None:
    """It moves the camera, by about a twentieth of the picture at 127; below 60 hardly anything is seen."""
    for preset in presets().values():
        wanted = preset.of(nano_row())
        assert wanted is not preset, preset.id
        assert wanted.values.get("motion_bucket_id", 127) >= 60
        assert not {"fps", "output_fps", "num_frames", "noise_aug_strength"} & wanted.values.keys()
        assert "camera" in wanted.description


def test_a_family_made_from_another_takes_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    class Derived(Warp):
        id = "derived"

    preset = Preset(id="a", title="A", description="B.", families={"warp": Wanted(description="C.")})
    monkeypatch.setattr(CheckpointRow, "facts", Derived())
    assert preset.of(SMALL).description == "C."
    monkeypatch.setattr(CheckpointRow, "facts", Svd())
    assert preset.of(SMALL).description == "B."


def test_values_of_a_family_are_checked_too(tmp_path: Path) -> None:
    wrong = {"title": "A", "description": "B.", "families": {"warp": {"description": "C.", "values": {"motion": 1}}}}
    (tmp_path / "mine.json").write_text(json.dumps(wrong))
    with pytest.raises(BadInput, match=r"mine\.json"):
        presets(tmp_path)


def test_an_unknown_preset_names_the_known() -> None:
    with pytest.raises(BadInput, match=r"no preset 'zoom'\. Known: animate-a-still") as caught:
        preset_of("zoom")
    assert caught.value.field == "preset"


def test_aspects_become_sizes_of_the_checkpoint() -> None:
    vertical = presets()["social-vertical"]
    svd = SMALL.model_copy(update={"width": 1024, "height": 576, "size_multiple": 64})
    assert size_values(vertical, svd) == {"width": 576, "height": 1024}
    assert size_values(vertical, SMALL) == {"width": 144, "height": 256}
    assert size_values(presets()["artwork"], svd) == {}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "{}", '{"title": "A", "description": "B", "values": {"motion": 1}}',
     '{"title": "A", "description": "B", "aspect": "2:1"}',
     '{"title": "A", "description": "B", "values": {"motion_bucket_id": 900}}'],
)  # fmt: skip
def test_a_broken_preset_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "mine.json").write_text(content)
    with pytest.raises(BadInput, match=r"mine\.json"):
        presets(tmp_path)


def test_a_preset_takes_its_id_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"title": "Mine", "description": "B.", "values": {"seed": 1}}')
    assert presets(tmp_path) == {"mine": Preset(id="mine", title="Mine", description="B.", values={"seed": 1})}


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"motion_bucket_id": 300}, "motion_bucket_id", "Motion must be a whole number from 1 to 255; 300 is not."),
        ({"motion_bucket_id": 0}, "motion_bucket_id", "Motion must be a whole number from 1 to 255; 0 is not."),
        ({"motion_bucket_id": "x"}, "motion_bucket_id", "Motion must be a whole number from 1 to 255; 'x' is not."),
        ({"motion_bucket_id": 1.5}, "motion_bucket_id", "Motion must be a whole number from 1 to 255; 1.5 is not."),
        ({"motion_bucket_id": None}, "motion_bucket_id", "Motion must be a whole number from 1 to 255; blank is not."),
        ({"fps": [1]}, "fps", "Model FPS must be a whole number from 1 to 30; this value is not."),
        ({"focus_x": 2}, "focus_x", "Focus across must be a number from 0 to 1; 2 is not."),
        ({"focus_x": float("nan")}, "focus_x", "Focus across must be a number from 0 to 1; nan is not."),
        ({"width": 100}, "width", "Width must be a multiple of 8; 100 is not."),
        ({"seed": 2**32}, "seed", "Seed must be a whole number from 0 to 4294967295; 4294967296 is not."),
        ({"prompt": "x" * 501}, "prompt", "Prompt may have at most 500 characters; this has 501."),
        ({"prompt": 7}, "prompt", "Prompt must be text; 7 is not."),
        ({"output_format": "avi"}, "output_format", "Format must be one of mp4, png, gif or webp; 'avi' is not."),
        ({"post": [{"kind": "x"}]}, "post", "Finishing has no kind 'x'. Known: boomerang, crossfade_loop"),
        ({"method": {"kind": "x"}}, "method", "Method has no kind 'x'. Known: brush, camera, drag,"),
        ({"post": [{"kind": "crossfade_loop", "overlap": 99}]}, "post.crossfade_loop.overlap", "Overlap must be a whole number from 1 to 32; 99 is not."),
        ({"motion_buckt_id": 3}, "motion_buckt_id", "There is no setting 'motion_buckt_id': did you mean motion_bucket_id?"),
        ({"zzz": 3}, "zzz", "There is no setting 'zzz'."),
        ({"method": {"kind": "spin"}}, "method", "Method"),
        ({"image": "/etc/passwd"}, "image", "Pictures are named sha256:<64 hex digits>: upload the file"),
        ({"min_guidance_scale": 5, "max_guidance_scale": 2}, "max_guidance_scale", "Guidance of the first frame must not"),
    ],
)  # fmt: skip
def test_wrong_values_get_a_sentence_on_their_field(values: dict[str, Any], field: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        validate(values)
    assert caught.value.message.startswith(sentence)
    assert caught.value.field == field
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 200


def test_a_long_wrong_value_is_not_repeated_in_full() -> None:
    with pytest.raises(BadInput) as caught:
        validate({"output_format": "x" * 100_000})
    assert len(caught.value.message) < 150


def test_every_field_gives_a_sentence_for_nonsense() -> None:
    for name in GenerationRequest.model_fields:
        with pytest.raises(BadInput) as caught:
            validate({name: {"a": [object()]}})
        assert caught.value.field == name
        assert "object at" not in caught.value.message
