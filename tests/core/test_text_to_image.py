"""The first frame from a prompt, with a tiny pipeline made here."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from svd_ui.catalog import STABILITY_ROWS
from svd_ui.clip import ClipSpec
from svd_ui.core import text_to_image
from svd_ui.core.devices import Plan
from svd_ui.core.text_to_image import generate
from svd_ui.errors import Cancelled, NotFinite, WeightsMissing
from svd_ui.events import CancelToken, never
from svd_ui.settings import Settings
from svd_ui.text_to_image_info import FEW_STEPS, StillModel, ignored_fields
from tests.tiny import save_tiny_text_to_image

from .conftest import CPU_PLAN, request
from .test_traps import GpuLike


@pytest.fixture(scope="session")
def turbo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_text_to_image(tmp_path_factory.mktemp("stills") / "tiny-turbo")


def clip_of(**values: object) -> ClipSpec:
    return ClipSpec.of(request(**values), STABILITY_ROWS[0])


def make(
    folder: Path, cancel: CancelToken, plan: Plan = CPU_PLAN, **values: object
) -> tuple[list[object], Image.Image]:
    asked = clip_of(image=None, prompt="a boat", **values)
    *steps, picture = generate(Settings(), folder, asked, plan, cancel)
    assert isinstance(picture, Image.Image)
    return steps, picture


def test_steps_come_first_then_the_picture_at_the_size_asked_for(turbo: Path) -> None:
    steps, picture = make(turbo, never(), width=128, height=72)
    assert steps == [(step, FEW_STEPS) for step in range(1, FEW_STEPS + 1)]
    assert (picture.size, picture.mode) == ((128, 72), "RGB")


def test_the_same_seed_gives_the_same_still(turbo: Path) -> None:
    assert make(turbo, never())[1].tobytes() == make(turbo, never())[1].tobytes()


def test_a_turbo_model_ignores_the_negative_prompt_and_says_so(turbo: Path) -> None:
    assert "negative_prompt" in ignored_fields(turbo)
    assert make(turbo, never())[1].tobytes() == make(turbo, never(), negative_prompt="rain")[1].tobytes()


def test_a_guided_model_takes_the_negative_prompt(turbo: Path, tmp_path: Path) -> None:
    guided = Path(shutil.copytree(turbo, tmp_path / "guided"))
    assert ignored_fields(guided) == {}
    assert make(guided, never())[1].tobytes() != make(guided, never(), negative_prompt="rain")[1].tobytes()


def test_a_model_in_the_hub_cache_is_known_by_its_repository(turbo: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--stabilityai--sd-turbo" / "snapshots" / "0a1b"
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(turbo, snapshot)
    assert StillModel.read(snapshot).distilled


def test_the_native_area_is_kept_in_the_aspect_asked_for() -> None:
    model = StillModel("StableDiffusionPipeline", side=512, unit=64, distilled=True, variant=None)
    assert model.size_for(1024, 576) == (704, 384)
    assert model.size_for(576, 1024) == (384, 704)
    assert model.size_for(600, 600) == (512, 512)


def test_cancelling_stops_after_the_step(turbo: Path) -> None:
    cancel = threading.Event()
    steps = generate(Settings(), turbo, clip_of(image=None, prompt="a boat"), CPU_PLAN, cancel)
    assert next(steps) == (1, FEW_STEPS)
    cancel.set()
    with pytest.raises(Cancelled):
        list(steps)


def test_leaving_early_ends_the_work(turbo: Path) -> None:
    steps = generate(Settings(), turbo, clip_of(image=None, prompt="a boat"), CPU_PLAN, never())
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "make-still"]


def test_a_still_of_one_colour_is_made_again_in_float32(turbo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What overflowed ends as black, which would animate as a black clip."""
    expected, seen = make(turbo, never())[1], list[torch.dtype]()
    load = text_to_image.load_pipeline

    def overflowing(folder: Path, model: StillModel, plan: Plan, dtype: torch.dtype) -> Any:
        pipeline = load(folder, model, plan, torch.float32)
        seen.append(dtype)
        if dtype == torch.float16 or always:
            pipeline.unet.register_forward_hook(lambda _, __, out: (torch.full_like(out[0], torch.nan),))
        return pipeline

    monkeypatch.setattr(text_to_image, "load_pipeline", overflowing)
    plan, always = GpuLike(CPU_PLAN.device, CPU_PLAN.profile, torch.float16, "sdpa"), False
    assert make(turbo, never(), plan)[1].tobytes() == expected.tobytes()
    assert seen == [torch.float16, torch.float32]
    always = True
    with pytest.raises(NotFinite, match="making the picture"):
        make(turbo, never(), plan)


def test_a_folder_without_a_model_is_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="SVD_UI_TEXT_TO_IMAGE"):
        make(tmp_path, never())
