"""Our engine, whole, around weights that are in memory already."""

from __future__ import annotations

import gc
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from svd_ui.assets import Assets
from svd_ui.catalog import PROFILES, CheckpointRow, find_checkpoint
from svd_ui.catalog.profiles import placed
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.devices import Plan
from svd_ui.core.loading import Normalisation
from svd_ui.core.runtime import Models, Runtime
from svd_ui.core.sampling.context import SamplingContext
from svd_ui.core.sampling.denoiser import batched_cfg, concatenated, guided, svd_denoiser
from svd_ui.engine import CancelToken, never
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.events import Decoding, Denoising, Finished
from svd_ui.media.image import fit
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings
from tests.tiny import SVD_SCHEDULER

from .accelerator import Accelerator
from .clips import Clip
from .models import shapes_of, write_holes
from .stock import SEED, Config, Stock, Weights

CLIP_NORMALISATION = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
CPU = torch.device("cpu")
Estimate = Callable[[], Tensor]


class Held(Models):
    """Instead of loading a folder, takes the modules of ``weights``; counts how often (``loads``)."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._weights, self.loads = weights, 0

    def get(self, row: CheckpointRow, folder: Path, plan: Plan) -> Runtime:
        """Masters of what is offloaded lie on the host, whatever stock did to the weights in between."""
        if plan.profile.offload != "none":
            for module in self._weights.modules.values():
                module.to(CPU)
        return super().get(row, folder, plan)

    def _load(self, row: CheckpointRow, folder: Path, plan: Plan) -> Runtime:
        self.loads += 1
        scheduler = EulerDiscreteScheduler(**SVD_SCHEDULER)
        return Runtime.around(row, plan, self._weights.modules, CLIP_NORMALISATION, scheduler)

    def release(self) -> None:
        """A runtime ends with its modules; these live on, so what streams them has to go first."""
        runtime = self._runtime
        if runtime is not None and runtime.profile.offload == "group":
            runtime.adopt(replace(runtime.plan, profile=PROFILES["8gb"]))
        super().release()


class Around(Stages):
    """The engine's stages with ``weights`` in the place of a checkpoint. ``resident``: nothing is offloaded."""

    resident = False

    def __init__(self, settings: Settings, device: torch.device, weights: Weights) -> None:
        super().__init__(settings, str(device))
        self._weights = weights
        self._models: Held = Held(weights)

    @property
    def loads(self) -> int:
        return self._models.loads

    def plan(self, profile: str, *clip: Any) -> Plan:
        plan = replace(super().plan(profile, *clip), dtype=self._weights.dtype)
        return replace(plan, profile=placed(plan.profile, "cpu")) if self.resident else plan


class Ours:
    """``LocalEngine`` over ``weights``; a folder of its own for pictures and clips, gone after the block."""

    def __init__(self, weights: Weights, accelerator: Accelerator, compile: str = "off", **settings: Any) -> None:
        self.config, self.accelerator = weights.config, accelerator
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self._folder.name)
        write_folder(root / "models" / weights.config.name, weights.config, weights)
        self.settings = Settings(data_dir=root, compile=compile, **settings)
        self.stages = Around(self.settings, accelerator.device, weights)
        self.engine = LocalEngine(self.settings, stages=self.stages)
        self.row = find_checkpoint(self.settings, f"local:{weights.config.name}")

    def __enter__(self) -> Ours:
        return self

    def __exit__(self, *error: Any) -> None:
        self.engine.close()
        self._folder.cleanup()
        gc.collect()

    def runtime(self, profile: str = "auto") -> Runtime:
        assert self.row.folder is not None
        return self.stages.load(self.row, self.row.folder, self.stages.plan(profile))

    def request(self, still: Image.Image, steps: int, **values: Any) -> GenerationRequest:
        image = Assets.of(self.settings).keep(still)
        given = {"image": image, "checkpoint": self.row.id, "seed": SEED, "num_inference_steps": steps, **values}
        return GenerationRequest(**given)

    def clip(self, still: Image.Image, steps: int, cancel: CancelToken | None = None, **values: Any) -> Clip:
        """From the picture to the mp4; ``values`` are fields of the request. Raises what the engine raises."""
        request = self.request(still, steps, **values)
        self.accelerator.reset_peak()
        started, seconds, denoising = time.perf_counter(), [], None
        for event in self.engine.generate(request, self.out, cancel or never()):
            if isinstance(event, Denoising) and event.seconds is not None:
                seconds.append(event.seconds)
            elif isinstance(event, Decoding) and event.done == 0:
                self.accelerator.synchronise()
                denoising = self.accelerator.peak()
            elif isinstance(event, Finished):
                result = event.result
        self.accelerator.synchronise()
        effective = result.effective
        assert effective is not None
        return Clip(
            seconds=time.perf_counter() - started,
            steps=seconds[1:] or seconds,
            peak=self.accelerator.peak(),
            peak_denoising=denoising,
            peak_reserved=self.accelerator.reserved(),
            stages=result.seconds,
            profile=effective.profile,
            chunk=effective.decode_chunk_size,
            compiled=effective.compiled,
            note=" ".join(map(sentence, result.notes)),
        )

    @property
    def out(self) -> Path:
        return Path(self._folder.name) / "out"

    def latents(self) -> Tensor:
        """Final latents ``[1 F C h w]`` of the last clip, float32."""
        return load_file(self.out / "latents.safetensors")["latents"]


