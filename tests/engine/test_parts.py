"""The small parts: the ladder, advice, secrets, patience."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from svd_ui.catalog import PROFILES, STABILITY_ROWS, CheckpointRow
from svd_ui.catalog.checkpoint import ANIMATE_LCM
from svd_ui.clip import ClipSpec
from svd_ui.engine.estimates import advice
from svd_ui.engine.sampling import OomFallback
from svd_ui.engine.worker import GRACE, LONGEST_GRACE, Patience
from svd_ui.engine.worker_handle import redact, secrets_of
from svd_ui.errors import Cancelled, TookTooLong
from svd_ui.events import Denoising, Loading
from svd_ui.notes import Note, sentence
from svd_ui.request import GenerationRequest

XT = next(row for row in STABILITY_ROWS if row.id == "svd-xt")


def test_the_ladder_goes_down_by_chunks_then_profiles_and_ends() -> None:
    fallback = OomFallback(PROFILES["8gb"], 14)
    seen = []
    while fallback.down("decoding"):
        seen.append((fallback.profile.id, fallback.chunk))
    assert seen == [("8gb", 8), ("8gb", 4), ("8gb", 2), ("8gb", 1), ("6gb", 1), ("4gb", 1)]
    assert len(fallback.notes) == len(seen)


def test_a_chunk_never_exceeds_the_clip_or_grows() -> None:
    profile = PROFILES["24gb"]
    fallback = OomFallback(profile, ClipSpec.of(GenerationRequest(num_frames=6), XT).frames_at_once(profile))
    assert fallback.chunk == 6
    fallback.down("decoding")
    assert fallback.chunk == 4
    fallback.down("denoising")
    assert (fallback.profile.id, fallback.chunk) == ("16gb", 4)


def test_the_cpu_has_no_smaller_profile() -> None:
    assert OomFallback(PROFILES["cpu"], 1).down("denoising") is None


def test_advice_only_where_it_is_due() -> None:
    def advised(picture: tuple[int, int] | None = None, **values: Any) -> list[Note]:
        return advice(ClipSpec.of(GenerationRequest(**values), XT), picture)

    assert advised((2048, 1152)) == []
    assert len(advised(num_frames=60)) == 1
    assert len(advised(width=1000)) == 1
    assert "64x64" in sentence(advised(width=64, height=64)[0])
    assert "keeps 32% of the picture (1152x2048). Leave width and height blank" in sentence(advised((1152, 2048))[-1])


@pytest.mark.parametrize(
    ("row", "values", "said"),
    [
        (XT, {}, None),
        (XT, {"num_inference_steps": 12}, None),  # fewer steps by one's own choice
        (XT, {"speed": "fast"}, "features reused, all layers run at 1 step in 3. About 41%"),
        (
            XT,
            {"speed": "draft"},
            "the AYS schedule in 10 steps; features reused, all layers run at 1 step in 2. ",
        ),
        (XT, {"guidance_sigma_max": 50}, "no guidance above noise level 50. About 8"),
        (XT, {"guidance_sigma_min": 0.5, "max_guidance_scale": 1.0}, None),  # there is none to leave out
        (ANIMATE_LCM, {}, "few-step model. About 12% of the work at full quality."),
    ],
)
def test_what_is_approximate_is_said_with_its_cost(
    row: CheckpointRow, values: dict[str, Any], said: str | None
) -> None:
    notes = advice(ClipSpec.of(GenerationRequest.model_validate(values), row), None)
    assert (said is None and not notes) or sentence(notes[0]).startswith(f"Approximate: {said}")


def test_more_jumps_than_a_consistency_model_was_made_for_are_said() -> None:
    clip = ClipSpec.of(GenerationRequest(num_inference_steps=9), ANIMATE_LCM)
    assert "1 to 8 steps" in sentence(advice(clip, None)[1])


def test_secrets_are_known_by_name_and_by_form() -> None:
    environment = {
        "HF_TOKEN": "abcdefgh",
        "SVD_UI_AUTH": "me:open-sesame",
        "PATH": "/usr/bin",
        "SSH_AUTH_SOCK": "/run/x",
    }
    secrets = secrets_of(environment)
    assert (
        redact("abcdefgh me:open-sesame open-sesame /usr/bin /run/x", secrets)
        == "(secret) (secret) (secret) /usr/bin /run/x"
    )
    assert redact("token hf_AbCdEfGhIjKlMnOpQrSt at https://a:b@host/") == "token (secret) at https://(secret)@host/"


def test_patience_is_a_step_long_where_steps_are_long() -> None:
    now, cancel = [0.0], threading.Event()
    patience = Patience(cancel, 100, clock=lambda: now[0])
    assert not patience.asks_to_stop()
    patience.heard(Denoising(step=1, total=2, seconds=4.0))
    cancel.set()
    assert patience.asks_to_stop()
    assert not patience.asks_to_stop()  # once is enough
    now[0] = 5.9
    assert not patience.exhausted()
    now[0] = 6.1
    assert patience.exhausted()
    assert isinstance(patience.verdict(), Cancelled)


def test_patience_with_blind_stages_and_very_long_steps() -> None:
    for event, grace in ((Loading(checkpoint="x"), GRACE), (Denoising(step=1, total=2, seconds=60.0), LONGEST_GRACE)):
        now = [0.0]
        patience = Patience(threading.Event(), 100, clock=lambda now=now: now[0])  # type: ignore[misc]
        patience.heard(event)
        now[0] = 100.1
        assert patience.asks_to_stop()
        now[0] += grace + 0.1
        assert patience.exhausted()
        assert isinstance(patience.verdict(), TookTooLong)
