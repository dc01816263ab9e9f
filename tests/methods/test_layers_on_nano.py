"""Lock, drag and brush on the embedded checkpoint, from the still to the frames: small and quick."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from svd_ui.catalog import NANO, PROFILES, nano_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import condition
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import SamplingContext, sample
from svd_ui.core.sampling.samplers import seeded
from svd_ui.events import never
from svd_ui.request import GenerationRequest
from svd_ui.steering.choreography import view_of
from tests.steering.drawn import HEIGHT, WIDTH, disc_mask, middle, orange, with_disc

STILL = with_disc()
ON_DISC = "width=0.1:0.35,0.49"


@pytest.fixture(scope="module")
def nano() -> Runtime:
    return Runtime(nano_row(), NANO, Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa"))


@torch.no_grad()
def frames(nano: Runtime, **method: object) -> np.ndarray:
    """Of a clip of the disc, [N H W 3]."""
    asked = {"width": WIDTH, "height": HEIGHT, "num_frames": 8, "seed": 5, "num_inference_steps": 2, "method": method}
    clip = ClipSpec.of(
        GenerationRequest.model_validate({"image": "sha256:" + "0" * 64, **asked}).resolved({}), nano.row
    )
    picture = Image.fromarray(STILL)
    plan = clip.request.method.choreography(view_of(clip, picture, picture.size, lambda ref: picture))
    generator, decoder = seeded(5), decoder_of(nano, picture, clip, picture, plan)
    context = SamplingContext(nano, condition(nano, picture, clip, generator), clip, generator, decoder=decoder)
    *_, last = sample(context)
    return np.concatenate(list(decode(decoder, last.latents, 14, never()))).astype(int)


def test_a_locked_background_stays_while_the_subject_moves(nano: Runtime) -> None:
    clip = frames(nano, kind="lock", strokes=ON_DISC, camera="pan=-0.1,ease=linear")
    np.testing.assert_array_equal(clip[0], STILL)
    away = disc_mask(at=(103, 70, 45)) == 0
    assert np.abs(clip - STILL)[:, away].mean() < 0.05
    assert middle(orange(clip[-1].astype(np.uint8)) > 0.6)[0] == pytest.approx(90 + 25.6, abs=1.0)


def test_a_dragged_thing_ends_where_it_should_with_the_camera_still_or_moving(nano: Runtime) -> None:
    arrow = "0.3516,0.4861>0.5,0.5"
    still = frames(nano, kind="drag", arrows=arrow)
    np.testing.assert_array_equal(still[0], STILL)
    assert middle(orange(still[-1].astype(np.uint8)) > 0.6) == pytest.approx((128, 72), abs=1.0)
    moving = frames(nano, kind="drag", arrows=arrow, camera="pan=0.1")
    assert middle(orange(moving[-1].astype(np.uint8)) > 0.6) == pytest.approx((128 - 25.6, 72), abs=1.5)


@pytest.mark.parametrize("effect", ["free", "water"])
def test_what_is_not_painted_stays_to_the_bit(nano: Runtime, effect: str) -> None:
    clip = frames(nano, kind="brush", strokes="width=0.4:0.6,0.5", effect=effect)
    outside = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([72, 153.6])[:, None, None])) > 0.2 * WIDTH + 2
    np.testing.assert_array_equal(clip[:, outside], np.broadcast_to(STILL, clip.shape)[:, outside])
    np.testing.assert_array_equal(clip[0], STILL)
    steps = np.abs(np.diff(clip, axis=0)).mean(axis=(1, 2, 3))
    assert np.median(steps) > 0.02
    if effect == "water":
        assert np.abs(clip[-1] - clip[0]).mean() <= 1.1 * np.median(steps)
