"""Clips that follow a plan, on a model that makes new pixels: how often it is called, what is kept, and what plain means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from svd_ui.catalog import folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.decode import decoder_of
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.samplers import Step, seeded
from svd_ui.methods import METHODS
from svd_ui.methods.camera import Camera
from svd_ui.request import GenerationRequest
from svd_ui.steering.camera import read
from svd_ui.steering.choreography import Choreography, View, view_of
from tests.core.conftest import CPU_PLAN, picture
from tests.tiny import save_tiny_svd

SIZE = {"width": 64, "height": 64}


@pytest.fixture(scope="module")
def svd(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = save_tiny_svd(tmp_path_factory.mktemp("models") / "tiny")
    return Runtime(folder_row(folder), folder, CPU_PLAN)


def asked(method: dict[str, Any], **values: Any) -> GenerationRequest:
    base = {"seed": 3, "num_frames": 4, "num_inference_steps": 25, "max_guidance_scale": 1.0, **SIZE, **values}
    return GenerationRequest.model_validate({**base, "method": method})


CAMERA = {"kind": "camera"}


def context_of(
    svd: Runtime, request: GenerationRequest, plan: Choreography | None = None, resume: Step | None = None
) -> SamplingContext:
    """``plan`` in place of what the method plans."""
    clip = ClipSpec.of(request, svd.row)
    still = picture(clip.width, clip.height)
    generator = seeded(clip.seed)
    given = condition(svd, still, clip, generator)
    view = view_of(clip, still, still.size, lambda ref: still)
    decoder = decoder_of(svd, still, clip, still, plan or clip.request.method.choreography(view))
    return SamplingContext(svd, given, clip, generator, resume=resume, decoder=decoder)


def steps(svd: Runtime, request: GenerationRequest, plan: Choreography | None = None) -> list[Step]:
    return list(sample(context_of(svd, request, plan)))


@pytest.fixture
def calls(svd: Runtime) -> Iterator[list[int]]:
    """Grows with each call of the U-Net."""
    counted: list[int] = []
    handle = svd.unet.register_forward_hook(lambda *_: counted.append(1))
    yield counted
    handle.remove()


def test_a_camera_takes_the_share_of_the_calls_that_it_says(svd: Runtime, calls: list[int]) -> None:
    request = asked({"kind": "camera", "camera": "pan left"})
    last = steps(svd, request)[-1]
    share = request.method.relative_cost(ClipSpec.of(request, svd.row))
    assert last.index == last.total == len(calls) == round(25 * share)
    assert share == pytest.approx(0.56)


def test_a_walk_with_nothing_to_follow_is_plain_to_the_bit(svd: Runtime) -> None:
    nothing = Choreography(follow=lambda share: np.zeros((64, 64), np.float32), rest_stays=False, to_the_end=True)
    held = steps(svd, asked(CAMERA, num_inference_steps=5), nothing)[-1]
    plain = steps(svd, asked({"kind": "plain"}, num_inference_steps=5))[-1]
    assert torch.equal(held.latents, plain.latents)


def test_latents_that_are_kept_are_the_still_s_exactly_and_the_rest_is_free(svd: Runtime) -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[:, :32] = 1
    hold = Choreography(hold=mask, follow=lambda share: mask, rest_stays=False, to_the_end=True)
    context = context_of(svd, asked(CAMERA, num_inference_steps=5), hold)
    reference, keep = svd_reference(context)
    final = list(sample(context))[-1].latents
    middle = keep.shape[-1] // 2
    assert torch.equal(keep[..., :middle], torch.ones_like(keep[..., :middle]))
    assert torch.equal(final[..., :middle], reference[..., :middle])
    assert not torch.allclose(final[..., middle:], reference[..., middle:], atol=1e-2)


def svd_reference(context: SamplingContext) -> tuple[torch.Tensor, torch.Tensor]:
    assert context.decoder is not None and context.decoder.stage is not None
    return context._family.reference(context.decoder.stage, context.clip, context.still)


def test_a_plan_is_let_go_at_its_noise(svd: Runtime) -> None:
    """Above it the estimate is the plan's, below it the model's own."""
    plan = Choreography(camera=read("pan left"), rest_stays=False)
    context = context_of(svd, asked(CAMERA), plan)
    reference, _ = svd_reference(context)
    levels = context.sigmas().tolist()
    _, release = context.clip.row.facts.follows(context.clip)
    for step in sample(context):
        held = torch.equal(step.denoised, reference.expand_as(step.denoised))
        assert held == (levels[step.index - 1] >= release)


def test_a_clip_goes_on_from_any_step_and_comes_out_the_same(svd: Runtime) -> None:
    request = asked({"kind": "camera", "camera": "push in"})
    whole = steps(svd, request)
    for at in (0, 6, len(whole) - 2):
        rest = list(sample(context_of(svd, request, resume=whole[at])))
        assert len(rest) == len(whole) - at - 1
        assert torch.equal(rest[-1].latents, whole[-1].latents)


def test_the_same_request_is_the_same_clip(svd: Runtime) -> None:
    request = asked({"kind": "camera", "camera": "arc left; handheld=0.5"})
    one, other = steps(svd, request)[-1], steps(svd, request)[-1]
    assert torch.equal(one.latents, other.latents)


def test_a_depth_picture_says_what_is_near(svd: Runtime) -> None:
    depth = Image.new("L", (8, 8))
    depth.paste(255, (4, 0, 8, 8))
    view = View(picture(64, 64), (0, 0, 1, 1), lambda ref: depth, 2.0, 4, 1)
    plan = Camera(camera="arc left", depth="sha256:" + "0" * 64).choreography(view)
    assert plan.nearness is not None
    assert plan.nearness[:, :24].max() == -0.5
    assert plan.nearness[:, 40:].min() == 0.5


def test_every_kind_says_what_its_name_alone_sets() -> None:
    for kind, cls in METHODS.classes().items():
        if cls.__module__.startswith("svd_ui.") and cls.shorthand:
            assert cls.shorthand in cls.model_fields, kind


def test_what_is_led_follows_the_plan_until_it_is_let_go_and_is_free_then(svd: Runtime) -> None:
    """The left half stays for good, the right half is shown where to go."""
    kept = np.zeros((64, 64), np.float32)
    kept[:, :32] = 1
    plan = Choreography(follow=lambda share: kept, led=1 - kept, to_the_end=True, rest_stays=False)
    context = context_of(svd, asked(CAMERA), plan)
    reference, _ = svd_reference(context)
    levels = context.sigmas().tolist()
    _, release = context.clip.row.facts.follows(context.clip)
    right = slice(reference.shape[-1] // 2, None)
    for step in sample(context):
        held = torch.allclose(step.denoised[..., right], reference[..., right].expand_as(step.denoised[..., right]))
        assert held == (levels[step.index - 1] >= release)
        assert torch.equal(
            step.denoised[..., : right.start],
            reference[..., : right.start].expand_as(step.denoised[..., : right.start]),
        )
