"""Which files count as complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svd_ui.catalog import folders
from tests.hub.fake_hub import repository

FOUR = "diffusion_pytorch_model"
INDEX = {"unet": ["diffusers", "U"]}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_complete_means_every_component_in_the_precision(tmp_path: Path) -> None:
    folder = write(tmp_path, repository(1000))
    assert folders.is_complete(folder, "fp16")
    (folder / "vae/diffusion_pytorch_model.fp16.safetensors").unlink()
    assert not folders.is_complete(folder, "fp16")
    assert folders.is_complete(folder, None)


@pytest.mark.parametrize(
    ("variant", "shards", "index"),
    [
        (None, [f"{FOUR}-0000{i}-of-00002.safetensors" for i in (1, 2)], f"{FOUR}.safetensors.index.json"),
        ("fp16", [f"{FOUR}.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)], f"{FOUR}.safetensors.index.fp16.json"),
    ],
)
def test_shards_are_chosen_with_their_index_and_all_needed(
    tmp_path: Path, variant: str | None, shards: list[str], index: str
) -> None:
    weight_map = json.dumps({"weight_map": {f"w{i}": shard for i, shard in enumerate(shards)}}).encode()
    files = {f"unet/{shard}": b"x" for shard in shards} | {
        "model_index.json": json.dumps(INDEX).encode(),
        "unet/config.json": b"{}",
        f"unet/{index}": weight_map,
    }
    assert set(folders.select(INDEX, [*files, f"unet/{FOUR}.non_ema.safetensors"], variant)) == set(files)
    folder = write(tmp_path, files)
    assert folders.is_complete(folder, variant)
    (folder / "unet" / shards[1]).unlink()
    assert not folders.is_complete(folder, variant)


def test_a_component_name_cannot_lead_out_of_its_folder() -> None:
    index = {"../up": ["a", "b"], "..": ["a", "b"], "/etc": ["a", "b"], "unet": ["a", "b"], "off": [None, None]}
    assert folders.components(index) == ("unet",)


def test_an_index_of_other_weights_is_left_out() -> None:
    paths = [f"unet/{FOUR}.fp16.safetensors", f"unet/{FOUR}.safetensors.index.json", "unet/config.json"]
    assert folders.select(INDEX, paths, "fp16") == ["unet/config.json", f"unet/{FOUR}.fp16.safetensors"]
