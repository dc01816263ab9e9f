"""Control methods, one module per kind, each with

    sample(services, request, generator, cancel, resume) -> Iterator[Step]

A new method adds its parameters to ``request.Method`` and a module named after its kind here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import torch

from ...events import CancelToken
from ...request import GenerationRequest
from ..autotune.attention import select_kernels
from ..sampling.context import Services
from ..sampling.samplers import Step
from ..sampling.sigmas import Generators

__all__ = ["Services", "sample"]


@torch.no_grad()
def sample(
    services: Services,
    request: GenerationRequest,
    generator: Generators,
    cancel: CancelToken,
    resume: Step | None = None,
) -> Iterator[Step]:
    """The steps of a resolved ``request``; goes on after ``resume`` where one is given.

    ``generator`` has to be the one ``condition`` drew from. Raises Cancelled within one U-Net call of ``cancel``
    being set. When anything fails, ``generator`` is put back to where this call found it: after
    ``torch.OutOfMemoryError`` and ``runtime.use_profile(smaller)``, call again with the same
    arguments and the last step received, and the clip comes out as if nothing had happened.
    """
    method = importlib.import_module(f".{request.method.kind}", __name__)
    generators = [generator] if isinstance(generator, torch.Generator) else list(generator)
    before = [one.get_state() for one in generators]
    select_kernels(services.runtime.unet, services.runtime.plan, services.conditioning.image_latents.shape)
    try:
        with services.runtime.denoising(services.conditioning.image_latents.shape[1]):
            yield from method.sample(services, request, generator, cancel, resume)
    except BaseException:
        for one, state in zip(generators, before, strict=True):
            one.set_state(state)
        raise
