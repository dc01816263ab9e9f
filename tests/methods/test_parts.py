"""Clips made in parts, on a model: how often it is called, that they go on from any step, and where they begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from PIL import Image

from svd_ui.catalog import folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition, to_pixels
from svd_ui.core.decode import decoder_of
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.samplers import Step, seeded
from svd_ui.errors import BadInput
from svd_ui.methods.end_frame import EndFrame
from svd_ui.methods.loop import Loop
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest
from svd_ui.steering.choreography import View, view_of
from tests.core.conftest import CPU_PLAN, picture
from tests.tiny import save_tiny_svd

END, MIDDLE = "sha256:" + "e" * 64, "sha256:" + "d" * 64
STEPS, FRAMES = 12, 6


def other(ref: str) -> Image.Image:
    return picture(64, 64, seed=5 if ref == END else 9)


@pytest.fixture(scope="module")
def svd(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = save_tiny_svd(tmp_path_factory.mktemp("models") / "tiny")
    return Runtime(folder_row(folder), folder, CPU_PLAN)


def clip_of(svd: Runtime, method: dict[str, Any], **values: Any) -> ClipSpec:
    base = {"seed": 3, "num_frames": FRAMES, "num_inference_steps": STEPS, "max_guidance_scale": 1.0, "fps": 6}
    asked = {**base, "width": 64, "height": 64, **values, "method": method}
    return ClipSpec.of(GenerationRequest.model_validate(asked), svd.row)


def context_of(svd: Runtime, clip: ClipSpec, resume: Step | None = None) -> SamplingContext:
    still = picture(64, 64)
    generator = seeded(clip.seed)
    given = condition(svd, still, clip, generator)
    plan = clip.request.method.choreography(view_of(clip, still, still.size, other))
    return SamplingContext(
        svd, given, clip, generator, resume=resume, decoder=decoder_of(svd, still, clip, still, plan)
    )


@pytest.fixture
def calls(svd: Runtime) -> Iterator[list[int]]:
    """Frames of each call of the U-Net."""
    counted: list[int] = []
    handle = svd.unet.register_forward_pre_hook(lambda _, args: counted.append(args[0].shape[1]))
    yield counted
    handle.remove()


METHODS: list[dict[str, Any]] = [
    {"kind": "extend", "seconds": 3},
    {"kind": "extend", "seconds": 2, "camera": "pan left"},
    {"kind": "loop"},
    {"kind": "end_frame", "image": END},
    {"kind": "end_frame", "image": END, "keys": f"0.5={MIDDLE}"},
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_it_is_as_long_as_it_says_and_costs_what_it_says(
    svd: Runtime, calls: list[int], method: dict[str, Any]
) -> None:
    clip = clip_of(svd, method)
    last = list(sample(context_of(svd, clip)))[-1]
    assert last.index == last.total
    assert last.latents.shape[1] == clip.length
    assert bool(last.latents.isfinite().all())
    assert sum(calls) / (STEPS * FRAMES) == pytest.approx(clip.request.method.relative_cost(clip), rel=0.2)
    if "keys" not in method:
        assert sum(calls) == round(STEPS * FRAMES * clip.request.method.relative_cost(clip))


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_it_goes_on_from_any_step_and_comes_out_the_same(svd: Runtime, method: dict[str, Any]) -> None:
    clip = clip_of(svd, method)
    whole = list(sample(context_of(svd, clip)))
    for at in range(0, len(whole) - 1, 5):
        rest = list(sample(context_of(svd, clip, whole[at])))
        assert len(rest) == len(whole) - at - 1
        assert torch.equal(rest[-1].latents, whole[-1].latents), at


def encoded(svd: Runtime, still: Image.Image) -> torch.Tensor:
    return svd.vae.encode(to_pixels([still])).latent_dist.mode() * svd.scaling_factor


def test_a_clip_with_an_end_frame_ends_on_it_and_passes_those_between(svd: Runtime) -> None:
    clip = clip_of(svd, {"kind": "end_frame", "image": END, "keys": f"0.4={MIDDLE}"})
    final = list(sample(context_of(svd, clip)))[-1].latents[0]
    assert torch.allclose(final[0], encoded(svd, picture(64, 64))[0], atol=1e-4)
    assert torch.allclose(final[2], encoded(svd, other(MIDDLE))[0], atol=1e-4)
    assert torch.allclose(final[-1], encoded(svd, other(END))[0], atol=1e-4)


def test_a_picture_between_stands_at_a_frame_that_is_seen() -> None:
    still = picture(64, 64)
    view = View(still, (0, 0, 1, 1), lambda ref: still, 1.0, 6, 1)
    plan = EndFrame(image=END, keys=f"0.5={MIDDLE}").choreography(view)
    assert [share for share, _ in plan.stills] == [0.4, 1.0]
    with pytest.raises(BadInput):
        EndFrame(image=END, keys=f"0.5={MIDDLE}; 0.45={MIDDLE}").choreography(view)


def test_pictures_that_stand_too_close_are_said(svd: Runtime) -> None:
    clip = clip_of(svd, {"kind": "end_frame", "image": END, "keys": f"0.95={MIDDLE}"})
    with pytest.raises(BadInput, match="too close together"):
        list(sample(context_of(svd, clip)))


def test_a_loop_begins_where_it_ended_and_turns_at_its_farthest_only_once(svd: Runtime) -> None:
    """The way there is the plain clip; the way back begins with its last frame, and would end with the first."""
    clip = clip_of(svd, {"kind": "loop"})
    final = list(sample(context_of(svd, clip)))[-1].latents
    plain = list(sample(context_of(svd, clip_of(svd, {"kind": "plain"}))))[-1].latents
    assert torch.equal(final[:, :FRAMES], plain)
    back = final[:, FRAMES:]
    assert not torch.allclose(back, plain[:, 1:-1].flip(1), atol=1e-2)  # not the same way back


def test_an_extended_clip_says_how_far_it_drifts_and_ends_where_that_is_too_far(svd: Runtime) -> None:
    """Random weights drift at once."""
    context = context_of(svd, clip_of(svd, {"kind": "extend", "seconds": 4}))
    steps = list(sample(context))
    (note,) = context.notes
    assert note.code == "drift_curve"
    assert len(note.params["curve"]) == 5
    curve = [float(value) for value in note.params["curve"]]
    limit = min(curve[:2]) / 2
    stopping = clip_of(svd, {"kind": "extend", "seconds": 4, "stop_at_drift": limit})
    context = context_of(svd, stopping)
    short = list(sample(context))
    assert [each.code for each in context.notes] == ["drift_curve", "stopped_at_drift"]
    assert "It ends after" in sentence(context.notes[-1])
    length = short[-1].latents.shape[1]
    assert length == FRAMES < steps[-1].latents.shape[1]
    assert torch.equal(short[-1].latents, steps[-1].latents[:, :length])
    assert stopping.of_length(length).length == length


def test_few_large_steps_cannot_be_led_to_a_picture() -> None:
    from svd_ui.catalog import find_checkpoint
    from svd_ui.settings import Settings

    lcm = find_checkpoint(Settings(), "animatelcm-svd-xt").facts
    for method in (EndFrame(), Loop()):
        assert "too few and too large steps" in sentence(method.needs(lcm))
    assert Loop(camera="orbit").needs(lcm) is None
