"""A look at a built Space: what is asked of the folder, what a wrong one is told, and once in earnest."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from svd_ui.catalog import nano_row
from svd_ui.errors import BadInput, Unexpected
from svd_ui.space import SpacePlan, build
from svd_ui.space.check import Trial, differences, front_matter, started, until_ready, variables
from svd_ui.space.environment import Environment
from svd_ui.space.hardware import HARDWARE, ZERO


def trial(folder: Path, **values: Any) -> Trial:
    return Trial(folder, **{"python": "", "keep": None, "install": False, "seconds": 300, "say": print, **values})


def test_what_is_no_space_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="begins with no settings of a Space"):
        trial(tmp_path).run()
    (tmp_path / "README.md").write_text("---\ntitle: x\n---\n")
    with pytest.raises(BadInput, match="does not say app_file"):
        front_matter(tmp_path)


def test_a_folder_that_was_changed_is_not_what_was_built(tmp_path: Path) -> None:
    build(tmp_path, SpacePlan(HARDWARE["cpu-basic"], nano_row()))
    (tmp_path / "svd_ui" / "__init__.py").unlink()
    with pytest.raises(BadInput, match="svd_ui/__init__.py was changed or removed"):
        trial(tmp_path).run()


def test_nothing_of_this_machine_s_user_goes_along(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("SVD_UI_AUTH", "ann:secret")
    monkeypatch.setenv("PYTHONPATH", "/mine")
    given = variables(tmp_path, 7000)
    assert not {"HF_TOKEN", "SVD_UI_AUTH", "PYTHONPATH"} & given.keys()
    assert (given["SYSTEM"], given["HOME"]) == ("spaces", str(tmp_path))


def test_a_space_that_ends_at_once_is_said_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "raise SystemExit('no module named lava')"]
    with (
        started(command, tmp_path, dict(os.environ), log) as process,
        pytest.raises(Unexpected, match="it ended: no module named lava"),
    ):
        until_ready(process, 1, log, 60)


def test_what_differs_is_said(tmp_path: Path) -> None:
    build(tmp_path, SpacePlan(ZERO, nano_row()))
    environment = Environment(tmp_path, sys.executable, print, own=True)
    environment.replaced.append(("torch==2.13.0+cpu", "torch==2.13.0"))
    lines = list(differences(front_matter(tmp_path), environment))
    text = "\n".join(lines)
    for part in (
        "zero-a10g there",
        "3.12.12 there",
        "GPU is lent",
        "torch==2.13.0+cpu there",
        "nobody can sign in",
        "bucket at /data",
    ):
        assert part in text, part


def test_a_python_that_is_not_here_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no python9"):
        Environment.of(tmp_path, "python9", "3.12", print)


@pytest.mark.slow
def test_a_built_space_makes_a_clip(tmp_path: Path) -> None:
    """With this program's packages: what its requirements bring takes minutes, and is for ``space check`` itself."""
    build(tmp_path / "out", SpacePlan(HARDWARE["cpu-basic"], nano_row()))
    facts = trial(tmp_path / "out").run()
    assert "frames" in facts.sentence
    assert "with nano" in facts.sentence
