"""The speeds from request to clip: steps taken, what is said about them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from svd_ui.engine import never
from svd_ui.engine.local import LocalEngine
from svd_ui.errors import BadInput
from svd_ui.events import Denoising, Finished
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.tiny import save_tiny_svd


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plain and a few-step checkpoint."""
    parent = tmp_path_factory.mktemp("checkpoints")
    save_tiny_svd(parent / "plain", svd_ui={"num_inference_steps": 12})
    save_tiny_svd(parent / "few", svd_ui={"sampler": "consistency", "max_guidance_scale": 1.0})
    return parent


@pytest.fixture
def engine(settings: Settings, checkpoints: Path) -> LocalEngine:
    return LocalEngine(settings.model_copy(update={"checkpoint_dirs": str(checkpoints)}), "cpu")


@pytest.mark.parametrize(
    ("checkpoint", "speed", "steps", "said"),
    [
        ("plain", "exact", 12, None),
        ("plain", "fast", 12, "features reused, all layers run at 1 step in 3"),
        ("plain", "draft", 10, "the AYS schedule in 10 steps; features reused, all layers run at 1 step in 2"),
        ("few", "exact", 4, "few-step model"),
    ],
)
def test_a_speed_takes_its_steps_and_is_named_in_the_result(
    engine: LocalEngine, image: str, tmp_path: Path, checkpoint: str, speed: str, steps: int, said: str | None
) -> None:
    asked = GenerationRequest.model_validate(
        {"image": image, "checkpoint": f"local:{checkpoint}", "speed": speed, "seed": 3}
    )
    *events, last = engine.generate(asked, tmp_path / "out", never())
    assert [event.total for event in events if isinstance(event, Denoising)] == [steps] * steps
    assert isinstance(last, Finished)
    notes = [sentence(note) for note in last.result.notes if note.code == "approximate"]
    assert notes == ([] if said is None else [f"Approximate: {said}."])
    assert (tmp_path / "out" / (last.result.video or "")).is_file()


@pytest.mark.parametrize("values", [{"cache_interval": 2}, {"schedule": "ays"}])
def test_what_the_checkpoint_cannot_do_is_refused_before_anything_loads(
    engine: LocalEngine, image: str, tmp_path: Path, values: dict[str, Any]
) -> None:
    asked = GenerationRequest.model_validate({"image": image, "checkpoint": "local:few", **values})
    with pytest.raises(BadInput) as caught:
        list(engine.generate(asked, tmp_path / "out", never()))
    assert caught.value.field == next(iter(values))
    assert not (tmp_path / "out").exists()
