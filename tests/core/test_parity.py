"""Our loop against ``diffusers.StableVideoDiffusionPipeline``: same weights, same seed, same clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import Generators, seeded
from svd_ui.events import never
from svd_ui.request import GenerationRequest

from .conftest import picture, prepared, request

TOLERANCE = 1e-4


def ours(runtime: Runtime, image: Any, asked: GenerationRequest, generator: Generators) -> torch.Tensor:
    *_, last = sample(prepared(runtime, asked, image, generator))
    return last.latents


def theirs(pipeline: Any, image: Any, asked: GenerationRequest, generator: Generators, **extra: Any) -> Any:
    names = ("height", "width", "num_frames", "num_inference_steps", "min_guidance_scale", "max_guidance_scale")
    names += ("fps", "motion_bucket_id", "noise_aug_strength", "decode_chunk_size")
    return pipeline(image, **{name: getattr(asked, name) for name in names}, generator=generator, **extra).frames


@pytest.mark.parametrize(
    ("guidance", "size", "num_frames", "noise_aug_strength"),
    [
        ((1.0, 1.0), (64, 64), 4, 0.0),
        ((1.0, 1.0), (104, 72), 5, 0.02),
        ((1.0, 3.0), (64, 64), 4, 0.02),
        ((1.0, 3.0), (104, 72), 4, 0.0),
        ((1.0, 3.0), (64, 64), 5, 0.0),
        ((1.5, 3.0), (104, 72), 5, 0.02),
    ],
)
def test_latents_agree(
    runtime: Runtime,
    reference: Any,
    guidance: tuple[float, float],
    size: tuple[int, int],
    num_frames: int,
    noise_aug_strength: float,
) -> None:
    asked = request(
        width=size[0],
        height=size[1],
        num_frames=num_frames,
        num_inference_steps=8,
        noise_aug_strength=noise_aug_strength,
        min_guidance_scale=guidance[0],
        max_guidance_scale=guidance[1],
    )
    expected = theirs(reference, picture(*size), asked, seeded(7), output_type="latent")
    torch.testing.assert_close(ours(runtime, picture(*size), asked, seeded(7)), expected, atol=TOLERANCE, rtol=0)


def test_a_batch_with_two_generators_agrees(runtime: Runtime, reference: Any) -> None:
    asked = request(num_inference_steps=8)
    images = [picture(64, 64), picture(64, 64)]
    expected = theirs(reference, images, asked, [seeded(1), seeded(2)], output_type="latent")
    got = ours(runtime, images, asked, [seeded(1), seeded(2)])
    torch.testing.assert_close(got, expected, atol=TOLERANCE, rtol=0)
    single = ours(runtime, images[0], asked, seeded(2))
    torch.testing.assert_close(got[1:], single, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("decode_chunk_size", [2, 5])  # with a remainder, and all at once
def test_decoded_frames_are_equal(runtime: Runtime, reference: Any, decode_chunk_size: int) -> None:
    asked = request(num_inference_steps=8, num_frames=5, decode_chunk_size=decode_chunk_size)
    expected = theirs(reference, picture(64, 64), asked, seeded(7), output_type="pil")[0]
    latents = ours(runtime, picture(64, 64), asked, seeded(7))
    frames = np.concatenate(list(decode(decoder_of(runtime, picture(64, 64)), latents, decode_chunk_size, never())))
    assert frames.dtype == np.uint8
    difference = np.abs(frames.astype(int) - np.stack([np.asarray(frame) for frame in expected]))
    assert difference.max() <= 1  # a value on the edge between two levels may round either way
    assert difference.mean() < 1e-3
