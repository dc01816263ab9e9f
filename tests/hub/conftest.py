"""A tiny SVD-XT as a folder and as a file, for the tests of what is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stability import save_single_file
from tests.tiny import save_tiny_svd

XT = "stable-video-diffusion-img2vid-xt"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full precision, 25 frames, without a word of ours beside it."""
    folder = save_tiny_svd(tmp_path_factory.mktemp("found") / XT, num_frames=25)
    (folder / "svd_ui.json").unlink()
    return folder


@pytest.fixture(scope="session")
def single(tiny: Path) -> Path:
    return save_single_file(tiny, tiny.parent / "svd_xt.safetensors")
