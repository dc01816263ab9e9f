"""Animate the still, nothing more: the checkpoint's sampler on the guided model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ...events import CancelToken
from ...request import GenerationRequest
from ..sampling import samplers
from ..sampling.context import Services
from ..sampling.denoiser import Denoiser, guided, guided_within
from ..sampling.feature_cache import FeatureCache
from ..sampling.sigmas import Generators, ays, consistency, gaussian

SVD_SIGMA_MAX = 700.0
"""The sigma_max that a request's sigmas are given for."""


def sample(
    services: Services,
    request: GenerationRequest,
    generator: Generators,
    cancel: CancelToken,
    resume: samplers.Step | None = None,
) -> Iterator[samplers.Step]:
    """See ``methods.sample``. With features reused, the step after ``resume`` computes all of them anew."""
    if request.num_inference_steps is None:
        raise ValueError("the request must be resolved")
    sigmas = sigmas_of(services, request)
    noise = services.start(request.num_inference_steps, generator)
    x, first = (noise, 0) if resume is None else (resume.latents.to(noise.device), resume.index)
    denoiser = approximated(services, request, cancel, sigmas, first)
    if services.runtime.row.sampler == "consistency":
        yield from samplers.consistency(denoiser, x, sigmas, lambda: gaussian(x.shape, generator).to(x.device), first)
    else:
        yield from samplers.euler(denoiser, x, sigmas, first)


def sigmas_of(services: Services, request: GenerationRequest) -> Tensor:
    """Where the steps lie, ``[num_inference_steps + 1]`` on the CPU, so that reading one waits for no device."""
    steps, runtime = request.num_inference_steps or 0, services.runtime
    if runtime.row.sampler == "consistency":
        config = runtime.scheduler.config
        return consistency(steps, config.sigma_min, config.sigma_max)
    return ays(steps) if request.schedule == "ays" else services.sigmas(steps)


def approximated(
    services: Services, request: GenerationRequest, cancel: CancelToken, sigmas: Tensor, first: int = 0
) -> Denoiser:
    """The guided model, with the features of some steps reused where the request asks for it."""
    if (request.cache_interval or 1) == 1:
        return guided_denoiser(services, request, cancel)
    reuse = FeatureCache.along(sigmas, request.cache_interval or 1, first)
    return reuse.count_steps(guided_denoiser(replace(services, reuse=reuse), request, cancel))


def guided_denoiser(services: Services, request: GenerationRequest, cancel: CancelToken) -> Denoiser:
    """The model with guidance rising linearly over the frames, at the sigmas the request asks for.

    Without guidance where its maximum is 1. The request's sigmas are for SVD's range and scale with the checkpoint's.
    """
    low, high = request.min_guidance_scale, request.max_guidance_scale
    if low is None or high is None:
        raise ValueError("the request must be resolved")
    if high <= 1:
        return services.conditional(cancel)
    frames = services.conditioning.image_latents.shape[1]
    denoiser = guided(services.pair(cancel), torch.linspace(low, high, frames))
    bounds = request.guidance_sigma_min, request.guidance_sigma_max
    if bounds == (None, None):
        return denoiser
    scale = services.runtime.row.sigma_reference / SVD_SIGMA_MAX
    sigma_min, sigma_max = bounds
    return guided_within(
        denoiser,
        services.conditional(cancel),
        -math.inf if sigma_min is None else sigma_min * scale,
        math.inf if sigma_max is None else sigma_max * scale,
    )
