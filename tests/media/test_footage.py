"""Clips as people have them: the frame asked for, upright, in the colours a browser shows; hostile ones in one sentence."""

from __future__ import annotations

import io
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from svd_ui.errors import BadInput, BadPicture
from svd_ui.media import cicp
from svd_ui.media.footage import FIRST, LAST, VIDEO_PEAK, Moment, footage
from svd_ui.media.image import load
from svd_ui.media.reading import Reader
from tests.media.files import LIMITS, TURNS, clip, encoded, levels, scene, turned

READER = Reader(64_000_000)


def counting(count: int = 40) -> NDArray[np.uint8]:
    """Grey that says its number, six levels a frame; the upper left corner is red."""
    frames = np.zeros((count, 64, 96, 3), np.uint8) + (6 * np.arange(count, dtype=np.uint8))[:, None, None, None]
    frames[:, :16, :24] = (255, 0, 0)
    return frames


def number(image: Image.Image) -> int:
    return round(np.asarray(image)[image.height // 2, image.width // 2].mean() / 6)


def video(frames: NDArray[Any], kind: str, codec: str, pixels: str, **about: Any) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=8, options=about.pop("options", {}))
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        for name, value in about.items():
            setattr(stream if name == "sample_aspect_ratio" else stream.codec_context, name, value)
        for values in frames:
            frame = av.VideoFrame.from_ndarray(values, format="rgb24" if values.dtype == np.uint8 else "rgb48le")
            if "colorspace" in about:
                frame = frame.reformat(format=pixels, dst_colorspace="ITU709" if about["colorspace"] == 1 else "BT2020")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


VIDEOS = {
    "mp4": ("mp4", "libx264", "yuv420p"),
    "mov": ("mov", "libx264", "yuv420p"),
    "mkv": ("matroska", "libx264", "yuv420p"),
    "webm": ("webm", "libvpx-vp9", "yuv420p"),
    "avi": ("avi", "mjpeg", "yuvj420p"),
    "ten bits": ("mov", "prores_ks", "yuv422p10le"),
}


def at(data: bytes | Path, moment: str) -> Image.Image:
    return load(data, **LIMITS, moment=Moment.of(moment)).image


@pytest.mark.parametrize("case", VIDEOS)
def test_the_frame_that_is_asked_for(case: str) -> None:
    data = video(counting(), *VIDEOS[case])
    with footage(data, READER) as found:
        assert found is not None
        assert (found.facts.width, found.facts.height, found.facts.num_frames, found.facts.fps) == (96, 64, 40, 8)
        assert [number(frame) for frame in found.frames()] == list(range(40))
    for moment, expected in {"first": 0, "last": 39, "0": 0, "17": 17, "2.5s": 20, "2.55s": 20, "99s": 39}.items():
        assert number(at(data, moment)) == expected, moment


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animations_are_clips_too(kind: str, tmp_path: Path) -> None:
    pictures = [Image.fromarray(frame) for frame in counting(12)]
    path = tmp_path / "clip.any"
    path.write_bytes(encoded(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=100))
    for moment, expected in {"first": 0, "last": 11, "7": 7, "0.45s": 4}.items():
        assert number(at(path, moment)) == expected, moment
    assert [note.code for note in load(path, **LIMITS).notes] == ["first_frame_only"], (
        "a picture where nothing is asked"
    )


@pytest.mark.parametrize("turn", TURNS)
def test_a_phone_s_video_is_turned_as_it_says(turn: str, tmp_path: Path) -> None:
    """The red corner, upper left as stored, goes where the turn takes it."""
    mp4 = turned(clip(tmp_path / "a.mp4", counting(4)), *TURNS[turn])
    image = at(mp4, "1")
    assert image.size == ((64, 96) if turn in ("90", "270") else (96, 64))
    corners = {"90": (-6, 5), "180": (-6, -6), "270": (5, -6), "mirrored": (-6, 5)}
    x, y = corners[turn]
    red = np.asarray(image)[y, x].astype(int)
    assert red[0] > 200
    assert red[1] < 60
    with footage(mp4, READER) as found:
        assert found is not None
        assert (found.facts.width, found.facts.height) == image.size


def test_pixels_that_are_not_square_are_shown_as_they_are_meant() -> None:
    data = video(counting(4), "matroska", "libx264", "yuv420p", sample_aspect_ratio=Fraction(4, 3))
    assert at(data, "first").size == (128, 64)


@pytest.mark.parametrize(("height", "matrix"), [(64, 6), (720, 1)])
def test_a_matrix_that_is_not_told_follows_the_height(height: int, matrix: int) -> None:
    """BT.601 below 720 lines, BT.709 from there on."""
    green = np.zeros((2, height, 96, 3), np.uint8) + np.array([30, 180, 60], np.uint8)
    told = {"colorspace": 1} if matrix == 1 else {}
    data = bytearray(video(green, "matroska", "libx264", "yuv420p", options={"crf": "5"}, **told))
    if matrix == 1:
        assert np.abs(np.asarray(at(bytes(data), "first")).astype(int) - green[0]).mean() < 3
        untold = video_without_matrix(green)
        assert np.abs(np.asarray(at(untold, "first")).astype(int) - green[0]).mean() < 3
    else:
        assert np.abs(np.asarray(at(bytes(data), "first")).astype(int) - green[0]).mean() < 3


def video_without_matrix(frames: NDArray[np.uint8]) -> bytes:
    """Made with BT.709's matrix, and silent about it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream: Any = container.add_stream("libx264", rate=8, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for values in frames:
            made = av.VideoFrame.from_ndarray(values, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709"
            )
            made.colorspace = 2
            container.mux(stream.encode(made))
        container.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_video_is_mapped_like_its_picture(transfer: int, name: str) -> None:
    values = levels(scene(0.05, 0.6), 16)
    frames = np.stack([values] * 3)
    about = {"colorspace": 9, "color_primaries": 9, "color_trc": transfer, "color_range": 1}
    data = video(
        frames, "mp4", "libx265", "yuv420p10le", options={"crf": "4", "x265-params": "log-level=none"}, **about
    )
    expected = cicp.to_srgb(values, cicp.encoding_of(9, transfer), peak=VIDEO_PEAK).astype(int)
    picture = load(data, **LIMITS, moment=FIRST)
    assert np.abs(np.asarray(picture.image).astype(int) - expected).mean() <= 2.5
    assert {note.code for note in picture.notes} == {"clip_frame", "hdr_mapped"}


def test_transparent_video_is_flattened() -> None:
    frames = np.zeros((2, 64, 96, 4), np.uint8)
    frames[..., 0] = 200
    frames[:, :, :48, 3] = 255
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mov") as container:
        stream: Any = container.add_stream("prores_ks", rate=8, options={"profile": "4444"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuva444p10le"
        for values in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="rgba")))
        container.mux(stream.encode())
    image = np.asarray(load(buffer.getvalue(), **LIMITS, background="#0000ff", moment=LAST).image).astype(int)
    assert np.abs(image[:, :44].mean(axis=(0, 1)) - [200, 0, 0]).max() < 8
    assert np.abs(image[:, 52:].mean(axis=(0, 1)) - [0, 0, 255]).max() < 8


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_transparency_beside_the_picture_is_seen(codec: str) -> None:
    """As browsers show it; what is there without it is not meant to be seen."""
    frames = np.repeat(counting(12)[..., :1], 4, axis=-1)
    frames[..., 3] = 0
    frames[:, :, :48, 3] = 255
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm") as container:
        stream: Any = container.add_stream(codec, rate=8, options={"auto-alt-ref": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuva420p"
        for values in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="rgba")))
        container.mux(stream.encode())
    for moment in ("first", "5", "0.63s", "last"):
        picture = load(buffer.getvalue(), **LIMITS, background="#0000ff", moment=Moment.of(moment))
        image = np.asarray(picture.image).astype(int)
        assert np.abs(image[20:, 52:].mean(axis=(0, 1)) - [0, 0, 255]).max() < 8
        index = {"first": 0, "last": 11}.get(moment, 5)
        assert np.abs(image[20:, 30:44].mean(axis=(0, 1)) - 6 * index).max() < 8
        assert "background_filled" in [note.code for note in picture.notes]


@pytest.mark.parametrize(("live", "start"), [("1", 0), ("0", 12_345_678)])
def test_frames_are_counted_where_no_length_is_told_or_a_wrong_one(live: str, start: int) -> None:
    """A browser's own recording tells none; what is cut out of a longer one may count from its beginning."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm" if live == "1" else "matroska", options={"live": live}) as container:
        stream: Any = container.add_stream("libvpx-vp9", rate=8)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, values in enumerate(counting(24)):
            frame = av.VideoFrame.from_ndarray(values, format="rgb24")
            frame.pts, frame.time_base = start + 125 * index, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with footage(buffer.getvalue(), READER) as found:
        assert found is not None
        assert found.facts.num_frames == 24
        assert [number(found.at(Moment(index=0)).image), number(found.at(LAST).image)] == [0, 23]
    assert [number(at(buffer.getvalue(), moment)) for moment in ("11", "last", "1.5s")] == [11, 23, 12]


def test_frames_of_an_animation_may_be_asked_for_in_any_order() -> None:
    pictures = [Image.fromarray(frame) for frame in counting(6)]
    with footage(encoded(pictures[0], "GIF", save_all=True, append_images=pictures[1:]), READER) as found:
        assert found is not None
        assert [number(found.at(Moment(index=index)).image) for index in (4, 0, 5, 2)] == [4, 0, 5, 2]


def test_a_picture_that_stands_in_for_an_animation_is_none_of_its_frames() -> None:
    frames = [Image.fromarray(frame) for frame in counting(6)]
    data = encoded(frames[5], "PNG", save_all=True, append_images=frames[:4], default_image=True)
    with footage(data, READER) as found:
        assert found is not None
        assert found.facts.num_frames == 4
        assert [number(frame) for frame in found.frames()] == [0, 1, 2, 3]
    assert [number(at(data, moment)) for moment in ("first", "2", "last")] == [0, 2, 3]
    assert number(load(data, **LIMITS).image) == 0


@pytest.mark.parametrize("text", ["", "-1", "12.5", "1,5s", "s", "frame 3", "1e9", "9" * 40, "../x"])
def test_what_is_no_frame_is_said(text: str) -> None:
    with pytest.raises(BadInput, match="is no frame: say first, last") as caught:
        Moment.of(text)
    assert caught.value.field == "frame"


def test_a_frame_beyond_the_end_and_a_frame_of_a_picture(tmp_path: Path) -> None:
    mp4 = clip(tmp_path / "a.mp4", counting(5))
    with pytest.raises(BadInput, match="has 5 frames: choose one of 0 to 4, or last"):
        at(mp4, "5")
    for data in (encoded(counting(1)[0]), b"nothing of the kind"):
        with pytest.raises(BadInput, match="one picture, not a clip"):
            at(data, "last")


def test_limits_and_sound_alone(tmp_path: Path) -> None:
    mp4 = clip(tmp_path / "a.mp4", counting(2))
    with pytest.raises(BadPicture, match="96 x 64 pixels; at most 0 million"):
        load(mp4, max_bytes=10**8, max_pixels=6000)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("aac", rate=44_100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44_100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(BadPicture, match="no pictures, only sound"):
        load(buffer.getvalue(), **LIMITS)


def test_a_playlist_in_a_video_s_clothes_opens_nothing(tmp_path: Path) -> None:
    """FFmpeg would follow it to other files and addresses."""
    secret = tmp_path / "secret.mp4"
    clip(secret, counting(3))
    for text in (f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n", f"ffconcat version 1.0\nfile '{secret}'\n"):
        path = tmp_path / "clip.mp4"
        path.write_text(text, "utf-8")
        with pytest.raises(BadPicture):
            load(path, **LIMITS)
        disguised = b"\0\0\0\x18ftypisom" + bytes(12) + text.encode()
        with pytest.raises(BadPicture):
            load(disguised, **LIMITS)


def test_damaged_clips_never_raise_anything_else(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    gif = encoded(Image.fromarray(counting(1)[0]), "GIF", save_all=True, append_images=[Image.new("RGB", (96, 64))])
    webm = video(counting(8), *VIDEOS["webm"])
    for whole in (clip(tmp_path / "a.mp4", counting(8)), webm, video(counting(8), *VIDEOS["avi"]), gif):
        for turn in range(25):
            data = bytearray(whole[: random.integers(1, len(whole) + 1)] if turn % 2 else whole)
            for place in random.integers(0, len(data), 6):
                data[place] = random.integers(0, 256)
            with suppress(BadInput):
                load(bytes(data), **LIMITS, moment=LAST if turn % 3 else None)
