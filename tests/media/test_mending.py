"""Slightly damaged files open with a note; badly damaged ones are named as such; what lies beside the picture is said."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from svd_ui.errors import BadPicture
from svd_ui.media.image import load
from svd_ui.media.reading import Picture
from tests.media.files import DATA, LIMITS, chunk, clip, encoded, levels, matrix_profile, png, scene, xyz


def photo(size: tuple[int, int] = (480, 320)) -> Image.Image:
    """Nothing in it is flat."""
    coarse = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def opened(data: bytes) -> Picture:
    return load(data, **LIMITS)


def codes(data: bytes) -> list[str]:
    return [note.code for note in opened(data).notes]


def error(data: bytes, sound: bytes) -> float:
    images = [np.asarray(opened(one).image).astype(float) for one in (data, sound)]
    return float(np.abs(images[0] - images[1]).mean())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_jpeg_without_its_last_bytes(cut: int, options: dict[str, Any]) -> None:
    whole = encoded(photo(), "JPEG", quality=90, **options)
    assert codes(whole[:-cut]) == ["file_end_missing"] or cut == 3
    assert error(whole[:-cut], whole) < 0.5


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_cut_off_a_little_is_filled_from_its_last_row(kind: str) -> None:
    whole = encoded(photo(), kind)
    picture = opened(whole[: int(len(whole) * 0.95)])
    assert [note.code for note in picture.notes] == ["file_cut_off"]
    assert 0.01 < picture.notes[0].params["share"] < 0.1
    pixels = np.asarray(picture.image).astype(int)
    assert picture.image.size == (480, 320)
    assert np.abs(pixels[-1] - pixels[-4]).max() == 0, "filled"
    assert pixels[-1].std() > 20, "not with grey"
    assert error(whole[: int(len(whole) * 0.95)], whole) < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_file_cut_off_badly_is_named(kind: str, share: float) -> None:
    whole = encoded(photo(), kind)
    with pytest.raises(BadPicture, match=r"incomplete: its file ends early, and \d\d% of it are missing"):
        opened(whole[: int(len(whole) * share)])


def test_a_flat_picture_is_not_taken_for_one_that_is_cut_off() -> None:
    whole = encoded(Image.new("RGB", (480, 320), (200, 90, 30)), "JPEG")
    assert codes(whole[:-2]) == ["file_end_missing"]


def test_chunks_with_a_wrong_checksum() -> None:
    """A profile whose own checksum holds is used; anything else that is not needed is left out."""
    green_is_red = matrix_profile(xyz(0.29, 0.69, 0.04), xyz(0.52, 0.24, 0), xyz(0.15, 0.06, 0.78), 2.2)
    profile = b"x\0\0" + zlib.compress(green_is_red)
    for name, body in {b"iCCP": profile, b"tEXt": b"a\0b", b"gAMA": b"\0\1\x86\xa0"}.items():
        sound = png(levels(scene()), (name, body))
        wrong = sound.replace(chunk(name, body), chunk(name, body)[:-4] + b"\0\0\0\0")
        assert codes(wrong) == ["checksum_wrong"]
        assert opened(wrong).notes[0].params == {"name": name.decode()}
        assert error(wrong, sound if name == b"iCCP" else png(levels(scene()))) < 0.1
    broken = profile[:40] + bytes(40) + profile[80:]
    data = png(levels(scene()), (b"iCCP", broken)).replace(chunk(b"iCCP", broken)[-4:], b"\0\0\0\0")
    assert error(data, png(levels(scene()))) < 0.1


def test_mending_obeys_the_limits() -> None:
    data = encoded(Image.new("RGB", (2000, 2000)), "JPEG")[:-2]
    with pytest.raises(BadPicture, match="at most 1 million|damaged"):
        load(data, max_bytes=10**8, max_pixels=1_000_000)


XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/' hdrgm:Version='1.0'/>"


def with_app1(jpeg: bytes, body: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def test_a_gain_map_and_the_clip_of_a_motion_photo_are_said(tmp_path: Path) -> None:
    jpeg = encoded(photo(), "JPEG")
    mp4 = clip(tmp_path / "a.mp4", np.zeros((4, 64, 96, 3), np.uint8))
    motion = with_app1(jpeg, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta GCamera:MotionPhoto='1'/>")
    heic = (DATA / "plain.heic").read_bytes()
    cases = {
        "gain map": (with_app1(jpeg, XMP) + encoded(photo((60, 40)), "JPEG"), ["gain_map"]),
        "motion photo": (motion + mp4, ["motion_photo"]),
        "only the clip": (jpeg + mp4, ["motion_photo"]),
        "heic with a clip": (heic + (len(mp4) + 8).to_bytes(4, "big") + b"mpvd" + mp4, ["motion_photo"]),
        "neither": (with_app1(jpeg, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta GCamera:MotionPhoto='0'/>"), []),
    }
    for case, (data, said) in cases.items():
        picture = opened(data)
        assert ([note.code for note in picture.notes], case) == (said, case)
        assert picture.image.size in ((480, 320), (96, 64))
