"""A fine-tuning run from a file and flags: flags win, blanks come from the checkpoint, mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from svd_ui.catalog import CheckpointRow
from svd_ui.errors import BadInput
from svd_ui.finetune import TrainRequest, read_config

ROW = CheckpointRow(id="x", title="X", num_frames=14, width=256, height=144)


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('name = "slow pans"\ndata = "clips"\nrank = 4\nsteps = 20\n')
    request, _ = read_config(config, {"steps": 30, "rank": None})
    assert (request.name, request.data, request.rank, request.steps) == ("slow pans", Path("clips"), 4, 30)


def test_blanks_come_from_the_checkpoint() -> None:
    request = TrainRequest(name="a", data=Path("clips"), rank=8).resolved(ROW)
    assert (request.width, request.height, request.num_frames, request.alpha) == (256, 144, 14, 8.0)
    assert request.checkpoint == "x"


@pytest.mark.parametrize(
    ("flags", "field", "words"),
    [
        ({"rank": 0}, "rank", "LoRA rank must be a whole number from 1 to 256"),
        ({"method": "dora"}, "method", "lora, temporal or full"),
        ({"name": "../out"}, "name", "letters, digits"),
        ({"name": None}, "name", "Name is needed"),
        ({"learning_rat": 1}, "learning_rat", "did you mean learning_rate"),
        ({"width": 128}, "width", "both width and height"),
    ],
)
def test_a_mistake_is_named(flags: dict[str, object], field: str | None, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        read_config(None, {"name": "a", "data": "clips", **flags})
    assert caught.value.field == field


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("name = ")
    with pytest.raises(BadInput, match=r"run\.toml"):
        read_config(config, {})
