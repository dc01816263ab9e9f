"""Our own path on the meta device: a runtime around models without weights, and the passes a clip consists of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from benchmarks import models
from benchmarks.counter import Counter
from svd_ui.catalog import PROFILES, STABILITY_ROWS, CheckpointRow, ProfileRow, nano_row
from svd_ui.clip import ClipSpec
from svd_ui.core.devices import Plan
from svd_ui.core.exact import unused_in_steps
from svd_ui.core.offload.streaming import SMALL_BYTES, units_of
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext
from svd_ui.core.sampling.denoiser import Conditioning
from svd_ui.request import GenerationRequest

RESIDENT = PROFILES["24gb"]
IN_TURN = PROFILES["24gb"].model_copy(update={"guidance_in_turn": True})
CHUNKED = PROFILES["24gb"].model_copy(update={"forward_chunking": True})
IN_TURN_CHUNKED = IN_TURN.model_copy(update={"forward_chunking": True})


def row_of(architecture: str) -> CheckpointRow:
    return nano_row() if architecture == "nano" else next(row for row in STABILITY_ROWS if row.id == "svd-xt")


class Ours:
    """A loaded checkpoint of ``architecture``, every weight in ``dtype`` on the meta device."""

    def __init__(self, architecture: str = "svd", dtype: torch.dtype = torch.float16, exact: bool = True) -> None:
        self.architecture, self.dtype = architecture, dtype
        self.modules = {name: getattr(models, name)(architecture, dtype) for name in ("unet", "vae", "image_encoder")}
        plan = Plan(models.META, RESIDENT, dtype, "sdpa", exact=exact)
        self.runtime = Runtime.around(row_of(architecture), plan, dict(self.modules), None, None)

    def close(self) -> None:
        self.runtime.close()

    @contextmanager
    def _counting(self) -> Iterator[Counter]:
        with torch.no_grad(), Counter().know(*self.modules.values()) as counter:
            yield counter

    def step(
        self, frames: int, height: int, width: int, *, guided: bool, profile: ProfileRow = RESIDENT, reuse: Any = None
    ) -> Counter:
        """One denoising step of a clip of ``frames`` x ``height`` x ``width`` latent cells.

        What is computed once per clip is computed before. With ``reuse`` (a ``FeatureCache``) it is the step after a
        whole one, unless its pace says otherwise.
        """
        # Not use_profile: it would move weights, and there are none. These profiles keep all of them resident.
        self.runtime.plan = replace(self.runtime.plan, profile=profile)
        x, context = self._clip(frames, height, width, reuse)
        sigma = torch.ones((), device=models.META)
        with torch.no_grad(), self.runtime.denoising(frames):
            run = context.pair() if guided else context.conditional()
            if reuse is not None:
                run(x, sigma)
            with self._counting() as counter:
                kept = run(x, sigma)
                del kept
        return counter

    def _clip(self, frames: int, height: int, width: int, reuse: Any) -> tuple[torch.Tensor, SamplingContext]:
        channels = self.runtime.latent_channels
        with models.META:
            still = torch.empty(1, 1, channels, height, width).expand(-1, frames, -1, -1, -1)
            width_of = int(self.runtime.unet.config.cross_attention_dim)
            cond = Conditioning(torch.empty(1, 1, width_of), still, torch.empty(1, 3))
            x = torch.empty(1, frames, channels, height, width)
        clip = ClipSpec.of(GenerationRequest(), self.runtime.row)
        return x, SamplingContext(self.runtime, cond, clip, torch.Generator(), reuse=reuse)

    def decode(self, frames: int, height: int, width: int) -> Counter:
        """One chunk of ``frames`` decoded together."""
        looks = {"still": self._picture(height, width)} if self.architecture == "nano" else {}
        shape = (frames, self.runtime.latent_channels, height, width)
        with self.runtime.use("vae") as vae:
            latents = torch.empty(shape, dtype=vae.dtype, device=models.META)
            with self._counting() as counter:
                vae.decode(latents, num_frames=frames, **looks)
        return counter

    def encode(self, height: int, width: int) -> Counter:
        """The still => latents, in float32 as it is done where half precision would overflow."""
        picture = self._picture(height, width)
        with torch.no_grad(), self.runtime.use("vae", torch.float32) as vae, self._counting() as counter:
            vae.encode(picture).latent_dist.mode()
        return counter

    def _picture(self, height: int, width: int) -> torch.Tensor:
        """One of ``height`` x ``width`` latent cells."""
        patch = self.runtime.patch
        return torch.empty(1, 3, height * patch, width * patch, device=models.META)

    def streamed(self) -> int:
        """Parameters of the U-Net that are on the device at a time while its weights are streamed."""
        units = units_of(self.modules["unet"], unused_in_steps(self.modules["unet"]))
        sizes = sorted(sum(tensor.numel() for tensor in unit.weights.tensors) for unit in units)
        small = sum(size for size in sizes if size * self.dtype.itemsize <= SMALL_BYTES)
        return 2 * sizes[-1] + small

    def embed(self) -> Counter:
        """The still => CLIP's embedding."""
        side = int(self.runtime.image_encoder.config.image_size)
        picture = torch.empty(1, 3, side, side, dtype=self.dtype, device=models.META)
        with self._counting() as counter, self.runtime.use("image_encoder") as clip:
            clip(picture)
        return counter
