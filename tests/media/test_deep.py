"""More than 8 bits a channel, in every layout that programs write."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from svd_ui.errors import BadPicture
from svd_ui.media.image import load
from tests.media.files import LIMITS, chunk, encoded, levels, matrix_profile, png, scene, xyz


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **{"photometric": "rgb", **options})
    return buffer.getvalue()


def by_opencv(values: NDArray[Any], compression: int, predictor: int) -> bytes:
    import cv2

    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_PREDICTOR, predictor]
    return bytes(cv2.imencode(".tiff", values[..., ::-1].copy(), options)[1].tobytes())


def decoded(data: bytes, **options: Any) -> NDArray[np.float64]:
    return np.asarray(load(data, **{**LIMITS, **options}).image).astype(float)


def shows_the_scene(data: bytes, most: float = 0.6) -> bool:
    return float(np.abs(decoded(data) - 255 * scene()).mean()) <= most


SIXTEEN = levels(scene(), 16)
FLOAT = scene().astype(np.float32)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("layout", ["one strip", "strips", "tiles", "deflate", "deflated tiles", "big"])
@pytest.mark.parametrize(
    "values",
    [SIXTEEN, FLOAT, FLOAT.astype(np.float16), SIXTEEN.astype(np.uint32) * 65537],
    ids=lambda one: str(one.dtype),
)
def test_colour_tiff(values: NDArray[Any], layout: str, planar: bool, order: str) -> None:
    options: dict[str, Any] = {
        "one strip": {},
        "strips": {"rowsperstrip": 7},
        "tiles": {"tile": (16, 32)},
        "deflate": {"compression": "zlib", "rowsperstrip": 20},
        "deflated tiles": {"tile": (32, 16), "compression": "zlib"},
        "big": {"bigtiff": True},
    }[layout]
    if planar:
        values, options = values.transpose(2, 0, 1).copy(), {**options, "planarconfig": "separate"}
    assert shows_the_scene(tiff(values, byteorder=order, **options))


@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("compression", [5, 8, 32773], ids=["LZW", "deflate", "packbits"])
@pytest.mark.parametrize("values", [SIXTEEN, FLOAT], ids=["16 bit", "float"])
def test_packed_and_predicted_tiff(values: NDArray[Any], compression: int, predictor: int) -> None:
    if predictor == 3 and values.dtype.kind != "f":
        pytest.skip("a predictor of floats")
    assert shows_the_scene(by_opencv(values, compression, predictor))


def test_alpha_grey_and_cmyk_of_16_bits() -> None:
    alpha = np.full((64, 96, 1), 65535, np.uint16)
    alpha[:, :48] = 0
    image = decoded(tiff(np.concatenate([SIXTEEN, alpha], -1), extrasamples=["unassalpha"]), background="#000000")
    assert image[:, :48].max() == 0
    assert np.abs(image[:, 48:] - 255 * scene()[:, 48:]).mean() < 0.6
    half = np.full((64, 96, 1), 32768, np.uint16)
    image = decoded(tiff(np.concatenate([SIXTEEN // 2, half], -1), extrasamples=["assocalpha"]), background="#000000")
    assert np.abs(image - 127.5 * scene()).mean() < 1.5, "multiplied once"
    grey = 255 * scene()[..., :1].repeat(3, -1)
    assert np.abs(decoded(tiff(SIXTEEN[..., 0], photometric="minisblack")) - grey).mean() < 0.6
    assert np.abs(decoded(tiff(65535 - SIXTEEN[..., 0], photometric="miniswhite")) - grey).mean() < 0.6
    black = np.zeros((64, 96, 1), np.uint16)
    assert shows_the_scene(tiff(np.concatenate([65535 - SIXTEEN, black], -1), photometric="separated"), 1.0)


def test_pages_of_a_wide_tiff() -> None:
    assert [note.code for note in load(tiff(np.stack([SIXTEEN] * 2)), **LIMITS).notes] == ["first_page_only"]
    assert load(tiff(SIXTEEN, bigtiff=True), **LIMITS).notes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "deep TIFF", "deep PNG"])
def test_every_orientation_in_every_kind_of_file(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "deep TIFF":
        data = tiff(SIXTEEN, extratags=[(274, "H", 1, orientation, True)])
    elif kind == "deep PNG":
        data = png(SIXTEEN, (b"eXIf", exif.tobytes()[6:]))
    else:
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(levels(scene()), kind, exif=exif, **options)
    shown = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    assert np.abs(decoded(data) - shown[orientation](255 * scene())).mean() < 1


def test_a_wide_tiff_keeps_its_profile_and_its_turn() -> None:
    swapped = matrix_profile(xyz(0.15, 0.06, 0.78), xyz(0.29, 0.69, 0.04), xyz(0.52, 0.24, 0), 2.2)  # red and blue
    image = decoded(tiff(SIXTEEN, iccprofile=swapped, extratags=[(274, "H", 1, 6, True)]))
    assert image.shape == (96, 64, 3)
    upright = np.rot90(image)
    assert upright[:, -1, 2].mean() > upright[:, 0, 2].mean() + 60, "what was red rises in blue"


@pytest.mark.parametrize(("top", "white"), [(1.0, 1.0), (255.0, 255.0), (65535.0, 65535.0), (1.2, 1.0)])
def test_fractions_are_scaled_by_what_white_can_be(top: float, white: float) -> None:
    """A few highlights above 1 do not darken the picture."""
    values = (scene() * (white if top != 1.2 else 1.0)).astype(np.float32)
    values[0, 0] = top
    values[0, 1] = np.nan
    image = decoded(tiff(values))
    assert np.abs(image[1:] - 255 * scene()[1:]).mean() < 0.6


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_png_of_16_bits(channels: int) -> None:
    opaque = np.full((64, 96, 1), 65535, np.uint16)
    assert shows_the_scene(png(np.concatenate([SIXTEEN, opaque], -1)[..., :channels]))


def test_a_tiff_of_a_kind_that_is_not_read_is_not_called_damaged_only() -> None:
    with pytest.raises(BadPicture, match="or of a kind that cannot be read: save it as RGB of 8 or 16 bits"):
        load(tiff(SIXTEEN, photometric="cielab"), **LIMITS)


def test_grey_png_of_16_bits_is_converted_whole() -> None:
    """Linear light: 8 bits of it would be steps in the shadows."""
    ramp = np.linspace(0, 0.02, 96)[None].repeat(64, 0)
    whole = encoded(levels(ramp, 16))
    gamma = chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    image = decoded(whole[:33] + gamma + whole[33:])
    expected = 255 * np.where(ramp <= 0.0031308, 12.92 * ramp, 1.055 * ramp ** (1 / 2.4) - 0.055)
    assert np.abs(image[..., 1] - expected).max() <= 1


def test_a_wide_picture_counts_by_its_bytes() -> None:
    data = tiff(np.zeros((1000, 1000, 3), np.float64), compression="zlib")
    with pytest.raises(BadPicture, match="1000 x 1000 pixels of 24 bytes; at most 2 million"):
        load(data, max_bytes=10**8, max_pixels=2_000_000)
    assert load(data, max_bytes=10**8, max_pixels=3_000_000).image.size == (1000, 1000)


def test_damaged_wide_tiff_never_raises_anything_else() -> None:
    random = np.random.default_rng(2)
    for whole in (tiff(SIXTEEN), tiff(FLOAT, compression="zlib", tile=(32, 32))):
        for _ in range(60):
            data = bytearray(whole[: random.integers(8, len(whole) + 1)])
            for at in random.integers(4, min(len(data), 400), 4):
                data[at] = random.integers(0, 256)
            with suppress(BadPicture):
                load(bytes(data), **LIMITS)


RAW = {
    "CR2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(500),
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(500),
    "RAF": b"FUJIFILMCCD-RAW 0201" + bytes(500),
    "ORF": b"IIRO\x08\0\0\0" + bytes(500),
    "CRW": b"II\x1a\0\0\0HEAPCCDR" + bytes(500),
    "RW2": b"IIU\0\x18\0\0\0" + bytes(500),
}


@pytest.mark.parametrize("kind", RAW)
def test_raw_files_are_named_by_their_first_bytes(kind: str) -> None:
    with pytest.raises(BadPicture, match="raw file.*develop it.*JPEG"):
        load(RAW[kind], **LIMITS)


def raw_in_tiff(**more: Any) -> bytes:
    """A developed thumbnail, and what the sensor saw behind it, as NEF, ARW and DNG hold them."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(levels(scene()), photometric="rgb", subifds=1, subfiletype=1, **more)
        writer.write(SIXTEEN[..., 0], photometric=32803, subfiletype=0)
    return buffer.getvalue()