def write_folder(folder: Path, config: Config, weights: Weights, *, holes: bool = True) -> None:
    """A checkpoint of ``weights``: all of it, or what the catalogue reads, in files whose weights are ``holes``."""
    for name, module in weights.modules.items():
        if not holes:
            module.save_pretrained(folder / name)
            continue
        if name != "image_encoder":
            module.save_config(folder / name)
        write_holes(folder / name / "model.safetensors", shapes_of(module))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableVideoDiffusionPipeline"}))
    own = {
        "num_frames": config.num_frames,
        "width": config.width,
        "height": config.height,
        "size_multiple": 8,
        "num_inference_steps": config.num_inference_steps,
        "min_guidance_scale": 1.0,  # stock's own defaults
        "max_guidance_scale": 3.0,
    }
    (folder / "svd_ui.json").write_text(json.dumps(own))


def still(config: Config, number: int = 0) -> Image.Image:
    """A photograph at the clip's size; another ``number`` gives another picture, so that no cache knows it."""
    photos = sorted((REPOSITORY / "assets" / "examples").glob("*.jpg"))
    picture = fit(Image.open(photos[number % len(photos)]), config.width, config.height)
    return picture.rotate(90 * (number // len(photos)), resample=Image.Resampling.NEAREST)


@contextmanager
def steps(ours: Ours, stock: Stock, picture: Image.Image, sigma: float = 1.0) -> Iterator[dict[str, Estimate]]:
    """``stock`` and ``ours``: one guided estimate of x0 at ``sigma`` from the same noise, which is all but a step.

    Stock is diffusers' U-Net with both conditionings in one batch, as its pipeline calls it; ours goes through our
    runtime, as the profile has it.
    """
    runtime, clip = ours.runtime(), ClipSpec.of(ours.request(picture, 2), ours.row)
    generator, device = torch.Generator().manual_seed(SEED), ours.accelerator.device
    with torch.no_grad(), runtime.denoising(ours.config.num_frames):
        cond = condition(runtime, picture, clip, generator)
        x = torch.randn(cond.image_latents.shape, generator=generator).to(device) * sigma
        at = torch.tensor(sigma, device=device)
        mine = SamplingContext(runtime, cond, clip, generator).guided()
        batch = svd_denoiser(stock.pipeline.unet, concatenated(cond, cond.unconditional()), runtime.plan.dtype)
        theirs = guided(batched_cfg(batch), torch.linspace(1.0, 3.0, ours.config.num_frames))
        yield {"stock": lambda: theirs(x, at), "ours": lambda: mine(x, at)}


def difference(ours: Ours, stock: Stock, picture: Image.Image) -> float:
    """Of one guided estimate from stock's: the largest difference over the largest value."""
    with steps(ours, stock, picture) as ways:
        return relative_difference(ways["ours"](), ways["stock"]())


def relative_difference(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((a - b).float().abs().max() / b.float().abs().max())
