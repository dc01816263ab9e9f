"""Putting the service together from settings."""

from __future__ import annotations

import subprocess
import sys

import pytest

from svd_ui.jobs.compose import compose, devices
from svd_ui.settings import REPOSITORY, Settings


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("auto", [None]),
        ("", [None]),
        ("cpu", ["cpu"]),
        ("cuda, cuda:1", ["cuda:0", "cuda:1"]),
        ("cuda:0+cuda:1, cuda:2, CUDA:1", ["cuda:0+cuda:1", "cuda:2"]),
    ],
)
def test_one_worker_for_each_device(settings: Settings, setting: str, expected: list[str | None]) -> None:
    assert devices(settings.model_copy(update={"devices": setting})) == expected


def test_composing_starts_nothing_until_asked(settings: Settings) -> None:
    with compose(settings, start=False) as jobs:
        assert jobs.describe() is None
        assert jobs.history() == []


def test_the_service_needs_no_torch() -> None:
    code = "import sys, svd_ui.jobs.service, svd_ui.jobs; print(sorted({'torch', 'diffusers', 'gradio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
