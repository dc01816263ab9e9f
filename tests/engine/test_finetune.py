"""Training and clips wait for each other: both name the device alike, whatever the settings call it."""

from __future__ import annotations

from pathlib import Path

import pytest

from svd_ui.core.devices import plan_for
from svd_ui.engine import never
from svd_ui.engine.finetune import train
from svd_ui.engine.local import LocalEngine
from svd_ui.errors import BadInput
from svd_ui.finetune import TrainRequest
from svd_ui.settings import Settings


@pytest.mark.parametrize("devices", ["auto", "cpu"])
def test_a_run_locks_the_device_that_clips_lock(tmp_path: Path, devices: str) -> None:
    settings = Settings(data_dir=tmp_path, devices=devices)
    device = LocalEngine(settings).describe()
    assert device is not None
    assert device.id
    assert plan_for(settings).info.id == device.id


def test_a_size_between_cells_is_refused_before_anything_begins(tmp_path: Path) -> None:
    request = TrainRequest(name="run", data=tmp_path, checkpoint="nano", width=256, height=136)
    settings = Settings(data_dir=tmp_path / "data")
    with pytest.raises(BadInput, match="multiple of 16") as caught:
        train(request, settings, never())
    assert caught.value.field == "height"
    assert not settings.training_dir.exists()