def test_raw_files_that_are_tiff_do_not_open_as_their_thumbnail(tmp_path: Path) -> None:
    dng = tiff(SIXTEEN, extratags=[(50706, "B", 4, b"\1\4\0\0", True)])
    for data in (raw_in_tiff(), dng, tiff(SIXTEEN[..., 0], photometric=32803)):
        with pytest.raises(BadPicture, match="raw file"):
            load(data, **LIMITS)
    path = tmp_path / "DSC_0001.NEF"
    path.write_bytes(tiff(levels(scene())))
    for limits in (LIMITS, {**LIMITS, "max_bytes": 100}):
        with pytest.raises(BadPicture, match="raw file"):
            load(path, **limits)


def test_ordinary_tiff_is_no_raw_file() -> None:
    pages = [Image.fromarray(levels(scene())) for _ in range(2)]
    assert load(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), **LIMITS).image.size == (96, 64)
    assert shows_the_scene(tiff(levels(scene())))


def test_jpeg_xl_and_photoshop_say_what_to_do() -> None:
    for data, said in ((b"\xff\x0a" + bytes(90), "JPEG XL.*export"), (b"8BPS\0\1" + bytes(90), "Photoshop.*PNG")):
        with pytest.raises(BadPicture, match=said):
            load(data, **LIMITS)
