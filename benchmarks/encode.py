"""Frames -> mp4: our writer beside the usual way (PIL images + diffusers.utils.export_to_video).

    python -m benchmarks.encode [--frames 25] [--width 1024] [--height 576] [--rounds 5]

Both take the same uint8 frames in the same run, turn about, so that a busy machine slows both. Prints the
median seconds, file size and PSNR of what is read back, and the ratio of the times.
"""

from __future__ import annotations

import argparse
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

FPS = 7


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("frames", 25), ("width", 1024), ("height", 576), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    frames = clip(args.frames, args.width, args.height)
    ways: dict[str, Callable[[np.ndarray, Path], None]] = {"ours": ours, "export_to_video": usual}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.mp4" for name in ways}
        for _ in range(args.rounds + 1):
            for name, write in ways.items():
                start = time.perf_counter()
                write(frames, paths[name])
                seconds[name].append(time.perf_counter() - start)
        print(
            f"{args.frames} frames of {args.width}x{args.height}, median of {args.rounds} interleaved rounds after one unmeasured"
        )
        medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
        for name, path in paths.items():
            size = path.stat().st_size / 1e6
            print(f"{name:>16}: {medians[name]:6.3f} s  {size:6.2f} MB  PSNR {psnr(frames, path):5.2f} dB")
    print(f"ratio export_to_video / ours: {medians['export_to_video'] / medians['ours']:.2f}")


if __name__ == "__main__":
    main()
