"""Sample clips while a run goes on: the sampler people will use, on the weights as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ...clip import ClipSpec
from ...events import CancelToken
from ...media.video import Mp4Writer
from ...request import GenerationRequest
from ..conditioning import condition
from ..decode import decode, decoder_of
from ..runtime import Runtime
from ..sampling.context import SamplingContext, sample
from ..sampling.samplers import seeded

STEPS = 10
"""A sample is for judging the motion; a finished clip takes as many steps as the checkpoint wants."""


@dataclass(frozen=True)
class ValidationSampler:
    """Always the same still, seed and dials, so that only the weights differ between samples."""

    runtime: Runtime
    clip: ClipSpec
    still: Image.Image

    @classmethod
    def of(cls, runtime: Runtime, still: np.ndarray, frames: int, seed: int) -> ValidationSampler:
        """``still`` uint8 ``[H W 3]`` at the training size."""
        height, width = still.shape[:2]
        row = runtime.row
        request = GenerationRequest(
            width=width, height=height, num_frames=frames, seed=seed,
            num_inference_steps=min(STEPS, row.num_inference_steps),
        )  # fmt: skip
        return cls(runtime, ClipSpec.of(request, row), Image.fromarray(still))

    @torch.no_grad()
    def frames(self, cancel: CancelToken) -> np.ndarray:
        """uint8 ``[F H W 3]``. Raises Cancelled."""
        generator = seeded(self.clip.seed)
        cond = condition(self.runtime, self.still, self.clip, generator)
        *_, last = sample(SamplingContext(self.runtime, cond, self.clip, generator, cancel))
        chunk = self.clip.frames_at_once(self.runtime.profile)
        decoder = decoder_of(self.runtime, self.still, self.clip)
        decoder.may_be_flat = True  # what a run has learned so far is what it is
        return np.concatenate(list(decode(decoder, last.latents, chunk, cancel)))

    def write(self, path: Path, cancel: CancelToken) -> None:
        """One mp4 at ``path``."""
        frames = self.frames(cancel)
        path.parent.mkdir(parents=True, exist_ok=True)
        with Mp4Writer(path, frames.shape[2], frames.shape[1], self.clip.output_fps) as writer:
            writer.add(frames)
