"""Quality of the embedded checkpoint on ten photographs it has never seen.

    python -m benchmarks.nano_quality [--json] [--sheet sheet.png] [--checkpoint assets/nano]

Native size, 14 frames, the checkpoint's own number of steps, fixed seeds. Flow is OpenCV's DIS. Mean
flow alone can be fooled by noise, so the difference that flow cannot explain and the sharpness of the
last frame stand beside it. Look at the sheet: rows are photographs, columns the still and frames
0, 4, 9, 13 at motion 250.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import torch
from diffusers import StableVideoDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor

from svd_ui.catalog import folder_row
from svd_ui.core.denoiser import Conditioning, Denoiser, residual, svd_denoiser
from svd_ui.core.loop import euler
from svd_ui.core.schedule import karras
from svd_ui.request import Speed
from svd_ui.train.batches import embed
from svd_ui.train.cache import to_tensor
from svd_ui.train.motion import FULL_FLOW, KINDS, Motion, at_flow, bucket_of, mean_flow
from svd_ui.train.photos import find_photos, load_photo
from svd_ui.train.render import render, view_at

Frames = NDArray[np.uint8]
ROOT = Path(__file__).resolve().parent.parent
MOTIONS = (20, 140, 250)
FRAMES = 14
SEED = 1234


@dataclass(frozen=True)
class Nano:
    """The loaded checkpoint in fp32 with its svd_ui.json, and the steps that a speed takes."""

    pipeline: Any
    settings: dict[str, Any]
    steps: int

    @classmethod
    def load(cls, folder: Path, speed: Speed) -> Nano:
        pipeline = StableVideoDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
        steps = folder_row(folder).defaults(speed)["num_inference_steps"]
        return cls(pipeline, json.loads((folder / "svd_ui.json").read_text()), steps)

    @property
    def size(self) -> tuple[int, int]:
        return self.settings["height"], self.settings["width"]

    def encode(self, frames: Frames) -> Tensor:
        """[F H W 3] => unscaled latents [F C h w]"""
        z: Tensor = self.pipeline.vae.encode(to_tensor(frames)).latent_dist.mode()
        return z

    def decode(self, latents: Tensor) -> Frames:
        """Scaled latents [F C h w] => [F H W 3]"""
        vae = self.pipeline.vae
        pixels = vae.decode(latents / vae.config.scaling_factor, num_frames=len(latents)).sample.clamp(-1, 1)
        return ((pixels + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()

    def denoiser(self, still: Frames, motion: float, noise_aug: float = 0.02) -> Denoiser:
        """``still`` [1 H W 3] with unit-variance pixel noise times ``noise_aug``, as the pipeline adds it."""
        generator = torch.Generator().manual_seed(SEED)
        pixels = to_tensor(still)
        noisy = pixels + noise_aug * torch.randn(pixels.shape, generator=generator)
        z = self.pipeline.vae.encode(noisy).latent_dist.mode()
        cond = Conditioning(
            image_embeds=embed(pixels, self.pipeline.image_encoder),
            image_latents=z[:, None].expand(1, FRAMES, *z.shape[1:]),
            added_time_ids=torch.tensor([[self.settings["fps"] - 1, motion, noise_aug]], dtype=torch.float32),
        )
        scaled = cond.image_latents * self.pipeline.vae.config.scaling_factor
        return residual(svd_denoiser(self.pipeline.unet, cond, torch.float32), scaled, self.settings["residual_scale"])

    def animate(self, still: Frames, motion: float, seed: int) -> Frames:
        """[1 H W 3] => [F H W 3]"""
        scheduler = self.pipeline.scheduler.config
        sigmas = karras(self.steps, scheduler.sigma_min, scheduler.sigma_max)
        shape = (1, FRAMES, *self.encode(still).shape[1:])
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * sigmas[0]
        for step in euler(self.denoiser(still, motion), x, sigmas):
            x = step.latents
        return self.decode(x[0])


def psnr(a: Frames, b: Frames) -> float:
    error = np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2)
    return float(10 * np.log10(255**2 / max(float(error), 1e-9)))


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
    """The largest centred crop at the frame's aspect, [1 H W 3], antialiased."""
    photo = load_photo(path)
    span = min(photo.shape[0] / size[0], photo.shape[1] / size[1])
    return render(view_at(photo, size, span, (0.5, 0.5)), Motion(), size, 1, 7)


def error_bands(nano: Nano, paths: list[Path], sigmas: list[float]) -> dict[float, float]:
    """sigma => x0 error of the model / of the copied still, over rendered held-out clips of every kind."""
    rng = np.random.default_rng(SEED)
    totals = {sigma: [0.0, 0.0] for sigma in sigmas}
    kinds = ["drift", "drift", "drift", *KINDS]
    for index, path in enumerate(paths):
        photo = load_photo(path)
        span = min(photo.shape[0] / nano.size[0], photo.shape[1] / nano.size[1])
        kind = KINDS[kinds[index % len(kinds)]][1](rng)
        motion = at_flow(kind, FULL_FLOW * (0.1 + 0.85 * (index + 0.5) / len(paths)), nano.size, FRAMES, 7)
        clip = render(view_at(photo, nano.size, span * 0.8, (0.5, 0.5)), motion, nano.size, FRAMES, 7)
        z = nano.encode(clip)[None] * nano.pipeline.vae.config.scaling_factor
        denoise = nano.denoiser(clip[:1], bucket_of(mean_flow(motion, nano.size, FRAMES, 7), 7))
        for sigma in sigmas:
            noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(SEED + index))
            x0 = denoise(z + sigma * noise, torch.tensor(sigma))
            totals[sigma][0] += float((x0 - z).square().mean())
            totals[sigma][1] += float((z[:, :1] - z).square().mean())
    return {sigma: model / still for sigma, (model, still) in totals.items()}


