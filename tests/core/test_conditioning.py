"""The second clip of a still starts without the encoders, and comes out the same to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from svd_ui.core.conditioning import condition, digest
from svd_ui.core.runtime import EncoderCache, Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.denoiser import Conditioning
from svd_ui.core.sampling.samplers import seeded
from tests.core.conftest import clip_of, picture


class Calls:
    """How often each encoder ran."""

    def __init__(self, runtime: Runtime) -> None:
        self.clip = self.vae = 0
        runtime.image_encoder.register_forward_hook(lambda *_: self._count("clip"))
        encoder: nn.Module = runtime.vae.encoder
        encoder.register_forward_hook(lambda *_: self._count("vae"))

    def _count(self, name: str) -> None:
        setattr(self, name, getattr(self, name) + 1)

    def take(self) -> tuple[int, int]:
        """(CLIP, VAE) calls since the last time."""
        taken, self.clip, self.vae = (self.clip, self.vae), 0, 0
        return taken


@pytest.fixture
def calls(runtime: Runtime) -> Iterator[Calls]:
    return Calls(runtime)


def cond(runtime: Runtime, picture_seed: int = 0, **values: Any) -> tuple[Conditioning, torch.Generator]:
    clip = clip_of(runtime, **values)
    generator = seeded(clip.seed)
    return condition(runtime, picture(clip.width, clip.height, picture_seed), clip, generator), generator


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (0, 0)),
        ({"motion_bucket_id": 30, "num_inference_steps": 7, "fps": 9, "num_frames": 6}, (0, 0)),
        ({"seed": 2}, (0, 1)),
        ({"noise_aug_strength": 0.3}, (0, 1)),
        ({"width": 72}, (1, 1)),
        ({"picture_seed": 5}, (1, 1)),
    ],
)
def test_only_what_changed_is_encoded_again(
    changed: dict[str, Any], expected: tuple[int, int], runtime: Runtime, calls: Calls
) -> None:
    cond(runtime)
    assert calls.take() == (1, 1)
    cond(runtime, **changed)
    assert calls.take() == expected


def test_without_noise_a_still_is_encoded_once_whatever_the_seed(runtime: Runtime, calls: Calls) -> None:
    for seed in (1, 2, 3):
        cond(runtime, noise_aug_strength=0.0, seed=seed)
    assert calls.take() == (1, 1)


@pytest.mark.parametrize("strength", [0.0, 0.02])
def test_a_clip_from_memory_is_the_clip(strength: float, runtime: Runtime) -> None:
    def clip() -> torch.Tensor:
        made, generator = cond(runtime, noise_aug_strength=strength)
        asked = clip_of(runtime, noise_aug_strength=strength, num_inference_steps=2)
        return list(sample(SamplingContext(runtime, made, asked, generator)))[-1].latents

    first = clip()
    assert len(runtime.encoder_cache) == 2
    assert torch.equal(clip(), first)


def test_several_stills_are_encoded_as_each_alone(runtime: Runtime) -> None:
    images, asked = [picture(64, 64, seed) for seed in (0, 1, 0)], clip_of(runtime)
    together = condition(runtime, images, asked, [seeded(seed) for seed in (4, 5, 6)])
    runtime.encoder_cache.clear()
    for place, (image, seed) in enumerate(zip(images, (4, 5, 6), strict=True)):
        alone = condition(runtime, image, asked, seeded(seed))
        assert torch.equal(together.image_latents[place], alone.image_latents[0])
        assert torch.equal(together.image_embeds[place], alone.image_embeds[0])


def test_other_weights_are_another_model(runtime: Runtime, calls: Calls) -> None:
    cond(runtime)
    runtime.weights = ("a lora",)
    cond(runtime)
    assert calls.take() == (2, 2)


def test_what_is_handed_out_can_be_changed_without_harm(runtime: Runtime) -> None:
    first, _ = cond(runtime)
    expected = first.image_embeds.clone()
    first.image_embeds.zero_()
    assert torch.equal(cond(runtime)[0].image_embeds, expected)


def test_nothing_is_kept_of_a_model_that_was_closed(runtime: Runtime) -> None:
    cond(runtime)
    cache = runtime.encoder_cache
    runtime.close()
    assert len(cache) == 0


def test_the_least_recently_used_goes_first() -> None:
    cache, made = EncoderCache(max_entries=2), []

    def make(name: str) -> torch.Tensor:
        return cache.get_or_encode(name, lambda: made.append(name) or torch.zeros(1))  # type: ignore[func-returns-value]

    for name in "abacab":
        make(name)
    assert made == ["a", "b", "c", "b"]


def test_a_digest_is_of_numbers_and_shape() -> None:
    numbers = torch.arange(6.0)
    assert digest(numbers.view(2, 3)) == digest(numbers.view(3, 2).clone().view(2, 3))
    assert digest(numbers.view(2, 3)) != digest(numbers.view(3, 2))
    assert digest(numbers.view(2, 3).t()) == digest(numbers.view(2, 3).t().contiguous())
    assert digest(numbers) != digest(numbers + 1e-6)
