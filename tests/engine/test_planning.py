"""What the engine adds to a method's plan: how near things are, where it matters and nobody has said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from svd_ui.catalog import NANO, folder_row
from svd_ui.clip import ClipSpec
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from svd_ui.steering.choreography import Choreography
from tests.tiny import save_tiny_svd


def planned(folder: Path, tmp_path: Path, method: dict[str, Any]) -> Choreography:
    request = GenerationRequest.model_validate({"method": method, "width": 128, "height": 128, "seed": 1})
    still = Image.new("RGB", (128, 128), (90, 140, 90))
    still.paste((220, 40, 40), (40, 40, 88, 88))
    engine = LocalEngine(Settings(data_dir=tmp_path, _env_file=None))  # type: ignore[call-arg]
    plan = engine._choreography(ClipSpec.of(request, folder_row(folder)), still, still)
    assert plan is not None
    return plan


@pytest.fixture(scope="module")
def svd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_svd(tmp_path_factory.mktemp("models") / "tiny")


def test_what_stands_out_is_nearer_than_the_rest_where_a_model_makes_new_pixels(svd: Path, tmp_path: Path) -> None:
    near = planned(svd, tmp_path, {"kind": "camera", "camera": "arc left"}).nearness
    assert near is not None
    assert near[64, 64] == pytest.approx(0.5, abs=0.1)
    assert near[4:20].max() == pytest.approx(-0.5, abs=0.1)


def test_nano_is_left_its_own_estimate_and_a_flat_camera_needs_none(svd: Path, tmp_path: Path) -> None:
    assert planned(NANO, tmp_path, {"kind": "camera", "camera": "arc left"}).nearness is None
    assert planned(svd, tmp_path, {"kind": "camera", "camera": "pan left", "parallax": 0}).nearness is None


def test_a_depth_model_is_believed_before_either(svd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = np.full((128, 128), 0.25, np.float32)
    monkeypatch.setattr(Stages, "nearness", lambda self, still: told)
    for folder in (svd, NANO):
        assert planned(folder, tmp_path, {"kind": "camera", "camera": "push in"}).nearness is told