def measure_photo(nano: Nano, path: Path, seed: int) -> tuple[dict[str, Any], Frames]:
    """All figures of one photograph, and its clip at the highest motion."""
    still = still_of(path, nano.size)
    reconstruction = nano.decode(nano.encode(still) * nano.pipeline.vae.config.scaling_factor)
    began = time.monotonic()
    clips = {motion: nano.animate(still, motion, seed) for motion in MOTIONS}
    seconds = (time.monotonic() - began) / len(MOTIONS)
    flows = {motion: flow_figures(clip) for motion, clip in clips.items()}
    fast = clips[MOTIONS[-1]]
    row = {
        "photo": path.stem,
        "reconstruction_psnr": psnr(reconstruction[0], still[0]),
        "first_frame_psnr": statistics.mean(psnr(clip[0], reconstruction[0]) for clip in clips.values()),
        "flow": [flows[motion][0] for motion in MOTIONS],
        "incoherence": flows[MOTIONS[-1]][1],
        "sharpness": sharpness(fast[-1]) / sharpness(fast[0]),
        "seconds_per_clip": seconds,
    }
    return row, np.concatenate([still, fast[[0, 4, 9, 13]]])


def summarise(rows: list[dict[str, Any]], bands: dict[float, float]) -> list[dict[str, Any]]:
    """One entry per line of the acceptance table: value, and whether it passes for CPU and for GPU."""

    def median(name: str) -> float:
        return statistics.median(row[name] for row in rows)

    flows = [statistics.mean(row["flow"][i] for row in rows) for i in range(len(MOTIONS))]
    rising = flows[0] < flows[1] < flows[2]
    growth = flows[2] / max(flows[0], 1e-6)
    beats = all(ratio < 1 for ratio in bands.values())
    sharp, blur = median("sharpness"), median("incoherence")
    recon, first = median("reconstruction_psnr"), median("first_frame_psnr")
    return [
        {"figure": "reconstruction PSNR, median dB", "value": recon, "cpu": recon >= 24, "gpu": recon >= 26},
        {
            "figure": "first frame / own reconstruction, median dB",
            "value": first,
            "cpu": first >= 22,
            "gpu": first >= 24,
        },
        {
            "figure": "mean flow at motion 20 / 140 / 250, px",
            "value": flows,
            "cpu": rising and growth >= 1.5,
            "gpu": rising and growth >= 3,
        },
        {"figure": "incoherence at 250, median", "value": blur, "cpu": blur <= 0.5, "gpu": blur <= 0.4},
        {"figure": "x0 error / copied still, by sigma", "value": bands, "cpu": beats, "gpu": beats},
        {
            "figure": "sharpness last / first at 250, median",
            "value": sharp,
            "cpu": 0.4 <= sharp <= 1.6,
            "gpu": 0.5 <= sharp <= 1.5,
        },
    ]


def show(value: float | list[float] | dict[float, float]) -> str:
    if isinstance(value, list):
        return " / ".join(f"{v:.2f}" for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k:g}: {v:.2f}" for k, v in value.items())
    return f"{value:.2f}"


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "assets/nano")
    parser.add_argument("--photos", type=Path, default=ROOT / "benchmarks/data")
    parser.add_argument("--sheet", type=Path, default=Path("nano_quality.png"))
    parser.add_argument("--speed", choices=get_args(Speed), default="exact", help="how many steps a clip takes")
    parser.add_argument("--limit", type=int, help="only the first N photographs")
    parser.add_argument("--json", action="store_true", help="everything measured, as JSON")
    given = parser.parse_args()
    nano = Nano.load(given.checkpoint, given.speed)
    paths = find_photos([given.photos])[: given.limit]
    measured = [measure_photo(nano, path, SEED + index) for index, path in enumerate(paths)]
    rows = [row for row, _ in measured]
    bands = error_bands(nano, paths, [0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
    table = summarise(rows, bands)
    sheet = np.concatenate([np.concatenate(list(frames), axis=1) for _, frames in measured])
    cv2.imwrite(str(given.sheet), sheet[..., ::-1])
    if given.json:
        print(json.dumps({"table": table, "photos": rows, "seed": SEED, "sheet": str(given.sheet)}, indent=1))
        return
    for row in rows:
        print(
            f"{row['photo']:16} recon {row['reconstruction_psnr']:.1f}  first {row['first_frame_psnr']:.1f}  "
            f"flow {show(row['flow'])}  incoherence {row['incoherence']:.2f}  sharpness {row['sharpness']:.2f}  "
            f"{row['seconds_per_clip']:.1f} s"
        )
    for entry in table:
        verdict = " ".join(f"{column}:{'pass' if entry[column] else 'FAIL'}" for column in ("cpu", "gpu"))
        print(f"{entry['figure']:45} {show(entry['value']):60} {verdict}")


if __name__ == "__main__":
    main()
