"""Training and clips wait for each other: both name the device alike, whatever the settings call it."""

from __future__ import annotations

from pathlib import Path

import pytest

from svd_ui.engine.local import LocalEngine
from svd_ui.engine.training import _device_id
from svd_ui.settings import Settings


@pytest.mark.parametrize("devices", ["auto", "cpu"])
def test_a_run_locks_the_device_that_clips_lock(tmp_path: Path, devices: str) -> None:
    settings = Settings(data_dir=tmp_path, devices=devices)
    device = LocalEngine(settings).describe()
    assert device is not None
    assert device.id
    assert _device_id(settings) == device.id
