"""Checkpoints as they lie on people's disks: each is listed as what it is and loads, or one sentence says why not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from svd_ui.catalog import PROFILES, CheckpointRow, find_checkpoint, survey
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Runtime
from svd_ui.hub import Hub
from svd_ui.notes import sentence
from svd_ui.settings import Settings
from tests.stability import save_single_file
from tests.tiny import save_tiny_svd

XT = "stable-video-diffusion-img2vid-xt"
XT_REPO = f"stabilityai/{XT}"
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full precision, 25 frames, without a word of ours beside it."""
    folder = save_tiny_svd(tmp_path_factory.mktemp("found") / XT, num_frames=25)
    (folder / "svd_ui.json").unlink()
    return folder


@pytest.fixture(scope="module")
def single(tiny: Path) -> Path:
    return save_single_file(tiny, tiny.parent / "svd_xt.safetensors")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def hub(settings: Settings, tmp_path: Path) -> Hub:
    return Hub(settings, cache=tmp_path / "cache")


def only(settings: Settings) -> CheckpointRow:
    """The one row that was found."""
    (row,) = [row for row in survey(settings).rows.values() if row.path and row.id != "nano"]
    return row


def refusals(settings: Settings) -> str:
    return " ".join(f"{one.path.name}: {sentence(one.why)}" for one in survey(settings).refused)


def loaded(hub: Hub, row: CheckpointRow) -> Runtime:
    plan = Plan(torch.device("cpu"), PROFILES["cpu"], torch.float32, "sdpa")
    return Runtime(row, hub.require(row), plan)


def put(source: Path, target: Path) -> Path:
    """A copy of a folder or a file, by hard links: tests only read, or write anew."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link)
    else:
        os.link(source, target)
    return target


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def cut(path: Path) -> None:
    data = path.read_bytes()
    replace(path, data[: len(data) * 2 // 3])


# Where things lie


def fp16_folder(tiny: Path, single: Path, models: Path) -> None:
    folder = put(tiny, models / XT)
    for file in folder.rglob("*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))


def single_file(tiny: Path, single: Path, models: Path) -> None:
    put(single, models / "svd_xt.safetensors")


def single_in_the_hub_cache_of_sdnext(tiny: Path, single: Path, models: Path) -> None:
    put(tiny, models / "Diffusers" / f"models--stabilityai--{XT}" / "snapshots" / ("a" * 40))


def without_small_files(tiny: Path, single: Path, models: Path) -> None:
    folder = put(tiny, models / XT)
    for part in ("scheduler", "feature_extractor"):
        shutil.rmtree(folder / part)
    (folder / "model_index.json").unlink()


def a_clone_with_half_precision_alone(tiny: Path, single: Path, models: Path) -> None:
    """``git lfs pull --include '*fp16*'``: the full precision and the single file are pointers."""
    folder = put(tiny, models / XT)
    for file in folder.rglob("*.safetensors"):
        os.link(file, file.with_suffix(".fp16.safetensors"))
        replace(file, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    (folder / "svd_xt.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


def a_clone_with_the_single_file_alone(tiny: Path, single: Path, models: Path) -> None:
    folder = put(tiny, models / XT)
    for file in folder.rglob("*.safetensors"):
        replace(file, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    put(single, folder / "svd_xt.safetensors")


ARRANGED = [
    fp16_folder,
    single_file,
    single_in_the_hub_cache_of_sdnext,
    without_small_files,
    a_clone_with_half_precision_alone,
    a_clone_with_the_single_file_alone,
]


@pytest.mark.parametrize("arrange", ARRANGED, ids=lambda arrange: arrange.__name__)
def test_what_people_have_is_svd_xt_and_loads(
    arrange: Callable[[Path, Path, Path], None], tiny: Path, single: Path, settings: Settings, hub: Hub
) -> None:
    arrange(tiny, single, settings.models_dir)
    rows = [row for row in survey(settings).rows.values() if row.path and hub.present(row) and row.id != "nano"]
    (row,) = rows
    expected = find_checkpoint(settings, "svd-xt")
    assert row.id.startswith("local:") and row.same_as == "svd-xt" and row.title.startswith("SVD-XT (25 frames)")
    assert row.defaults() == expected.defaults() and row.licence == expected.licence and row.link == expected.link
    assert torch.equal(loaded(hub, row).unet.conv_in.weight, load_file(tiny / "unet" / WEIGHTS)["conv_in.weight"])
    assert hub.present(expected) == hub.present(row), "no download of what is here"
