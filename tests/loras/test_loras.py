"""The folder of LoRAs: what is listed, what is found by name, what a damaged or foreign file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from svd_ui import loras
from svd_ui.errors import BadInput
from svd_ui.request import LoraRef
from svd_ui.settings import Settings

NAMES = ("mid_block.x.to_q.lora_A.weight", "mid_block.x.to_q.lora_B.weight")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "models" / "loras").mkdir(parents=True)
    return Settings(data_dir=tmp_path)


def write(settings: Settings, name: str, tensors: dict[str, np.ndarray], **metadata: str) -> Path:
    path = settings.models_dir / "loras" / f"{name}.safetensors"
    save_file(tensors, path, metadata=metadata)
    return path


def good(rank: int = 4, fill: float = 0.0) -> dict[str, np.ndarray]:
    shapes = ((rank, 8), (8, rank))
    return {name: np.full(shape, fill, np.float32) for name, shape in zip(NAMES, shapes, strict=True)}


def test_a_file_tells_its_rank_and_where_it_comes_from(settings: Settings) -> None:
    write(settings, "pans-left", good(rank=4), base="nano", licence="CC0-1.0", title="Pans left")
    found = loras.find(settings, LoraRef(name="pans-left"))
    assert (found.rank, found.base, found.licence, found.title) == (4, "nano", "CC0-1.0", "Pans left")


def test_an_unknown_name_lists_the_known_ones(settings: Settings) -> None:
    write(settings, "one", good())
    with pytest.raises(BadInput, match="Known: one") as caught:
        loras.find(settings, LoraRef(name="two"))
    assert caught.value.field == "loras"


def test_names_cannot_leave_the_folder() -> None:
    for name in ("../secret", "/etc/passwd", "a/b", "a\\b"):
        with pytest.raises(ValueError, match="pattern"):
            LoraRef(name=name)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x05\0\0\0\0\0\0\0[1,2]", b"\x02\0\0\0\0\0\0\0{]"])
def test_damaged_files_are_listed_with_their_trouble(settings: Settings, content: bytes) -> None:
    (settings.models_dir / "loras" / "broken.safetensors").write_bytes(content)
    assert "damaged" in loras.loras(settings)["broken"].trouble
    with pytest.raises(BadInput, match="damaged"):
        loras.find(settings, LoraRef(name="broken"))


def test_a_file_written_anew_has_another_digest(settings: Settings) -> None:
    write(settings, "one", good())
    first = loras.digest(loras.find(settings, LoraRef(name="one")), 1.0)
    assert loras.digest(loras.find(settings, LoraRef(name="one")), 0.5) != first
    write(settings, "one", good(fill=1.0))
    assert loras.digest(loras.find(settings, LoraRef(name="one")), 1.0) != first
