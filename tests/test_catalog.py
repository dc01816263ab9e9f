"""Rows: sizes, discovery, the ladder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from svd_ui import catalog
from svd_ui.catalog.recognition import likeness
from svd_ui.clip import ClipSpec
from svd_ui.errors import BadInput
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def fake_folder(folder: Path, kind: str = "StableVideoDiffusionPipeline", own: dict | None = None) -> Path:
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    (folder / "unet" / "config.json").write_text(json.dumps({"num_frames": 21, "out_channels": 4}))
    if own is not None:
        (folder / "svd_ui.json").write_text(json.dumps(own))
    return folder


@pytest.mark.parametrize(
    ("aspect", "size"), [(16 / 9, (1024, 576)), (9 / 16, (576, 1024)), (1, (768, 768)), (4 / 5, (768, 960))]
)
def test_named_aspects_of_full_size_checkpoints(aspect: float, size: tuple[int, int]) -> None:
    assert catalog.STABILITY_ROWS[0].size_for(aspect) == size


@pytest.mark.parametrize("aspect", [2000, 0.0005, 1.4142, 0.8, 3.3])
@pytest.mark.parametrize("id", ["nano", "svd-xt"])
def test_any_aspect_gives_a_legal_size_of_about_the_native_area(settings: Settings, id: str, aspect: float) -> None:
    row = catalog.find_checkpoint(settings, id)
    width, height = row.size_for(aspect)
    assert width % row.size_multiple == height % row.size_multiple == 0
    assert 0.7 <= width * height / (row.width * row.height) <= 1.26
    assert 64 <= min(width, height) and max(width, height) <= 2048


def test_the_known_checkpoints_are_listed_with_what_a_person_must_know(settings: Settings) -> None:
    rows = catalog.checkpoints(settings)
    assert ["nano", "svd", "svd-xt", "svd-xt-1-1", "animatelcm-svd-xt"] == list(rows)
    for row in rows.values():
        assert row.licence and row.preview and row.num_frames and row.title
    assert rows["svd-xt-1-1"].gated and rows["svd-xt-1-1"].fps == 6


def test_folders_are_found_in_the_data_folder_and_the_given_ones(tmp_path: Path) -> None:
    fake_folder(tmp_path / "data" / "models" / "mine", own={"title": "Mine", "fps": 12, "unknown": 1})
    fake_folder(tmp_path / "more" / "other")
    fake_folder(tmp_path / "more" / "text", kind="StableDiffusionPipeline")
    found = catalog.checkpoints(Settings(data_dir=tmp_path / "data", checkpoint_dirs=str(tmp_path / "more")))
    assert found["local:mine"].title == "Mine" and found["local:mine"].fps == 12
    assert found["local:other"].num_frames == 21
    assert "local:text" not in found


@pytest.mark.parametrize("broken", ["", "[]", "null", '{"unet": 1', '"StableVideoDiffusionPipeline"'])
def test_a_broken_folder_hides_nothing_else(tmp_path: Path, broken: str) -> None:
    fake_folder(tmp_path / "models" / "good")
    for file in ("model_index.json", "unet/config.json", "svd_ui.json"):
        fake_folder(tmp_path / "models" / f"bad {Path(file).stem}", own={}).joinpath(file).write_text(broken)
    found = catalog.checkpoints(Settings(data_dir=tmp_path))
    assert [id for id in found if id.startswith("local:")] == ["local:good"]


def test_an_unknown_checkpoint_names_the_known_ones(settings: Settings) -> None:
    with pytest.raises(BadInput, match="svd-xt-1-1") as caught:
        catalog.find_checkpoint(settings, "svd-2")
    assert caught.value.field == "checkpoint"


def test_the_ladder_goes_down_one_rung_at_a_time_and_ends() -> None:
    rungs, row = ["24gb"], catalog.PROFILES["24gb"]
    while (below := catalog.smaller_profile(row.id)) is not None:
        row = below
        rungs.append(row.id)
    assert rungs == ["24gb", "16gb", "12gb", "8gb", "6gb", "4gb"]
    assert catalog.smaller_profile("cpu") is None


@pytest.mark.parametrize(
    ("kind", "total", "expected"),
    [
        ("cpu", None, "cpu"),
        ("cuda", 80 * catalog.GB, "24gb"),
        ("cuda", 17_000_000_000, "16gb"),
        ("cuda", 12_600_000_000, "12gb"),
        ("cuda", 8_300_000_000, "8gb"),
        ("cuda", 6_200_000_000, "6gb"),
        ("cuda", 4_000_000_000, "4gb"),
    ],
)
def test_auto_profile_fits_the_card_as_drivers_report_it(kind: str, total: int | None, expected: str) -> None:
    row, reason = catalog.profile_for(kind, total)
    assert row.id == expected and sentence(reason)


def asked(row: catalog.CheckpointRow, **values: Any) -> ClipSpec:
    return ClipSpec.of(GenerationRequest.model_validate(values), row)


def test_speeds_cost_less_and_less_and_exact_is_the_checkpoints_own(settings: Settings) -> None:
    for row in catalog.checkpoints(settings).values():
        exact, fast, draft = (asked(row, speed=speed) for speed in ("exact", "fast", "draft"))
        assert exact.num_inference_steps == row.num_inference_steps
        assert (exact.schedule, exact.cache_interval) == ("checkpoint", 1)
        if row.family == "consistency":  # few steps already, at any speed
            assert fast.request.explicit() | {"seed": 0} == draft.request.explicit() | {"speed": "fast", "seed": 0}
            continue
        assert sum(draft.whole_steps) < sum(fast.whole_steps) < sum(exact.whole_steps)
        row.check(draft)


def test_a_given_value_beats_the_speed(settings: Settings) -> None:
    row = catalog.find_checkpoint(settings, "svd-xt")
    request = asked(row, speed="draft", num_inference_steps=17, cache_interval=1)
    assert (request.schedule, request.num_inference_steps, request.cache_interval) == ("ays", 17, 1)


def test_svd_ends_so_near_the_clip_that_its_last_step_may_reuse_but_nano_jumps(settings: Settings) -> None:
    svd, nano = catalog.find_checkpoint(settings, "svd"), catalog.find_checkpoint(settings, "nano")
    assert asked(svd, num_inference_steps=8, cache_interval=3).whole_steps == [True, False, False] * 2 + [
        True,
        False,
    ]
    assert asked(nano, cache_interval=3).whole_steps == [True, False, False] * 2 + [True, True]


@pytest.mark.parametrize(
    ("id", "values", "field"),
    [
        ("nano", {"schedule": "ays"}, "schedule"),
        ("nano", {"width": 264}, "width"),
        ("nano", {"height": 264}, "height"),
        ("animatelcm-svd-xt", {"schedule": "ays"}, "schedule"),
        ("animatelcm-svd-xt", {"cache_interval": 2}, "cache_interval"),
        ("animatelcm-svd-xt", {"num_inference_steps": 41}, "num_inference_steps"),
    ],
)
def test_what_a_checkpoint_cannot_do_is_refused_on_its_field(
    settings: Settings, id: str, values: dict[str, Any], field: str
) -> None:
    row = catalog.find_checkpoint(settings, id)
    row.check(asked(row))
    with pytest.raises(BadInput) as caught:
        row.check(asked(row, **values))
    assert caught.value.field == field
    catalog.find_checkpoint(settings, "svd").check(asked(catalog.find_checkpoint(settings, "svd"), **values))


@pytest.mark.parametrize(
    ("old", "family"),
    [
        ({}, "svd"),
        ({"form": "residual"}, "warp"),
        ({"sampler": "consistency"}, "consistency"),
        ({"form": "plain"}, "svd"),
    ],
)
def test_rows_of_before_there_were_families_belong_to_one(old: dict[str, str], family: str) -> None:
    row = catalog.CheckpointRow.model_validate(
        {"id": "x", "title": "x", "num_frames": 4, "width": 64, "height": 64, **old}
    )
    assert row.family == row.facts.id == family
    assert catalog.CheckpointRow.model_validate(row.model_dump()) == row


def test_a_folder_of_a_family_that_nobody_knows_is_left_out_and_named(tmp_path: Path) -> None:
    folder = fake_folder(tmp_path / "models" / "alien", own={"family": "alien"})
    with pytest.raises(BadInput, match="'alien', which no installed package knows"):
        catalog.folder_row(folder)
    settings = Settings(data_dir=tmp_path, checkpoint_dirs=str(tmp_path / "models"))
    assert "local:alien" not in catalog.checkpoints(settings)


@pytest.mark.parametrize(
    ("name", "frames", "id", "certain"),
    [
        ("svd", None, "svd", True),
        ("svd_xt", None, "svd-xt", True),
        ("svd_xt_1_1", None, "svd-xt-1-1", True),
        ("svd-xt-1.1", 25, "svd-xt-1-1", True),
        ("SVD_XT_fp16", None, "svd-xt", True),
        ("stable-video-diffusion-img2vid", 14, "svd", True),
        ("stable-video-diffusion-img2vid-xt-1-1", 25, "svd-xt-1-1", True),
        ("stabilityai_stable-video-diffusion-img2vid-xt", None, "svd-xt", True),
        ("stableVideoDiffusion_img2vidXt11", None, "svd-xt-1-1", True),
        ("svd_xt (1)", None, "svd-xt", True),
        ("svd_xt", 14, "svd", False),  # its configuration contradicts its name
        ("svd_xt_anime_v2", None, "svd-xt", False),
        ("next svd tune", None, "svd", False),
        ("svd_xt_image_decoder", None, "svd-xt", False),
        ("dancing", 14, "svd", False),
        ("dancing", 25, "svd-xt", False),
        ("dancing", None, "svd-xt", False),
    ],
)
def test_a_name_says_which_it_is_or_what_it_is_like(name: str, frames: int | None, id: str, certain: bool) -> None:
    found = likeness(name, ["checkpoints", "svd"], frames, only_unet=False)
    assert (found.row.id, found.certain) == (id, certain)
    assert found.num_frames == (frames or found.row.num_frames)
    assert (found.note is None) == (certain and frames is not None), "what was taken for granted is said"
    assert sentence(found.note) == "" or str(found.num_frames) in sentence(found.note)


def test_what_stands_around_a_file_tells_too_but_never_makes_it_certain() -> None:
    inside = likeness("model", ["stable-video-diffusion-img2vid-xt", "checkpoints"], None, only_unet=False)
    assert (inside.row.id, inside.certain) == ("svd-xt", False)
    config = likeness("dance", ["/home/a/hub/models--diffusers--svd-xt/snapshots/97/unet"], 25, only_unet=False)
    assert (config.row.id, config.certain) == ("svd-xt", False)


def test_only_a_unet_is_animatelcm_for_certain() -> None:
    for only_unet in (True, False):
        found = likeness("AnimateLCM-SVD-xt-1.1", [], None, only_unet)
        assert (found.row.id, found.certain) == ("animatelcm-svd-xt", only_unet)


def test_a_folder_is_told_by_its_own_file_before_its_name(tmp_path: Path) -> None:
    own = {"title": "Mine", "fps": 12, "repo": "some/one", "file": "/etc/passwd", "same_as": "svd"}
    row = catalog.folder_row(fake_folder(tmp_path / "svd-xt anime", own=own))
    assert (row.title, row.fps, row.note) == ("Mine", 12, "")
    assert (row.repo, row.file, row.same_as) == (None, None, ""), "where it is it cannot say"
    assert row.licence == "Stability AI Community License" and row.by_stability


def test_a_configuration_that_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    folder = tmp_path / "svd-xt"
    (folder / "unet" / "config.json").mkdir(parents=True)  # stands for any that the system does not give out
    with pytest.raises(BadInput, match="config.json cannot be read") as caught:
        catalog.folder_row(folder)
    assert "not the JSON" not in caught.value.message and caught.value.message.count("delete it") <= 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://example.org/licence", True),
        ("HTTP://example.org", True),
        ("javascript:alert(1)", False),
        ('https://x.example" onclick="alert(1)', False),
        (" https://example.org\njavascript:alert(1)", False),
        ("data:text/html,x", False),
        ("/local", False),
    ],
)
def test_a_link_of_a_folder_is_a_web_address_or_none(given: str, kept: bool) -> None:
    known = catalog.STABILITY_ROWS[0].model_dump()
    row = type(catalog.STABILITY_ROWS[0]).model_validate({**known, "licence_url": given, "link": given})
    assert (row.licence_url, row.link) == ((given, given) if kept else ("", ""))
