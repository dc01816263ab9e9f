"""Every kind of picture people have, as real files made here."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from svd_ui.errors import BadInput, BadPicture
from svd_ui.media.image import crop_box, fit, load
from svd_ui.media.reading import LONGEST_SIDE, Picture
from svd_ui.notes import sentence
from tests.media.files import chunk

LIMITS = {"max_bytes": 50_000_000, "max_pixels": 64_000_000}


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def loaded(data: bytes | Path, **options: Any) -> Picture:
    picture = load(data, **{**LIMITS, **options})
    assert picture.image.mode == "RGB"
    return picture


def said(picture: Picture) -> tuple[str, ...]:
    return tuple(map(sentence, picture.notes))


def refusal(data: Any, **options: Any) -> str:
    """The one sentence a refused file gets."""
    with pytest.raises(BadPicture) as caught:
        load(data, **{**LIMITS, **options})
    assert caught.value.field == "image"
    message = caught.value.message
    assert "Traceback" not in message
    assert "\n" not in message
    assert 10 < len(message) < 200
    return message


def near(image: Image.Image, xy: tuple[int, int], colour: tuple[int, int, int], tolerance: int = 3) -> bool:
    return max(abs(a - b) for a, b in zip(image.getpixel(xy), colour, strict=True)) <= tolerance  # type: ignore[arg-type]


def gradient(width: int = 96, height: int = 64) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, 0 * x + 90], -1).astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_reads_every_listed_format(kind: str) -> None:
    picture = loaded(encoded(gradient(), kind))
    assert picture.image.size == (96, 64)
    assert picture.notes == ()
    assert near(picture.image, (48, 32), gradient().getpixel((48, 32)), 24)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("RGB", (120, 80), "blue")
    image.paste("red", (0, 0, 60, 40))
    picture = loaded(encoded(image, "JPEG", exif=exif, quality=95)).image
    assert picture.size == ((80, 120) if orientation >= 5 else (120, 80))
    w, h = picture.size
    corners = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    for corner in [(0, 0), (1, 0), (0, 1), (1, 1)]:
        expected = (254, 0, 0) if corner == corners[orientation] else (0, 0, 254)
        assert near(picture, (10 + corner[0] * (w - 21), 10 + corner[1] * (h - 21)), expected, 6)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_stop_a_picture() -> None:
    assert loaded(encoded(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")).image.size == (96, 64)


def test_metadata_is_gone() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8825)[1] = "N"
    assert loaded(encoded(gradient(), "JPEG", exif=exif)).image.info == {}


def test_cmyk_without_a_profile() -> None:
    data = encoded(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG", quality=95)
    assert near(loaded(data).image, (9, 9), (254, 0, 0), 6)


def swapped_profile() -> bytes:
    """A made profile whose red and blue primaries are exchanged: ignoring it is visible."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    entries = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, blue = entries[b"rXYZ"], entries[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = data[blue + 4 : blue + 12], data[red + 4 : red + 12]
    return bytes(data)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_an_embedded_profile_is_applied(mode: str) -> None:
    image = Image.new("RGB", (64, 64), (220, 20, 20))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    assert near(loaded(encoded(image, icc_profile=swapped_profile())).image, (5, 5), (20, 20, 220), 6)


def test_a_profile_for_another_colour_model_is_ignored() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"nonsense"):
        data = encoded(Image.new("CMYK", (64, 64), (255, 0, 0, 0)), "JPEG", icc_profile=profile, quality=95)
        assert near(loaded(data).image, (9, 9), (0, 255, 255), 8)


