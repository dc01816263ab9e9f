"""The embedded model through the real command: a process of its own, a worker, a clip on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from svd_ui.catalog import NANO
from svd_ui.media.video import read_frames
from svd_ui.settings import REPOSITORY
from tests.fakes import picture


@pytest.mark.skipif(not (NANO / "model_index.json").is_file(), reason="assets/nano is not in this checkout")
def test_nano_from_photo_to_clip(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    picture(0.5).resize((320, 200)).save(photo)
    options = ["--num-frames", "4", "--num-inference-steps", "2", "--seed", "1", "--checkpoint", "nano", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "svd_ui", "generate", str(photo), "-o", "clip.mp4", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "SVD_UI_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert status["state"] == "finished"
    frames = read_frames(tmp_path / "clip.mp4")
    assert len(frames) == 15, "of 4 key frames, 5 a second, played at 24"
    assert frames.shape[1:3] == (status["request"]["height"], status["request"]["width"])
