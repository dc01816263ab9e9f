"""Animate the still, nothing more: Euler's method on the guided model."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ...cancel import CancelToken
from ...request import GenerationRequest
from ..denoiser import Denoiser, guided
from ..loop import Step, euler
from ..randomness import Generators
from ..services import Services


def sample(
    services: Services,
    request: GenerationRequest,
    generator: Generators,
    cancel: CancelToken,
    resume: Step | None = None,
) -> Iterator[Step]:
    """See ``methods.sample``."""
    if request.num_inference_steps is None:
        raise ValueError("the request must be resolved")
    sigmas = services.sigmas(request.num_inference_steps)
    if resume is None:
        x, first = services.start(request.num_inference_steps, generator), 0
    else:
        x, first = resume.latents.to(services.runtime.device), resume.index
    yield from euler(guided_denoiser(services, request, cancel), x, sigmas.to(x.device), first)


def guided_denoiser(services: Services, request: GenerationRequest, cancel: CancelToken) -> Denoiser:
    """The model with guidance rising linearly over the frames; without any where its maximum is 1."""
    low, high = request.min_guidance_scale, request.max_guidance_scale
    if low is None or high is None:
        raise ValueError("the request must be resolved")
    if high <= 1:
        return services.conditional(cancel)
    frames = services.conditioning.image_latents.shape[1]
    return guided(services.pair(cancel), torch.linspace(low, high, frames))
