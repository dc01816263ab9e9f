"""Checkpoints as they lie on people's disks: each is listed as what it is and loads, or one sentence says why not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from svd_ui.catalog import PROFILES, CheckpointRow, find_checkpoint, survey
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Runtime
from svd_ui.errors import SvdUiError, WeightsMissing
from svd_ui.hub import Hub, layout
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


# What the parts come from


def unet_file(tiny: Path, models: Path, name: str) -> Path:
    return put(tiny / "unet" / WEIGHTS, models / name)


def base_folder(tiny: Path, single: Path, models: Path, cache: Path) -> None:
    put(tiny, models / XT)


def base_single_file(tiny: Path, single: Path, models: Path, cache: Path) -> None:
    put(single, models / "svd_xt.safetensors")


def base_in_the_hub_cache(tiny: Path, single: Path, models: Path, cache: Path) -> None:
    put(tiny, layout.repo_folder(cache, XT_REPO) / "snapshots" / ("b" * 40))


BASES = [base_folder, base_single_file, base_in_the_hub_cache]


@pytest.mark.parametrize("name", ["AnimateLCM-SVD-xt-1.1.safetensors", "AnimateLCM-SVD-xt.safetensors"])
@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_a_distilled_unet_is_joined_with_the_base_that_is_here(
    base: Callable[..., None], name: str, tiny: Path, single: Path, settings: Settings, hub: Hub
) -> None:
    base(tiny, single, settings.models_dir, hub.cache)
    weights = load_file(unet_file(tiny, settings.models_dir / "unet", name))
    save_file({key: value + 1 for key, value in weights.items()}, settings.models_dir / "unet" / ("new " + name))
    (settings.models_dir / "unet" / name).unlink()
    (settings.models_dir / "unet" / ("new " + name)).rename(settings.models_dir / "unet" / name)
    row = find_checkpoint(settings, f"local:{name.removesuffix('.safetensors')}")
    expected = find_checkpoint(settings, "animatelcm-svd-xt")
    assert row.defaults() == expected.defaults() and row.family == "consistency" and row.same_as == expected.id
    runtime = loaded(hub, row)
    assert torch.equal(runtime.unet.conv_in.weight, weights["conv_in.weight"] + 1)
    vae = load_file(tiny / "vae" / WEIGHTS)
    assert torch.equal(runtime.vae.decoder.conv_in.weight, vae["decoder.conv_in.weight"])
    assert hub.present(expected) is not None, "the row of the catalogue is made of the same"


@pytest.mark.parametrize("layout", ["diffusers", "stability", "folder"])
def test_a_unet_of_ones_own_is_joined_too(layout: str, tiny: Path, single: Path, settings: Settings, hub: Hub) -> None:
    put(single, settings.models_dir / "svd_xt.safetensors")
    place = settings.models_dir / "diffusion_models"
    if layout == "folder":
        put(tiny / "unet", place / "my svd xt tune" / "unet")
    elif layout == "diffusers":
        unet_file(tiny, place, "my svd xt tune.safetensors")
    else:
        unet = {k: v for k, v in load_file(single).items() if k.startswith("model.diffusion_model.")}
        place.mkdir()
        save_file(unet, place / "my svd xt tune.safetensors")
    row = find_checkpoint(settings, "local:my svd xt tune")
    assert row.title == "my svd xt tune (like SVD-XT)" and row.num_frames == 25 and not row.same_as
    assert torch.equal(loaded(hub, row).unet.conv_in.weight, load_file(tiny / "unet" / WEIGHTS)["conv_in.weight"])


def test_a_unet_without_a_base_says_what_is_missing_and_how_to_get_it(tiny: Path, settings: Settings, hub: Hub) -> None:
    unet_file(tiny, settings.models_dir, "AnimateLCM-SVD-xt-1.1.safetensors")
    row = only(settings)
    with pytest.raises(WeightsMissing, match=r"picture encoder.*svd_xt\.safetensors.*models download local:Anim"):
        hub.require(row)
    assert row.is_on_hub and hub.present(find_checkpoint(settings, "animatelcm-svd-xt")) is None
