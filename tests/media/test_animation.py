"""GIF and WebP as people see them: still where nothing moves, smooth where it does, as long as the clip."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from svd_ui.media.animation import FrameSpool, write_gif, write_webp
from svd_ui.settings import REPOSITORY

WRITERS = {"gif": write_gif, "webp": write_webp}


def read(path: Path) -> tuple[np.ndarray, list[int]]:
    """Frames as a browser shows them, and the milliseconds of each."""
    frames, times = [], []
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            frames.append(np.asarray(image.convert("RGB")).astype(int))
            times.append(image.info["duration"])
    return np.stack(frames), times


def photo(width: int = 256, height: int = 144) -> np.ndarray:
    with Image.open(REPOSITORY / "assets" / "examples" / "cat.jpg") as image:
        return np.asarray(image.convert("RGB").resize((width, height)))


def scene(count: int = 8, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A photo in which a patch moves, and where nothing does."""
    still, draw = photo(), np.random.default_rng(0)
    frames = np.repeat(still[None], count, 0)
    for index, frame in enumerate(frames):
        frame[40:80, 20 + 12 * index : 60 + 12 * index] = 255 - frame[40:80, 20 + 12 * index : 60 + 12 * index]
    calm = np.ones(still.shape[:2], bool)
    calm[40:80] = False
    return (frames + draw.normal(0, noise, frames.shape)).clip(0, 255).round().astype(np.uint8), calm


def gradient(count: int = 4, width: int = 256, height: int = 144) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    frames = [np.stack([30 + (x + 4 * t) * 0.35, 60 + y * 0.7, 150 - x * 0.2 + y * 0.3], -1) for t in range(count)]
    return np.stack(frames).clip(0, 255).astype(np.uint8)


def seen_from_afar(frame: np.ndarray) -> np.ndarray:
    """Dither noise is not seen, bands are."""
    return np.asarray(Image.fromarray(frame.astype(np.uint8)).filter(ImageFilter.GaussianBlur(2))).astype(float)


@pytest.mark.parametrize("noise", [0.0, 1.0, 2.0])
def test_a_gif_stands_still_where_nothing_moves(tmp_path: Path, noise: float) -> None:
    frames, calm = scene(noise=noise)
    write_gif(tmp_path / "a.gif", frames, 7)
    shown, _ = read(tmp_path / "a.gif")
    jumps = np.abs(np.diff(shown, axis=0)).max(-1) > 8
    assert jumps[:, calm].mean() <= 0.01
    assert jumps[:, ~calm].mean() > 0.05, "what moves is drawn"
    error = np.mean([np.abs(seen_from_afar(a) - seen_from_afar(b)).mean() for a, b in zip(shown, frames, strict=True)])
    assert error < 2


def test_a_fade_is_followed(tmp_path: Path) -> None:
    still = photo().astype(float)
    frames = np.stack([still * (1 - 0.02 * t) for t in range(20)]).astype(np.uint8)
    write_gif(tmp_path / "a.gif", frames, 7)
    shown, _ = read(tmp_path / "a.gif")
    for a, b in zip(shown, frames, strict=True):
        assert np.abs(a.mean() - b.mean()) < 3


def test_gradients_have_no_bands(tmp_path: Path) -> None:
    """Against what per-frame palettes with error diffusion gave."""
    frames = gradient()
    write_gif(tmp_path / "a.gif", frames, 7)
    shown, _ = read(tmp_path / "a.gif")
    old = np.asarray(Image.fromarray(frames[0]).quantize(256).convert("RGB"))
    first, theirs = (np.abs(seen_from_afar(one) - seen_from_afar(frames[0])).mean() for one in (shown[0], old))
    assert first < 0.75 * theirs
    assert max(np.abs(seen_from_afar(a) - seen_from_afar(b)).mean() for a, b in zip(shown, frames, strict=True)) < 2


@pytest.mark.parametrize("fps", [1, 6, 7, 24, 25, 30, 48, 50, 60, 120])
@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("count", [14, 25])
def test_animations_last_as_long_as_the_clip(tmp_path: Path, kind: str, fps: int, count: int) -> None:
    frames = np.repeat(np.arange(count, dtype=np.uint8)[:, None, None, None] * 9, 16, 1).repeat(24, 2).repeat(3, 3)
    WRITERS[kind](tmp_path / "a", frames, fps)
    shown, times = read(tmp_path / "a")
    assert sum(times) == pytest.approx(1000 * count / fps, rel=0.05)
    assert min(times) >= (20 if kind == "gif" else 11), "browsers slow shorter ones down"
    assert max(times) - min(times) <= 10
    levels = [int(frame.mean()) for frame in shown]
    assert len(levels) == count if fps <= 50 else len(levels) > 0.5 * count * min(1, 50 / fps)
    assert np.all(np.diff(levels) > 0), "in order, and spread evenly"
    assert np.diff(levels).max() <= 9 * np.ceil(fps / (50 if kind == "gif" else 90) + 0.01) + 6


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("shape", [(1, 9, 13), (2, 1, 1), (3, 33, 21)])
def test_odd_shapes_and_single_frames(tmp_path: Path, kind: str, shape: tuple[int, int, int]) -> None:
    frames = np.full((*shape, 3), (200, 30, 90), np.uint8)
    WRITERS[kind](tmp_path / "a", frames, 7, "{}")
    with Image.open(tmp_path / "a") as image:
        assert (image.width, image.height) == (shape[2], shape[1])
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - (200, 30, 90)).max() <= 4
        assert image.info.get("comment") == b"{}" if kind == "gif" else b"{}" in image.info["xmp"]


@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_clip_gives_the_same_file(tmp_path: Path, kind: str) -> None:
    frames, _ = scene(noise=1)
    for name in ("a", "b"):
        WRITERS[kind](tmp_path / name, frames, 7, "tag")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("kind", WRITERS)
def test_long_clips_take_the_memory_of_a_few_frames(tmp_path: Path, kind: str) -> None:
    spool, frame = FrameSpool(tmp_path), np.zeros((1, 288, 512, 3), np.uint8)
    for index in range(100):
        frame[:, :, index % 128] = index
        spool.add(frame)
    tracemalloc.start()
    WRITERS[kind](tmp_path / f"a.{kind}", spool, 30)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    spool.close()
    assert peak < 24_000_000 < 60 * frame.nbytes, "the table of colours, a sample of the frames, and a few of them"
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{kind}"]
    assert sum(read(tmp_path / f"a.{kind}")[1]) == pytest.approx(100_000 / 30, rel=0.01)


def test_a_still_scene_makes_a_small_gif(tmp_path: Path) -> None:
    frames, _ = scene()
    write_gif(tmp_path / "one.gif", frames[:1], 7)
    write_gif(tmp_path / "all.gif", frames, 7)
    one, whole = ((tmp_path / name).stat().st_size for name in ("one.gif", "all.gif"))
    assert whole < 2.5 * one
