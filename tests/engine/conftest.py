"""A tiny pipeline on disk, and an installation around it."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from svd_ui.assets import Assets
from svd_ui.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", devices="cpu", idle_seconds=0)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline of SVD's classes with random weights: 4 frames of 64x64 in 4 steps."""
    from tests.tiny import save_tiny_svd

    return save_tiny_svd(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def read_once() -> Iterator[None]:
    """For modules of many clips: files are read once, and what was imported is not gone over after every clip."""
    from svd_ui.core import loading

    read, found = loading.load_module, dict[Any, Any]()

    def load_module(folder: Path, component: str, *rest: Any) -> Any:
        key = (folder, component, *rest)
        if key not in found:
            found[key] = read(folder, component, *rest)
        return copy.deepcopy(found[key])

    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load_module", load_module)
        yield
    gc.unfreeze()


def photo(width: int = 96, height: int = 80) -> Image.Image:
    """A picture with structure in every direction."""
    red = Image.linear_gradient("L").resize((width, height))
    blue = red.transpose(Image.Transpose.ROTATE_90).resize((width, height))
    return Image.merge("RGB", (red, Image.radial_gradient("L").resize((width, height)), blue))


@pytest.fixture
def image(settings: Settings) -> str:
    return Assets.of(settings).keep(photo())
