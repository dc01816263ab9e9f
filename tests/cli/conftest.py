"""The command line run in this process, with a fake engine where a worker would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from svd_ui.cli import app
from svd_ui.engine import Engine
from svd_ui.settings import Settings
from tests.fakes import FakeEngine, fake_checkpoint, picture

Run = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A data folder of its own, the embedded model or a folder that looks like one, and an empty hub cache."""
    fake_checkpoint(tmp_path / "models" / "little")
    for name, value in {
        "DATA_DIR": tmp_path / "data",
        "CHECKPOINT_DIRS": tmp_path / "models",
        "CHECKPOINT": "local:little",
        "TEXT_TO_IMAGE": tmp_path / "still",
    }.items():
        monkeypatch.setenv(f"SVD_UI_{name}", str(value))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return Settings()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    picture(0.3).save(path)
    return path


@pytest.fixture
def engine(settings: Settings) -> FakeEngine:
    return FakeEngine(delay=0.001, settings=settings)


@pytest.fixture
def run(settings: Settings, engine: FakeEngine) -> Run:
    def run(*args: object, input: str | None = None) -> Result:
        def factory(_: Settings) -> Engine:
            return engine

        return CliRunner().invoke(app, [str(arg) for arg in args], obj=factory, input=input)

    return run
