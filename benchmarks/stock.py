"""Stable Video Diffusion with random weights, and diffusers' pipeline over them, called as its documentation says.

Random weights cost the same time and memory as trained ones; they are scaled so that half precision stays finite.
``Weights.twin`` gives a second set of modules around the very same tensors: diffusers' own layers for the stock
pipeline beside the ones that our runtime changes, without a second copy in memory.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import StableVideoDiffusionPipeline
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.utils import export_to_video
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.tiny import SVD_SCHEDULER

from . import models
from .accelerator import Accelerator
from .clips import Clip

DECODE_CHUNK = 8
"""The documentation's ``decode_chunk_size``."""
COMPONENTS = ("unet", "vae", "image_encoder")
SEED = 0


@dataclass(frozen=True)
class Config:
    """An architecture and the clip that is made with it. ``tflop`` are those of the whole clip, where counted."""

    name: str
    width: int
    height: int
    num_frames: int
    num_inference_steps: int
    tflop: float | None
    build: Callable[[str, torch.dtype], Any]


def _full(component: str, dtype: torch.dtype) -> Any:
    return getattr(models, component)("svd", dtype)


def _narrow(channels: tuple[int, ...], layers: int, embed: int, frames: int) -> Callable[[str, torch.dtype], Any]:
    """SVD's architecture with fewer ``channels`` (U-Net, per level) and ``layers``, 64 channels per head."""

    def build(component: str, dtype: torch.dtype) -> Any:
        inner = len(channels) - 1
        with models.META:
            if component == "unet":
                made: Any = UNetSpatioTemporalConditionModel(
                    block_out_channels=channels,
                    down_block_types=("CrossAttnDownBlockSpatioTemporal",) * inner + ("DownBlockSpatioTemporal",),
                    up_block_types=("UpBlockSpatioTemporal",) + ("CrossAttnUpBlockSpatioTemporal",) * inner,
                    layers_per_block=layers,
                    cross_attention_dim=embed,
                    num_attention_heads=tuple(max(1, width // 64) for width in channels),
                    num_frames=frames,
                )
            elif component == "vae":
                widths = tuple(max(32, width // 2) for width in (channels + channels[-1:] * 3)[:4])
                made = AutoencoderKLTemporalDecoder(**models.VAE | {"block_out_channels": widths}, layers_per_block=1)
            else:
                made = CLIPVisionModelWithProjection(
                    CLIPVisionConfig(
                        hidden_size=64,
                        intermediate_size=128,
                        num_hidden_layers=2,
                        num_attention_heads=2,
                        projection_dim=embed,
                    )
                )
        return made.to(dtype).requires_grad_(False).eval()

    return build


CONFIGS = {
    config.name: config
    for config in (
        Config("tiny", 64, 64, 2, 2, None, _narrow((32, 64), 1, 32, 2)),
        Config("mid", 192, 128, 6, 4, None, _narrow((64, 128, 256, 256), 1, 256, 6)),
        Config("full", 1024, 576, 25, 25, 4174, _full),
    )
}


class Weights:
    """The three modules of a configuration with random weights in ``dtype`` on ``device``, and their twins."""

    def __init__(self, config: Config, device: torch.device, dtype: torch.dtype) -> None:
        self.config, self.dtype = config, dtype
        self.modules: dict[str, Any] = {}
        for seed, name in enumerate(COMPONENTS):
            module = config.build(name, dtype).to_empty(device=device)
            fill(module, torch.Generator(device).manual_seed(seed))
            self.modules[name] = module
        self._untouched = _twin(self.modules)  # a runtime changes the classes and processors of those above

    def twin(self) -> dict[str, Any]:
        """Other module objects around the same parameters, diffusers' own whatever became of ``modules``."""
        return _twin(self._untouched)

    def bytes(self) -> int:
        return sum(p.numel() * p.element_size() for m in self.modules.values() for p in m.parameters())


def _twin(modules: dict[str, Any]) -> dict[str, Any]:
    return {name: copy.deepcopy(module, _kept(module)) for name, module in modules.items()}


def _kept(module: nn.Module) -> dict[int, Any]:
    return {id(parameter): parameter for parameter in module.parameters()}


@torch.no_grad()
def fill(module: nn.Module, generator: torch.Generator) -> None:
    """Weights whose layers keep the size of what passes through them: normal, variance 1 / (2 fan in)."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        leaf = name.rpartition(".")[2]
        if leaf == "position_ids":
            tensor.copy_(torch.arange(tensor.shape[-1]))
        elif leaf == "mix_factor":
            tensor.fill_(0.5)
        elif tensor.ndim > 1:
            tensor.normal_(0, (2 * tensor[0].numel()) ** -0.5, generator=generator)
        elif leaf == "class_embedding":
            tensor.normal_(0, 0.02, generator=generator)
        else:
            tensor.fill_(1.0 if leaf == "weight" else 0.0)


class Stock:
    """diffusers' ``StableVideoDiffusionPipeline`` with its own attention processors, scheduler and loop."""

    def __init__(self, weights: Weights, accelerator: Accelerator) -> None:
        self.config, self.accelerator = weights.config, accelerator
        self.pipeline: Any = StableVideoDiffusionPipeline(
            **weights.twin(),
            scheduler=EulerDiscreteScheduler(**SVD_SCHEDULER),
            feature_extractor=CLIPImageProcessor(),
        ).to(accelerator.device)
        self.pipeline.set_progress_bar_config(disable=True)

    def clip(self, still: Image.Image, steps: int, folder: Path) -> Clip:
        """From the picture to the mp4, at the pipeline's own defaults and the documented decode chunk."""
        self.pipeline.to(self.accelerator.device)  # where our side may have moved the shared weights to the host
        self.accelerator.reset_peak()
        marks = [started := time.perf_counter()]
        frames = self._run(still, steps, "pil", marks)
        written = export(frames[0], folder / "stock.mp4")
        self.accelerator.synchronise()
        return Clip(
            seconds=time.perf_counter() - started,
            steps=[after - before for before, after in pairwise(marks[1:])],
            peak=self.accelerator.peak(),
            note="" if written else "ends with PIL images: export_to_video lacks its backend",
        )

    def latents(self, still: Image.Image, steps: int) -> Tensor:
        """Final latents ``[1 F C h w]`` in float32, from the noise that our engine draws for the same seed."""
        config = self.config
        generator = torch.Generator().manual_seed(SEED)
        torch.randn(1, 3, config.height, config.width, generator=generator)  # the augmentation's
        shape = (1, config.num_frames, 4, config.height // 8, config.width // 8)
        noise = torch.randn(shape, generator=generator).to(self.pipeline.unet.dtype)
        final: Tensor = self._run(still, steps, "latent", [], latents=noise)
        return final.float().cpu()

    def _run(self, still: Image.Image, steps: int, output: str, marks: list[float], **more: Any) -> Any:
        def mark(*given: Any) -> dict[str, Any]:
            self.accelerator.synchronise()
            marks.append(time.perf_counter())
            return {}

        config = self.config
        return self.pipeline(
            still,
            height=config.height,
            width=config.width,
            num_frames=config.num_frames,
            num_inference_steps=steps,
            decode_chunk_size=min(DECODE_CHUNK, config.num_frames),
            generator=torch.Generator().manual_seed(SEED),
            output_type=output,
            callback_on_step_end=mark,
            **more,
        ).frames


def export(frames: list[Image.Image], path: Path) -> bool:
    """The documented way to a file; False where imageio and its FFmpeg are not installed."""
    try:
        export_to_video(frames, str(path), fps=7)
    except (ImportError, AttributeError):
        return False
    return True
