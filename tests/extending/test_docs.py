"""docs/extending.md shows whole files: those that these tests install."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from svd_ui.engine import Engine
from svd_ui.events import Finished, Loading, never
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY, Settings
from tests.fakes import FakeEngine

from .conftest import HERE

SITE = HERE / "site"


@pytest.fixture
def installed() -> Iterator[None]:
    sys.path.insert(0, str(SITE))
    yield
    sys.path.remove(str(SITE))


def test_the_examples_are_the_files_that_are_tested() -> None:
    text = (REPOSITORY / "docs" / "extending.md").read_text("utf-8")
    shown = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    files = {path.name: path.read_text("utf-8") for path in (SITE / "stranger").glob("*.py") if path.stem != "__init__"}
    assert sorted(shown) == sorted(files.values())
    points = (SITE / "stranger-1.0.dist-info" / "entry_points.txt").read_text("utf-8")
    named = re.compile(r"^\w+ = stranger\.\w+", re.MULTILINE)
    assert named.findall(text.replace('"', "")) == named.findall(points)


@pytest.mark.usefixtures("installed")
def test_an_engine_of_somebody_else_runs_a_clip(tmp_path: Path) -> None:
    from stranger.polite import PoliteEngine  # type: ignore[import-not-found]

    turns = iter([False, False, True])
    engine = PoliteEngine(FakeEngine(delay=0.001, settings=Settings(data_dir=tmp_path)), lambda: next(turns))
    assert isinstance(engine, Engine)
    events = list(engine.generate(GenerationRequest(prompt="x", seed=1), tmp_path / "out", never()))
    assert [event.title for event in events[:2] if isinstance(event, Loading)] == ["tonight", "tonight"]
    assert isinstance(events[-1], Finished)
