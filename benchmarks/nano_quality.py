"""Quality of the embedded checkpoint on ten photographs it has never seen.

    python -m benchmarks.nano_quality [--json FILE] [--sheet sheet.jpg] [--checkpoint assets/nano] [--limit 3]

Clips are made the way the app makes them: native size, 14 frames, the checkpoint's own steps, fixed seeds. Flow is
OpenCV's DIS, in pixels a frame. Mean flow alone can be fooled by noise, so the difference that flow cannot explain and the
sharpness of the last frame stand beside it. Look at the sheet: rows are photographs, columns the still and
frames 0, 4, 9, 13 at motion 250.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.report import Row, finish
from recipes.nano.batches import to_tensor
from recipes.nano.motion import FULL_FLOW, Motion, at_flow, bucket_of, mean_flow, point_grid, sources
from recipes.nano.photos import find_photos, load_photo
from recipes.nano.render import render, view_at
from recipes.nano.render import still as still_view
from svd_ui.catalog import PROFILES, folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.devices import Plan, describe
from svd_ui.core.families.warp_autoencoder import WarpAutoencoder
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.events import never
from svd_ui.request import GenerationRequest, Speed

Frames = NDArray[np.uint8]
ROOT = Path(__file__).resolve().parent.parent
MOTIONS = (20, 140, 250)
RATES = (7, 14, 28)
SIGMAS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 90.0)
FRAMES = 14
SEED = 1234
KNOWN = (Motion(zoom=1.0, focus=(0.3, 0.1)), Motion(pan=(1.0, 0.0)), Motion(pan=(-0.8, 0.3), zoom=0.5, roll=0.2))
"""Motions whose rendered clips go through the autoencoder and the denoiser."""


@dataclass(frozen=True)
class Nano:
    """The loaded checkpoint in fp32, and how fast its clips are asked for."""

    runtime: Runtime
    speed: Speed

    @classmethod
    def load(cls, folder: Path, speed: Speed) -> Nano:
        plan = Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa")
        return cls(Runtime(folder_row(folder), folder, plan), speed)

    @property
    def size(self) -> tuple[int, int]:
        """Height, width."""
        return self.runtime.row.height, self.runtime.row.width

    @property
    def vae(self) -> WarpAutoencoder:
        vae: WarpAutoencoder = self.runtime.vae
        return vae

    def clip(self, seed: int, **values: Any) -> ClipSpec:
        height, width = self.size
        asked = GenerationRequest(width=width, height=height, num_frames=FRAMES, seed=seed, speed=self.speed, **values)
        return ClipSpec.of(asked, self.runtime.row)

    def context(self, still: Frames, clip: ClipSpec) -> SamplingContext:
        generator = seeded(clip.seed)
        cond = condition(self.runtime, Image.fromarray(still), clip, generator)
        return SamplingContext(self.runtime, cond, clip, generator)

    def animate(self, still: Frames, seed: int, **values: Any) -> Frames:
        """[H W 3] => [F H W 3]"""
        *_, last = sample(self.context(still, self.clip(seed, **values)))
        return np.concatenate(
            [*decode(decoder_of(self.runtime, Image.fromarray(still)), last.latents, FRAMES, never())]
        )


def psnr(a: Frames, b: Frames) -> float:
    error = np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2)
    return float(10 * np.log10(255**2 / max(float(error), 1e-3)))


def grey(frame: Frames) -> Frames:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.uint8)


def flow_figures(clip: Frames) -> tuple[float, float]:
    """Mean DIS flow in pixels per frame, and the share of frame difference it cannot explain."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    h, w = clip.shape[1:3]
    base = np.stack(np.meshgrid(np.arange(w), np.arange(h)), axis=-1).astype(np.float32)
    lengths, left, plain = [], [], []
    for a, b in itertools.pairwise(clip):
        flow = dis.calc(grey(b), grey(a), None)  # type: ignore[call-overload]
        compensated = cv2.remap(a, base + flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lengths.append(np.linalg.norm(flow, axis=-1).mean())
        left.append(np.abs(b.astype(np.float32) - compensated).mean())
        plain.append(np.abs(b.astype(np.float32) - a).mean())
    return float(np.mean(lengths)), float(np.mean(left) / max(float(np.mean(plain)), 1e-6))


def sharpness(frame: Frames) -> float:
    """Mean gradient length: grows with noise, shrinks with blur."""
    image = grey(frame).astype(np.float32)
    return float(np.hypot(np.diff(image, axis=1)[:-1], np.diff(image, axis=0)[:, :-1]).mean())


def still_of(path: Path, size: tuple[int, int]) -> Frames:
    """The largest centred crop at the frame's aspect, [H W 3], antialiased."""
    photo = load_photo(path)
    span = min(photo.shape[0] / size[0], photo.shape[1] / size[1])
    return still_view(view_at(photo, size, span, (0.5, 0.5)), size)


@dataclass(frozen=True)
class Known:
    """A rendered clip [F H W 3] with its latents [1 F C h w] and its motion bucket."""

    frames: Frames
    latents: torch.Tensor
    bucket: float


def known_clip(nano: Nano, path: Path, index: int) -> Known:
    """A camera move over a photograph, with room left around the frame for what comes into view."""
    photo, patch = load_photo(path), nano.runtime.patch
    span = min(photo.shape[0] / nano.size[0], photo.shape[1] / nano.size[1]) * 0.8
    points = point_grid(nano.size[0] // patch, nano.size[1] // patch)
    share = 0.2 + 0.6 * (index % 5) / 4
    motion = at_flow(KNOWN[index % len(KNOWN)], share * FULL_FLOW, points, FRAMES)
    frames = render(view_at(photo, nano.size, span, (0.5, 0.5)), motion, nano.size, FRAMES, 7)
    seen = sources(motion, points, FRAMES, 7)
    moved = torch.from_numpy((seen - points) * max(nano.size) / 2).float().permute(0, 3, 1, 2)
    latents = nano.vae.encode_flow(to_tensor(frames[:1]), moved)[None]
    return Known(frames, latents, bucket_of(mean_flow(seen), 7))


def error_bands(nano: Nano, clips: list[Known]) -> dict[float, float]:
    """sigma => error of the estimated displacement over that of a still that does not move."""
    totals = {sigma: [0.0, 0.0] for sigma in SIGMAS}
    for index, clip in enumerate(clips):
        known = nano.clip(SEED + index, motion_bucket_id=round(clip.bucket))
        denoise = nano.context(clip.frames[0], known).conditional()
        z = clip.latents
        for sigma in SIGMAS:
            noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(SEED + index))
            x0 = denoise(z + sigma * noise, torch.tensor(sigma))
            totals[sigma][0] += float((x0 - z)[:, :, -2:].square().mean())
            totals[sigma][1] += float((z[:, :1] - z)[:, :, -2:].square().mean())
    return {sigma: model / still for sigma, (model, still) in totals.items()}


@dataclass(frozen=True)
class Measured:
    """The figures of one photograph, and its clip at the highest motion after the still."""

    name: str
    figures: dict[str, float]
    strip: Frames


def measure_photo(nano: Nano, path: Path, seed: int) -> Measured:
    still = still_of(path, nano.size)
    z = nano.vae.encode(to_tensor(still[None])).latent_dist.mode()  # type: ignore[union-attr]
    painted = nano.vae.decode(z).sample.clamp(-1, 1)  # type: ignore[union-attr]
    began = time.monotonic()
    clips = {motion: nano.animate(still, seed, motion_bucket_id=motion) for motion in MOTIONS}
    seconds = (time.monotonic() - began) / len(MOTIONS)
    rates = {fps: nano.animate(still, seed, motion_bucket_id=140, fps=fps) for fps in RATES[1:]} | {7: clips[140]}
    fast = clips[MOTIONS[-1]]
    figures = {
        "components alone": psnr(((painted[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), still),
        "first frame": statistics.mean(psnr(clip[0], still) for clip in clips.values()),
        **{f"flow at {motion}": flow_figures(clip)[0] for motion, clip in clips.items()},
        **{f"flow at {fps} fps": flow_figures(rates[fps])[0] for fps in RATES},
        "incoherence": flow_figures(fast)[1],
        "sharpness": sharpness(fast[-1]) / sharpness(fast[0]),
        "seconds": seconds,
    }
    return Measured(path.stem, figures, np.concatenate([still[None], fast[[0, 4, 9, 13]]]))


def rows(nano: Nano, measured: list[Measured], clips: list[Known]) -> list[Row]:
    """The acceptance table."""

    def median(name: str) -> float:
        return statistics.median(one.figures[name] for one in measured)

    def mean(name: str) -> float:
        return statistics.mean(one.figures[name] for one in measured)

    flows = [mean(f"flow at {motion}") for motion in MOTIONS]
    by_rate = [mean(f"flow at {fps} fps") for fps in RATES]
    wanted = MOTIONS[-1] / 255 * FULL_FLOW * max(nano.size) / 2
    sharp = [one.figures["sharpness"] for one in measured]
    back = statistics.median(_round_trip(nano, clip) for clip in clips)
    return [
        Row("components alone, still, median", median("components alone"), "dB", at_least=29),
        Row("moving clip through the autoencoder, median", back, "dB", at_least=29),
        Row("first frame against the still, median", median("first frame"), "dB", at_least=26),
        *(Row(f"flow at motion {m}, mean", flow, "px") for m, flow in zip(MOTIONS, flows, strict=True)),
        Row("dial: flow at 140 over flow at 20", flows[1] / flows[0], "x", at_least=1),
        Row("dial: flow at 250 over flow at 140", flows[2] / flows[1], "x", at_least=1),
        Row("dial: range, 250 over 20", flows[2] / flows[0], "x", at_least=5),
        Row("flow at 250 over its label", flows[2] / wanted, "x"),
        Row("14 fps: flow a frame over that at 7", by_rate[1] / by_rate[0], "x", at_most=0.75),
        Row("28 fps: flow a frame over that at 14", by_rate[2] / by_rate[1], "x", at_most=0.75),
        Row("incoherence at 250, median", median("incoherence"), "", at_most=0.3),
        Row("the same of rendered clips", statistics.median(flow_figures(clip.frames)[1] for clip in clips), ""),
        Row("sharpness last over first, median", statistics.median(sharp), "x", at_least=0.7, at_most=1.3),
        Row("the same, least", min(sharp), "x"),
        Row("the same, most", max(sharp), "x"),
        *(
            Row(f"error at sigma {sigma:g} over a still's", error, "x", at_most=1.0)
            for sigma, error in error_bands(nano, clips).items()
        ),
        Row("seconds a clip, encoded, denoised, decoded", mean("seconds"), "s", at_most=20),
    ]


def _round_trip(nano: Nano, clip: Known) -> float:
    """PSNR of a rendered clip that was encoded with its known motion and decoded again."""
    decoded = decode(decoder_of(nano.runtime, Image.fromarray(clip.frames[0])), clip.latents, FRAMES, never())
    return psnr(np.concatenate([*decoded]), clip.frames)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "assets/nano")
    parser.add_argument("--photos", type=Path, default=ROOT / "benchmarks/data")
    parser.add_argument("--sheet", type=Path, default=Path("nano_quality.jpg"))
    parser.add_argument("--speed", choices=get_args(Speed), default="exact", help="how many steps a clip takes")
    parser.add_argument("--limit", type=int, help="only the first N photographs")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    nano = Nano.load(given.checkpoint, given.speed)
    paths = find_photos([given.photos])[: given.limit]
    measured = [measure_photo(nano, path, SEED + index) for index, path in enumerate(paths)]
    for one in measured:
        print(f"{one.name:16}", "  ".join(f"{name} {value:.2f}" for name, value in one.figures.items()))
    sheet = np.concatenate([np.concatenate(list(one.strip), axis=1) for one in measured])
    small = cv2.resize(sheet, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(given.sheet), small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    clips = [known_clip(nano, path, index) for index, path in enumerate(paths)]
    finish("nano_quality", describe("cpu").name, rows(nano, measured, clips), given.json)


if __name__ == "__main__":
    main()
