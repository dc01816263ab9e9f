"""Settings survive their trip through files, and files of other releases and other programs do no harm."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from svd_ui.errors import BadInput
from svd_ui.events import Effective
from svd_ui.media.animation import write_frames_zip, write_gif, write_webp
from svd_ui.media.video import Mp4Writer
from svd_ui.request import SCHEMA_VERSION, GenerationRequest
from svd_ui.settings_tag import Stored, open_settings, parse, tag

REQUEST = GenerationRequest(
    image="sha256:" + "ab" * 32, prompt="a \"café\" at <night> & 'dawn' 🦊\nsecond line", motion_bucket_id=180, seed=7
)
EFFECTIVE = Effective(profile="cpu", decode_chunk_size=8, attention="sdpa", dtype="bfloat16", device="cpu")
VERSIONS = {"svd_ui": "0.1.0", "torch": "2.13.0+cpu"}
TAG = tag(REQUEST, EFFECTIVE, VERSIONS)
FRAMES = np.random.default_rng(0).integers(0, 255, (3, 48, 64, 3), dtype=np.uint8)


def clip(path: Path, comment: str) -> Path:
    with Mp4Writer(path, 64, 48, 7, comment) as writer:
        writer.add(FRAMES)
    return path


def carriers(folder: Path, comment: str) -> list[Path]:
    """The same settings in every kind of file that can hold them."""
    clip(folder / "clip.mp4", comment)
    write_gif(folder / "clip.gif", FRAMES, 7, comment)
    write_webp(folder / "clip.webp", FRAMES, 7, comment)
    write_frames_zip(folder / "frames.zip", FRAMES, comment)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("comment", comment)
    Image.fromarray(FRAMES[0]).save(folder / "still.png", pnginfo=info)
    (folder / "settings.json").write_text(comment, "utf-8")
    return sorted(folder.iterdir())


def test_all_settings_come_back_from_every_kind_of_file(tmp_path: Path) -> None:
    paths = carriers(tmp_path, TAG)
    assert len(paths) == 6
    for path in paths:
        for source in (path, path.read_bytes()):
            stored = open_settings(source)
            assert stored == Stored(REQUEST, EFFECTIVE.model_dump(mode="json"), VERSIONS, ()), path.name


def test_a_tag_says_which_schema_it_is() -> None:
    assert list(json.loads(TAG)) == ["svd_ui", "request", "effective", "versions"]
    assert json.loads(TAG)["svd_ui"] == SCHEMA_VERSION


def test_no_paths_travel() -> None:
    effective = {
        "reasons": ["loaded from /home/ann/models/svd-xt, half the size", "and/or 1/2 as in https://x.org/a/b"]
    }
    versions = {"still": "C:\\Users\\ann\\models\\turbo", "cache": "~/.cache/hub", "torch": "2.13"}
    text = tag(REQUEST.model_copy(update={"checkpoint": "/home/ann/models/mine"}), effective, versions)
    data = json.loads(text)
    assert "ann" not in text
    assert data["effective"]["reasons"] == ["loaded from svd-xt, half the size", "and/or 1/2 as in https://x.org/a/b"]
    assert data["versions"] == {"still": "turbo", "cache": "hub", "torch": "2.13"}
    assert data["request"]["checkpoint"] == "mine"


def test_a_request_alone_and_a_status_object_are_read_too() -> None:
    assert parse(REQUEST.model_dump_json()).request == REQUEST
    assert parse(json.dumps({"motion_bucket_id": 9})).request.motion_bucket_id == 9
    assert parse(json.dumps({"id": "x", "state": "finished", "request": REQUEST.explicit()})).request == REQUEST


OTHERS = {"prompt": "a cat", "seed": 5, "workflow": {"nodes": []}}
"""What another program writes into its files."""


def test_settings_of_other_programs_are_not_ours(tmp_path: Path) -> None:
    for text in (json.dumps(OTHERS), json.dumps({"request": OTHERS, "prompt": "x"})):
        with pytest.raises(BadInput, match="no settings"):
            parse(text)
    for path in carriers(tmp_path, json.dumps(OTHERS)):
        with pytest.raises(BadInput, match="no settings"):
            open_settings(path)
    (tmp_path / "more").mkdir()
    for path in carriers(tmp_path / "more", json.dumps({"prompt": "a cat"})):
        if path.suffix != ".json":  # a bare request is ours where somebody wrote it down, not inside a picture
            with pytest.raises(BadInput, match="no settings"):
                open_settings(path)


def tagged(version: Any = 1, **request: Any) -> Stored:
    return parse(json.dumps({"svd_ui": version, "request": request}))


def test_a_newer_release_s_keys_are_dropped_and_named() -> None:
    stored = tagged(99, seed=3, camera_path="spiral", shutter=0.5)
    assert stored.request == GenerationRequest(seed=3)
    assert stored.dropped == ("camera_path", "shutter")


def test_values_no_longer_accepted_are_dropped_and_named() -> None:
    stored = tagged(2, seed=3, width=99_999, motion_bucket_id="lots", output_format="av1", image="/etc/passwd")
    assert stored.request == GenerationRequest(seed=3)
    assert stored.dropped == ("width", "motion_bucket_id", "output_format", "image")


def test_unknown_methods_and_steps_are_dropped_and_named() -> None:
    stored = tagged(2, method={"kind": "teleport", "metres": 4}, post=[{"kind": "upscale"}])
    assert stored.request == GenerationRequest()
    assert stored.dropped == ("method teleport", "post upscale")


def test_an_unknown_detail_of_a_known_method_costs_only_itself() -> None:
    stored = tagged(2, seed=1, method={"kind": "plain", "strength": 0.5, "ease": [1, 2]})
    assert stored.request == GenerationRequest(seed=1)
    assert stored.dropped == ("method.strength", "method.ease")


def test_a_kind_whose_package_is_gone_is_named_and_costs_only_itself() -> None:
    steps = [{"kind": "boomerang"}, {"kind": "sparkle", "size": 3}, {"kind": "crossfade_loop", "overlap": 2, "new": 1}]
    stored = tagged(1, seed=1, method={"kind": "wobble", "amount": 2}, post=steps)
    kept = [{"kind": "boomerang"}, {"kind": "crossfade_loop", "overlap": 2}]
    assert stored.request == GenerationRequest.model_validate({"seed": 1, "post": kept})
    assert stored.dropped == ("method wobble", "post sparkle", "post.2.new")


def test_a_value_that_a_kind_no_longer_takes_falls_back_to_its_own() -> None:
    stored = tagged(1, post=[{"kind": "crossfade_loop", "overlap": 99}])
    assert stored.request.model_dump()["post"] == ({"kind": "crossfade_loop", "overlap": 4},)
    assert stored.dropped == ("post.0.overlap",)


def test_of_two_values_that_exclude_each_other_one_goes() -> None:
    stored = tagged(1, min_guidance_scale=5.0, max_guidance_scale=2.0, seed=1)
    assert stored.dropped == ("max_guidance_scale",)
    assert (stored.request.min_guidance_scale, stored.request.seed) == (5.0, 1)


def test_numbers_that_are_none() -> None:
    stored = parse('{"svd_ui": 1, "request": {"motion_bucket_id": NaN, "noise_aug_strength": Infinity, "seed": 4}}')
    assert stored.request == GenerationRequest(seed=4)
    assert stored.dropped == ("motion_bucket_id", "noise_aug_strength")


@pytest.mark.parametrize("version", [-1, 0, 1, 2, 10**30, True, "1", None, [1]])
def test_any_schema_number_is_taken(version: Any) -> None:
    assert tagged(version, seed=5).request.seed == 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"text"',
        "{}",
        '{"svd_ui": 1}',
        '{"svd_ui": 1, "request": []}',
        '{"svd_ui": 1, "seed": 3}',
        '{"colour": "red"}',
        "[" * 100_000,
        '{"svd_ui": 1, "request": ' * 5000,
        "x" * 1_000_001,
        TAG[: len(TAG) // 2],
        TAG[:-1] + "\0",
    ],
)
def test_garbage_gets_one_sentence(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert "settings" in caught.value.message
    assert "\n" not in caught.value.message


def test_deep_values_do_no_harm() -> None:
    deep = '{"svd_ui": 1, "request": {"seed": 1, "method": ' + '{"a":' * 400 + "1" + "}" * 400 + "}}"
    stored = parse(deep)
    assert stored.request.seed == 1
    assert stored.dropped == ("method",)


def test_odd_neighbours_of_the_request_are_ignored() -> None:
    stored = parse('{"svd_ui": 1, "request": {"seed": 1}, "effective": 7, "versions": ["x"], "more": {}}')
    assert (stored.effective, stored.versions) == ({}, {})


@pytest.mark.parametrize("comment", ["", "Made with another program", "  "])
def test_files_without_our_settings_say_so(tmp_path: Path, comment: str) -> None:
    for path in carriers(tmp_path, comment):
        if path.suffix != ".json":
            with pytest.raises(BadInput, match="There are no settings in this file"):
                open_settings(path)


def test_a_tampered_tag_gets_one_sentence(tmp_path: Path) -> None:
    for path in carriers(tmp_path, TAG[: len(TAG) // 2]):
        with pytest.raises(BadInput, match="cannot be read"):
            open_settings(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"PK\x03\x04",
        b"RIFF\0\0\0\0WEBP",
        b"{\xff}",
    ],
)
def test_files_that_are_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(BadInput) as caught:
            open_settings(source)
        assert "ettings" in caught.value.message


def test_a_broken_video_is_called_one(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", TAG)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInput, match=r"clip\.mp4 is not a video"):
        open_settings(path)


def test_paths_from_clients_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="upload"):
        open_settings("/etc/passwd")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"gone\.mp4 cannot be opened"):
        open_settings(tmp_path / "gone.mp4")


def test_a_zip_bomb_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "frames.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("settings.json", b"{" + b" " * 200_000_000)
    with pytest.raises(BadInput, match="too long"):
        open_settings(path)
