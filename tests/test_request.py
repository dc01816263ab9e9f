"""The vocabulary: ranges, precedence, round trips."""

from __future__ import annotations

import pickle

import pytest
from pydantic import ValidationError

from svd_ui.catalog import STABILITY_ROWS
from svd_ui.request import MAX_SEED, GenerationRequest, has_source

IMAGE = "sha256:" + "ab" * 32
FIELDS = (
    "image prompt negative_prompt checkpoint width height focus_x focus_y num_frames num_inference_steps speed "
    "schedule cache_interval guidance_sigma_min guidance_sigma_max fps output_fps "
    "motion_bucket_id noise_aug_strength min_guidance_scale max_guidance_scale decode_chunk_size seed method wall post loras "
    "profile output_format render_height"
)


def test_fields_are_the_agreed_names_and_each_explains_itself() -> None:
    fields = GenerationRequest.model_fields
    assert list(fields) == FIELDS.split()
    assert all(field.title and field.description for field in fields.values())


def test_json_and_pickle_round_trips_keep_the_request() -> None:
    request = GenerationRequest(image=IMAGE, seed=MAX_SEED, motion_bucket_id=200)
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request
    assert pickle.loads(pickle.dumps(request)) == request


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("motion_bucket_id", 0),
        ("motion_bucket_id", 256),
        ("seed", -1),
        ("seed", MAX_SEED + 1),
        ("prompt", "x" * 501),
        ("width", 1023),
        ("image", "/etc/passwd"),
        ("image", "sha256:../../etc/passwd"),
        ("post", [{"kind": "unknown"}]),
        ("loras", [{"name": "../style"}]),
        ("loras", [{"name": "style", "weight": 3}]),
        ("output_format", "avi"),
    ],
)
def test_out_of_range_names_the_field(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        GenerationRequest.model_validate({field: value})
    assert caught.value.errors()[0]["loc"][0] == field


def test_a_request_is_never_mutated() -> None:
    with pytest.raises(ValidationError):
        GenerationRequest(image=IMAGE).seed = 3  # type: ignore[misc]


def test_blank_fields_take_the_checkpoints_values_and_explicit_ones_stay() -> None:
    row = STABILITY_ROWS[1]
    resolved = GenerationRequest(image=IMAGE, num_frames=20).resolved(row.defaults())
    assert (resolved.width, resolved.height, resolved.num_frames) == (1024, 576, 20)
    assert resolved.num_inference_steps == row.num_inference_steps
    assert resolved.output_fps == resolved.fps == row.fps
    assert resolved.seed is not None
    assert resolved.resolved(row.defaults()) == resolved


def test_one_explicit_end_of_guidance_pulls_the_checkpoints_other_end_along() -> None:
    resolved = GenerationRequest(image=IMAGE, min_guidance_scale=5).resolved(STABILITY_ROWS[0].defaults())
    assert (resolved.min_guidance_scale, resolved.max_guidance_scale) == (5, 5)
    resolved = GenerationRequest(image=IMAGE, max_guidance_scale=1).resolved(STABILITY_ROWS[1].defaults())
    assert (resolved.min_guidance_scale, resolved.max_guidance_scale) == (1, 1)


def test_falling_guidance_is_refused() -> None:
    with pytest.raises(ValidationError, match="first frame must not exceed"):
        GenerationRequest(image=IMAGE, min_guidance_scale=4, max_guidance_scale=2)


def test_blank_seeds_differ_and_a_given_one_stays() -> None:
    blank = GenerationRequest(image=IMAGE)
    assert len({blank.with_seed().seed for _ in range(8)}) > 1
    assert blank.model_copy(update={"seed": 0}).with_seed().seed == 0


@pytest.mark.parametrize(
    ("image", "prompt", "expected"),
    [(IMAGE, None, True), (None, "a boat", True), (None, None, False), (IMAGE, "a boat", False), (None, "  ", False)],
)
def test_exactly_one_source(image: str | None, prompt: str | None, expected: bool) -> None:
    assert has_source(GenerationRequest(image=image, prompt=prompt)) is expected
