"""Frames -> mp4: our writer beside the usual way (PIL images + diffusers.utils.export_to_video).

Both take the same uint8 frames in the same run, turn about, so that a busy machine slows both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from diffusers.utils import export_to_video
from PIL import Image

from svd_ui.media.image import fit
from svd_ui.media.video import Mp4Writer, read_frames
from svd_ui.settings import REPOSITORY

from ..clips import in_turn, median_ratio
from ..report import Row

FPS = 7


def rows(runs: int = 5, width: int = 1024, height: int = 576, frames: int = 25) -> list[Row]:
    pictures = clip(frames, width, height)
    ways: dict[str, Callable[[np.ndarray, Path], None]] = {"ours": ours, "export_to_video": usual}
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.mp4" for name in ways}
        timed = {name: _timed(write, pictures, paths[name]) for name, write in ways.items()}
        in_turn(timed, 1)  # warms up
        seconds = in_turn(timed, runs)
        notes = {
            name: f"{path.stat().st_size / 1e6:.1f} MB, {psnr(pictures, path):.1f} dB" for name, path in paths.items()
        }
    what = f"{frames} frames {width}x{height} to mp4"
    return [
        *(Row(f"{what}, {name}", statistics.median(took), "s", note=notes[name]) for name, took in seconds.items()),
        Row(
            f"{what}, export_to_video over ours",
            median_ratio(seconds["export_to_video"], seconds["ours"]),
            "x",
            at_least=1.4,
            goal=1.8,
        ),
    ]


def _timed(write: Callable[[np.ndarray, Path], None], frames: np.ndarray, path: Path) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        write(frames, path)
        return time.perf_counter() - start

    return run


def clip(count: int, width: int, height: int) -> np.ndarray:
    """uint8 [F H W 3]: a slow pan over a photograph, grain included, as generated frames have it."""
    photo = next(iter(sorted((REPOSITORY / "assets" / "examples").glob("*.jpg"))), None)
    source = Image.open(photo) if photo else Image.effect_noise((1280, 960), 60)
    wide = np.asarray(fit(source, width + 2 * count, height))
    frames = np.stack([wide[:, 2 * i : 2 * i + width] for i in range(count)]).astype(np.int16)
    grain = np.random.default_rng(0).normal(0, 2, frames.shape)
    return np.clip(frames + grain, 0, 255).astype(np.uint8)


def ours(frames: np.ndarray, path: Path) -> None:
    with Mp4Writer(path, frames.shape[2], frames.shape[1], FPS) as writer:
        writer.add(frames)


def usual(frames: np.ndarray, path: Path) -> None:
    export_to_video([Image.fromarray(frame) for frame in frames], str(path), fps=FPS)


def psnr(frames: np.ndarray, path: Path) -> float:
    back = read_frames(path)[:, : frames.shape[1], : frames.shape[2]]
    if back.shape != frames.shape:  # the usual way may resize to multiples of 16
        return float("nan")
    return float(10 * np.log10(255**2 / np.mean((back.astype(np.float32) - frames) ** 2)))
