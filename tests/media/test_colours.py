"""Colours told by numbers or by a profile, against references computed here in float."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from svd_ui.media import cicp
from svd_ui.media.image import load
from tests.media.files import (
    DATA,
    LIMITS,
    encoded,
    levels,
    lut_profile,
    matrix_profile,
    png,
    profile,
    scene,
    xyz,
)

Floats = NDArray[np.float64]
# Linear light to that of sRGB under D65, as published with the spaces (BT.2087 for BT.2020)
P3 = np.array([[1.22494, -0.22494, 0], [-0.04206, 1.04206, 0], [-0.01964, -0.07864, 1.09828]])
BT2020 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
ADOBE = np.array([[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]])


def srgb_light(v: Floats) -> Floats:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def srgb(light: Floats) -> Floats:
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def pq(nits: Floats) -> Floats:
    power = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def decoded(data: bytes) -> Floats:
    return np.asarray(load(data, **LIMITS).image).astype(float)


def error(data: bytes, expected: Floats) -> float:
    return float(np.abs(decoded(data) - expected).mean())


def cicp_chunk(primaries: int, transfer: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes([primaries, transfer, 0, 1])


ADOBE_CHRM = b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)


def gama(value: int) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", value)


NUMBERS = {
    "P3": ([cicp_chunk(12, 13)], lambda v: srgb(srgb_light(v) @ P3.T)),
    "BT.2020, linear": ([cicp_chunk(9, 8)], lambda v: srgb(v @ BT2020.T)),
    "gamma 2.8": ([cicp_chunk(1, 5)], lambda v: srgb(v**2.8)),
    "linear by gAMA": ([gama(100_000)], lambda v: srgb(v)),
    "gAMA of 1.8": ([gama(55_556)], lambda v: srgb(v**1.8)),
    "Adobe RGB by gAMA and cHRM": ([gama(45_470), ADOBE_CHRM], lambda v: srgb(v ** (1 / 0.4547) @ ADOBE.T)),
    "cICP before gAMA": ([gama(100_000), cicp_chunk(12, 13)], lambda v: srgb(srgb_light(v) @ P3.T)),
    "sRGB before gAMA": ([gama(100_000), (b"sRGB", b"\0")], lambda v: 255 * v),
    "sRGB": ([cicp_chunk(1, 13)], lambda v: 255 * v),
    "unspecified": ([cicp_chunk(2, 2)], lambda v: 255 * v),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("case", NUMBERS)
def test_a_png_says_its_colours_by_numbers(case: str, bits: int) -> None:
    chunks, expected = NUMBERS[case]
    assert error(png(levels(scene(), bits), *chunks), expected(scene())) <= 0.7


def test_numbers_that_cannot_be_are_left_out() -> None:
    broken = [gama(0), (b"cHRM", bytes(32)), (b"cICP", b"\x0c\x0d\0\0")]
    for extra in broken:
        assert error(png(levels(scene()), extra), 255 * scene()) <= 0.6
    assert error(png(levels(scene()), gama(50_000), (b"cHRM", b"\xff" * 32)), 255 * scene()) <= 0.6


@pytest.mark.parametrize("bits", [8, 16])
def test_an_hdr_picture_of_ordinary_brightness_is_what_it_was(bits: int) -> None:
    """Diffuse white at 203 cd/m2: nothing is brighter, so nothing is mapped."""
    light = srgb_light(scene())
    wide = np.clip(light @ np.linalg.inv(BT2020).T, 0, 1)
    data = png(levels(pq(203 * wide), bits), cicp_chunk(9, 16))
    assert error(data, 255 * scene()) <= (2 if bits == 8 else 0.7)
    assert [note.code for note in load(data, **LIMITS).notes] == ["hdr_mapped"]


def test_highlights_of_hdr_keep_their_order_and_their_hue() -> None:
    nits = np.linspace(50, 4000, 96)[None, :, None] * np.array([1.0, 0.5, 0.5]) * np.ones((64, 1, 1))
    image = decoded(png(levels(pq(nits), 16), cicp_chunk(1, 16)))
    red, green = image[0, :, 0], image[0, :, 1]
    assert (np.diff(red) >= 0).all()
    assert red[-1] > 245
    assert red[1] > 80, "the dark part is not crushed"
    ratio = srgb_light(green / 255) / srgb_light(red / 255)
    assert np.abs(ratio[5:] - 0.5).max() < 0.02


def test_hlg_puts_white_where_broadcasters_do() -> None:
    """75 % of the signal is diffuse white, and half of it 50 cd/m2 on a display of 1000 (BT.2408)."""
    grey = np.full((64, 96, 3), 0.5)
    assert np.abs(decoded(png(levels(grey, 16), cicp_chunk(9, 18))) - srgb(np.array(50.7 / 203))).max() <= 1.5
    assert decoded(png(levels(grey * 1.5, 16), cicp_chunk(9, 18))).min() >= 253


@pytest.mark.parametrize(("primaries", "transfer"), [(12, 13), (12, 1), (9, 13)])
def test_an_avif_says_its_colours_by_numbers(primaries: int, transfer: int) -> None:
    data = bytearray(encoded(levels(scene()), "AVIF", quality=100, subsampling="4:4:4"))
    at = data.index(b"nclx") + 4
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    expected = srgb(srgb_light(scene()) @ (P3 if primaries == 12 else BT2020).T)
    assert error(bytes(data), expected) <= 1.5


def heic_scene() -> Floats:
    y, x = np.mgrid[:64, :96]
    return np.stack([0.15 + 0.7 * x / 96, 0.85 - 0.7 * y / 64, 0 * x + 0.4], -1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", 255 * heic_scene()),
        ("turned", np.rot90(255 * heic_scene(), -1)),
        ("ten-bit-p3", srgb(srgb_light(heic_scene()) @ P3.T)),
        ("profile", srgb(heic_scene() ** 2.2 @ P3.T)),
    ],
)
def test_a_heic_opens(name: str, expected: Floats) -> None:
    """Upright by the container's own turn, EXIF's not applied on top; 8 and 10 bits; colours as its numbers say."""
    data = (DATA / f"{name}.heic").read_bytes()
    assert load(data, **LIMITS).notes == ()
    assert error(data, expected) <= 1.5


def test_an_hdr_heic_is_mapped() -> None:
    picture = load((DATA / "pq.heic").read_bytes(), **LIMITS)
    assert [note.code for note in picture.notes] == ["hdr_mapped"]
    sample = np.asarray(picture.image)
    assert sample.max() > 200
    assert (np.diff(sample[32, :, 0].astype(int)) >= -2).all()


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_a_heic_s_size_is_read_before_its_pixels(brand: bytes) -> None:
    data = (DATA / "plain.heic").read_bytes()
    at = data.index(b"ispe") + 8
    huge = data[:8] + brand + data[12:at] + struct.pack(">II", 40_000, 30_000) + data[at + 8 :]
    with pytest.raises(Exception, match="at most 64 million|too large|damaged|cannot be read"):
        load(huge, **LIMITS)


P3_COLUMNS = xyz(0.51512, 0.2412, -0.00105), xyz(0.29198, 0.69225, 0.04189), xyz(0.1571, 0.06657, 0.78407)
ADOBE_COLUMNS = xyz(0.60974, 0.31111, 0.01947), xyz(0.20528, 0.62567, 0.06087), xyz(0.14919, 0.06322, 0.74457)
PROFILES = {
    "P3": (matrix_profile(*P3_COLUMNS, 2.2), lambda v: srgb(v**2.2 @ P3.T)),
    "Adobe RGB": (matrix_profile(*ADOBE_COLUMNS, 2.2), lambda v: srgb(v**2.2 @ ADOBE.T)),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("case", PROFILES)
def test_a_profile_is_applied_in_every_kind_of_file(case: str, kind: str) -> None:
    icc, expected = PROFILES[case]
    options: dict[str, Any] = {"quality": 95}
    if kind in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    assert error(encoded(levels(scene()), kind, icc_profile=icc, **options), expected(scene())) <= 2


def test_a_profile_comes_before_gamma_and_after_cicp() -> None:
    icc, expected = PROFILES["Adobe RGB"]
    import zlib

    iccp = b"iCCP", b"x\0\0" + zlib.compress(icc)
    assert error(png(levels(scene()), gama(100_000), iccp), expected(scene())) <= 2
    assert error(png(levels(scene()), cicp_chunk(12, 13), iccp), NUMBERS["P3"][1](scene())) <= 0.7


@pytest.mark.parametrize(("mode", "space", "inputs"), [("CMYK", b"CMYK", 4), ("RGB", b"RGB ", 3)])
def test_a_profile_of_tables_is_applied(mode: str, space: bytes, inputs: int) -> None:
    icc = lut_profile(space, inputs, (160, 190, 128))  # a light magenta
    data = encoded(Image.fromarray(levels(scene())).convert(mode), "TIFF", icc_profile=icc)
    mean = decoded(data).reshape(-1, 3).mean(axis=0)
    assert mean[0] > mean[2] > mean[1] + 20
    assert decoded(data).std(axis=(0, 1)).max() < 1


def test_a_grey_profile_is_applied() -> None:
    icc = profile(b"GRAY", b"XYZ ", {b"wtpt": xyz(0.9642, 1, 0.8249), b"kTRC": b"curv\0\0\0\0\0\0\0\0"})
    ramp = np.linspace(0.1, 0.9, 96)[None].repeat(64, 0)
    expected = srgb(ramp)[..., None].repeat(3, -1)
    assert error(encoded(levels(ramp), "PNG", icc_profile=icc), expected) <= 2


def test_a_camera_s_adobe_rgb_without_a_profile() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHI4sI", 1, 1, 2, 4, b"R03\0", 0)
    data = encoded(levels(scene()), "JPEG", quality=98, subsampling="4:4:4", exif=exif)
    assert error(data, srgb(scene() ** (563 / 256) @ ADOBE.T)) <= 2


def test_every_code_point_of_h_273_gives_a_picture() -> None:
    pixels = levels(scene())
    for primaries in (*cicp.PRIMARIES, 2, 77):
        for transfer in range(20):
            image = cicp.to_srgb(pixels, cicp.encoding_of(primaries, transfer)).astype(int)
            assert np.abs(image[:, :, 0].mean(axis=0)[-1] - image[:, :, 0].mean(axis=0)[0]) > 20
