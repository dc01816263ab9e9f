"""One clip from noise to latents, by the control method that its request names."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..autotune.attention import select_kernels
from .context import SamplingContext
from .samplers import Step


@torch.no_grad()
def sample(context: SamplingContext) -> Iterator[Step]:
    """The steps of the context's clip; goes on after ``context.resume`` where that is given.

    Raises Cancelled within one U-Net call of ``context.cancel`` being set. When anything fails, the generator is put back
    to where this call found it: after ``torch.OutOfMemoryError`` and ``runtime.use_profile(smaller)``, call again with
    the last step received as ``resume``, and the clip comes out as if nothing had happened.
    """
    runtime, given = context.runtime, context.generator
    generators = [given] if isinstance(given, torch.Generator) else list(given)
    before = [one.get_state() for one in generators]
    shape = context.conditioning.image_latents.shape
    select_kernels(runtime.unet, runtime.plan, shape)
    try:
        with runtime.denoising(shape[1]):
            yield from context.clip.request.method.sample(context)
    except BaseException:
        for one, state in zip(generators, before, strict=True):
            one.set_state(state)
        raise
