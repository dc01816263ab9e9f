"""What the benchmark writes is read as what it stands for."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.single_file import in_stability_names, write
from svd_ui.stability_keys import COMPONENTS
from svd_ui.weight_files import checked_header
from svd_ui.weight_kinds import kind_of


def test_its_file_is_a_whole_pipeline() -> None:
    names = {name: shape for component in COMPONENTS for name, shape in in_stability_names(component).items()}
    header = {name: {"dtype": "F16", "shape": list(shape)} for name, shape in names.items()}
    assert kind_of(header).what == "pipeline"


def test_its_files_are_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", {"a": (3, 5), "b": (2**12, 2**13)})
    assert checked_header(tmp_path / "a.safetensors").keys() == {"__metadata__", "a", "b"}
    found = load_file(tmp_path / "a.safetensors")
    assert found["a"].shape == (3, 5)
    assert bool(found["b"].isfinite().all())
    assert found["b"].dtype == torch.float16