def test_sixteen_bit_grey_keeps_its_scale() -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(64, 0)
    for kind in ("PNG", "TIFF"):
        image = np.asarray(loaded(encoded(Image.fromarray(values), kind)).image)
        assert np.abs(image[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_big_endian_sixteen_bit() -> None:
    import cv2  # writes what Pillow cannot: the same ramp in the other byte order

    values = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(64, 0)
    data = bytearray(cv2.imencode(".tiff", values, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes())
    image = np.asarray(loaded(bytes(data)).image)
    assert np.abs(image[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    swapped = Image.frombytes("I;16B", (256, 64), values.astype(">u2").tobytes())
    image = np.asarray(loaded(encoded(swapped, "TIFF")).image)
    assert np.abs(image[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_sixteen_bit_colour_png() -> None:
    import cv2

    pixels = np.zeros((64, 64, 3), np.uint16)
    pixels[:] = (90 * 257, 30 * 257, 200 * 257)  # cv2 writes blue first
    assert near(loaded(cv2.imencode(".png", pixels)[1].tobytes()).image, (5, 5), (200, 30, 90), 1)
    assert near(loaded(cv2.imencode(".tiff", pixels)[1].tobytes()).image, (5, 5), (200, 30, 90), 1)


def test_thirty_two_bit_and_float_tiff() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(64, 0)
    ramp[0, 0] = np.nan
    for values in (ramp, ramp[1:] * 255, (ramp[1:] * 1_000_000).astype(np.int32)):
        image = np.asarray(loaded(encoded(Image.fromarray(values), "TIFF")).image)
        assert np.abs(image[1, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_palette_with_transparency_is_flattened() -> None:
    image = Image.new("P", (64, 64), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.paste(1, (0, 0, 32, 64))
    picture = loaded(encoded(image, transparency=0), background="#00ff00")
    assert near(picture.image, (5, 5), (200, 0, 0))
    assert near(picture.image, (60, 5), (0, 255, 0))
    assert said(picture) == ("Transparent areas are filled with #00ff00.",)


def test_key_colour_transparency() -> None:
    image = Image.new("RGB", (64, 64), (1, 2, 3))
    image.paste((200, 0, 0), (0, 0, 32, 64))
    picture = loaded(encoded(image, transparency=(1, 2, 3)))
    assert near(picture.image, (60, 5), (255, 255, 255))
    assert near(picture.image, (5, 5), (200, 0, 0))


@pytest.mark.parametrize(
    "gamma", [(), ((b"gAMA", (45455).to_bytes(4, "big")),), ((b"gAMA", (100000).to_bytes(4, "big")),)]
)
def test_one_level_of_sixteen_bit_grey_may_be_transparent(gamma: tuple[tuple[bytes, bytes], ...]) -> None:
    grey = np.full((64, 96), 60000, ">u2")
    grey[:, :48] = 7
    header = struct.pack(">IIBBBBB", 96, 64, 16, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in grey))
    parts = [(b"IHDR", header), *gamma, (b"tRNS", b"\0\7"), (b"IDAT", data), (b"IEND", b"")]
    picture = loaded(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts), background="#00ff00")
    assert near(picture.image, (5, 5), (0, 255, 0))
    assert picture.image.getpixel((90, 5))[0] > 220  # type: ignore[index]
    assert "background_filled" in [note.code for note in picture.notes]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("mode", "value"), [("RGBA", (200, 0, 0, 128)), ("LA", (100, 128))])
def test_alpha_is_flattened_on_the_chosen_colour(mode: str, value: tuple[int, ...]) -> None:
    data = encoded(Image.new(mode, (64, 64), value))
    rgb = value[:3] if mode == "RGBA" else (value[0],) * 3
    for background, base in (("#ffffff", (255, 255, 255)), ("black", (0, 0, 0)), ("#102030", (16, 32, 48))):
        half = tuple(round((a + b) / 2) for a, b in zip(rgb, base, strict=True))
        assert near(loaded(data, background=background).image, (5, 5), half)  # type: ignore[arg-type]


def test_opaque_alpha_says_nothing() -> None:
    assert loaded(encoded(gradient().convert("RGBA"))).notes == ()


def test_one_bit_and_grey() -> None:
    assert near(loaded(encoded(Image.new("1", (64, 64), 1))).image, (5, 5), (255, 255, 255))
    assert near(loaded(encoded(Image.new("L", (64, 64), 77))).image, (5, 5), (77, 77, 77))


def test_lab_tiff() -> None:
    lab = Image.new("LAB", (64, 64), (255, 128, 128))
    assert near(loaded(encoded(lab, "TIFF")).image, (5, 5), (255, 255, 255), 6)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame_and_says_so(kind: str) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "lime", "blue")]
    picture = loaded(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert near(picture.image, (5, 5), (255, 0, 0), 6)
    assert said(picture) == ("Only the first frame of the animation is used.",)


def test_pages_of_a_tiff() -> None:
    pages = [Image.new("RGB", (64, 64), colour) for colour in ("red", "lime")]
    assert said(loaded(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))) == (
        "Only the first page of the file is used.",
    )


def test_a_phone_s_two_in_one_jpeg_is_no_animation() -> None:
    pictures = [Image.new("RGB", (64, 64), colour) for colour in ("red", "lime")]
    picture = loaded(encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:]))
    assert near(picture.image, (5, 5), (254, 0, 0))
    assert picture.notes == ()


def test_one_pixel() -> None:
    picture = loaded(encoded(Image.new("RGB", (1, 1), (200, 30, 90))))
    assert said(picture) == ("The picture is only 1 x 1 pixels. The clip will be soft.",)
    assert near(fit(picture.image, 256, 144), (200, 100), (200, 30, 90), 0)


def test_a_strip_is_bounded_and_still_fits() -> None:
    picture = loaded(encoded(Image.new("RGB", (20_000, 10), (200, 30, 90)), "JPEG"))
    assert picture.image.size == (LONGEST_SIDE, 2)
    assert "very wide" in said(picture)[-1]
    assert "20000 x 10" in said(picture)[0]
    assert fit(picture.image, 256, 64).size == (256, 64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_pictures_are_stored_smaller(kind: str) -> None:
    image = Image.new("RGB", (9000, 3000), "red")
    image.paste("blue", (4500, 0, 9000, 3000))
    picture = loaded(encoded(image, kind))
    assert picture.image.size == (LONGEST_SIDE, 1365)
    assert picture.notes == ()
    assert near(picture.image, (1000, 700), (254, 0, 0), 4)
    assert near(picture.image, (3000, 700), (0, 0, 254), 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "AVIF", "BMP"])
def test_truncated(kind: str) -> None:
    data = encoded(Image.effect_noise((256, 256), 80).convert("RGB"), kind)
    assert "damaged or incomplete" in refusal(data[: len(data) // 2])


def test_a_text_file_with_a_picture_s_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_text("Liebe Grüße aus den Bergen\n" * 400, "utf-8")
    assert "text file" in refusal(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- x --><svg></svg>", "SVG"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 64, "HEIC"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 64, "video"),
        (b"%PDF-1.7\n\x80", "PDF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 64, "JPEG 2000"),
        (b"\0\0\1\0\1\0" + b"\0" * 64, "Icons"),
        (b"P6\n320 240\n255\n" + b"\xc8((" * 2000, "Netpbm"),
        (b"FLV\1\5" + b"\0" * 64, "save it as mp4"),
        (b"RIFF\0\0\0\0WAVEfmt " + b"\0" * 64, "a sound"),
        (b"PK\3\4" + b"\0" * 64, "an archive"),
        (b"\xc8((" * 2000, "not a picture that can be read"),
        (bytes(range(256)), "Formats that work: JPEG, PNG"),
    ],
)
def test_files_of_other_kinds(data: bytes, said: str) -> None:
    assert said in refusal(data)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    assert "60000 x 60000" in refusal(png_header(60_000, 60_000)) or "too large" in refusal(png_header(60_000, 60_000))
    assert "at most 64 million" in refusal(png_header(9_000, 9_000))
    assert "damaged" in refusal(png_header(2**31 - 1, 0)) or "no pixels" in refusal(png_header(2**31 - 1, 0))


def test_a_bomb_costs_no_memory() -> None:
    code = (
        "import resource, sys; from svd_ui.media.image import load\n"
        "data = sys.stdin.buffer.read(); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: load(data, max_bytes=10**8, max_pixels=64_000_000)\n"
        "except Exception as error: print(type(error).__name__)\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert after - before < 20_000, after - before"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=png_header(30_000, 30_000), capture_output=True, check=True
    )
    assert done.stdout.strip() == b"BadPicture"


def test_too_many_bytes(tmp_path: Path) -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(60_000_000)
    assert "at most 50.0 MB" in refusal(data)
    (tmp_path / "big.png").write_bytes(data)
    assert "60.1 MB" in refusal(tmp_path / "big.png")


def test_a_path_as_a_string_is_refused() -> None:
    assert "upload the picture" in refusal("/etc/passwd")
    assert "upload the picture" in refusal("sha256:" + "0" * 64)


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    assert "There is no file gone.png" in refusal(tmp_path / "gone.png")
    assert "is not a file" in refusal(tmp_path)
    assert "is not a file" in refusal(Path("/dev/zero"))


def test_a_bad_background_names_itself() -> None:
    with pytest.raises(BadInput, match="not a colour") as caught:
        load(encoded(gradient()), **LIMITS, background="greenish")
    assert caught.value.field == "background"


@pytest.mark.parametrize("focus", [(0.5, 0.5), (0.0, 0.0), (1.0, 1.0), (0.3, 0.8)])
@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (3, 4000), (640, 480), (1024, 576)])
@pytest.mark.parametrize("target", [(1024, 576), (576, 1024), (64, 64), (256, 144)])
def test_crop_has_the_aspect_and_stays_inside(
    size: tuple[int, int], target: tuple[int, int], focus: tuple[float, float]
) -> None:
    left, top, right, bottom = crop_box(size, *target, *focus)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert (right - left) / (bottom - top) == pytest.approx(target[0] / target[1], rel=1e-6)
    assert right - left == pytest.approx(size[0]) or bottom - top == pytest.approx(size[1])


def test_crop_follows_the_focus() -> None:
    assert crop_box((200, 100), 100, 100, 0.0, 0.5)[0] == 0
    assert crop_box((200, 100), 100, 100, 1.0, 0.5)[2] == 200
    assert crop_box((200, 100), 100, 100, 0.5, 0.0) == (50, 0, 150, 100)
    assert crop_box((200, 100), 100, 100, 0.4, 0.0) == (30, 0, 130, 100)  # the focus is the middle of the crop


def test_fit_of_a_picture_that_fits_already_changes_nothing() -> None:
    image = gradient(256, 144)
    assert np.array_equal(np.asarray(fit(image, 256, 144)), np.asarray(image))


def test_fit_is_antialiased() -> None:
    stripes = np.zeros((576, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.asarray(fit(Image.fromarray(stripes), 256, 144)).std() < 8


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_damaged_bytes_never_raise_anything_else(kind: str) -> None:
    """Cut and flipped at random: a picture or one sentence, whatever the decoder makes of it."""
    whole = encoded(Image.effect_noise((48, 32), 80).convert("RGB"), kind)
    random = np.random.default_rng(1)
    for _ in range(40):
        data = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for at in random.integers(0, len(data), 4):
            data[at] = random.integers(0, 256)
        with suppress(BadPicture):
            assert load(bytes(data), **LIMITS).image.mode == "RGB"
