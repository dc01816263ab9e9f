"""Checkpoints as they lie on people's disks: each is listed as what it is and loads, or one sentence says why not."""

from __future__ import annotations

import os
import shutil
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from svd_ui.catalog import PROFILES, CheckpointRow, find_checkpoint, folders, survey
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Runtime
from svd_ui.engine import Device
from svd_ui.errors import BadInput, SvdUiError, WeightsMissing
from svd_ui.hub import Hub, layout
from svd_ui.hub.selection import Checkpoints
from svd_ui.model_dirs import places
from svd_ui.notes import sentence
from svd_ui.settings import Settings
from tests.hub.conftest import XT
from tests.hub.fake_hub import FakeHub, repository

XT_REPO = f"stabilityai/{XT}"
WEIGHTS = "diffusion_pytorch_model.safetensors"


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
    known = find_checkpoint(settings, "animatelcm-svd-xt")
    assert row.is_on_hub and hub.present(known) is None
    assert known.download_bytes == row.download_bytes < 2e9, "the U-Net is not fetched again"


# What cannot be used, and why


def pointer(path: Path) -> None:
    replace(path, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")


def page(path: Path) -> None:
    replace(path, b"<!DOCTYPE html><html><title>Sign in</title></html>")


def only_a_pickle(path: Path) -> None:
    path.rename(path.with_suffix(".bin"))


DAMAGE = {
    "cut": (cut, "is cut short"),
    "pointer": (pointer, "git-LFS pointer.*git lfs pull"),
    "page": (page, "is a web page.*sign in"),
    "empty": (lambda path: replace(path, b""), "is empty"),
    "pickle": (only_a_pickle, "holds .*bin but no .safetensors"),
    "missing": (Path.unlink, "holds no weights"),
    "no folder": (lambda path: shutil.rmtree(path.parent), "is missing"),
}


@pytest.mark.parametrize("part", ["unet", "vae", "image_encoder"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_says_which_file_is_wrong_what_it_should_be_and_where_it_is(
    damage: str, part: str, tiny: Path, settings: Settings, hub: Hub
) -> None:
    if (damage, part) == ("no folder", "unet"):
        pytest.skip("without a U-Net it is no checkpoint")
    harm, said = DAMAGE[damage]
    folder = put(tiny, settings.models_dir / XT)
    harm(next((folder / part).glob("*.safetensors")))
    row = only(settings)
    assert row.same_as == "svd-xt" and hub.present(row) is None
    with pytest.raises(WeightsMissing, match=said) as caught:
        hub.require(row)
    named = f"{part}/{folders.WEIGHTS[part]}"
    assert f"{XT}/{part}" in caught.value.message and f"Get {named}" in caught.value.message
    assert f"https://huggingface.co/{XT_REPO}/tree/main/{part}" in caught.value.message
    assert hub.present(find_checkpoint(settings, "svd-xt")) is None, "what is damaged stands for nothing"


@pytest.mark.parametrize("damage", ["cut", "pointer", "page", "empty"])
def test_a_single_file_says_what_is_wrong_with_it(damage: str, single: Path, settings: Settings, hub: Hub) -> None:
    harm, said = DAMAGE[damage]
    harm(put(single, settings.models_dir / "svd_xt.safetensors"))
    with pytest.raises(SvdUiError, match=said) as caught:
        hub.require(find_checkpoint(settings, "local:svd_xt"))
    assert f"https://huggingface.co/{XT_REPO}" in caught.value.message
    assert str(settings.data_dir) not in caught.value.message


def test_what_else_is_put_there_is_named_for_what_it_is(tiny: Path, single: Path, settings: Settings) -> None:
    models = settings.models_dir
    models.mkdir(parents=True)
    (models / "svd_xt.ckpt").write_bytes(b"PK\x03\x04")
    (models / "svd_xt-Q8.gguf").write_bytes(b"GGUF")
    save_file({"conditioner.embedders.1.model.x": torch.zeros(1)}, models / "sdxl.safetensors")
    save_file(
        {"down_blocks.0.attentions.0.temporal_transformer_blocks.0.lora_A.weight": torch.zeros(1)},
        models / "my lora.safetensors",
    )
    tensors = {name: value.to(torch.float8_e4m3fn) for name, value in load_file(single).items()}
    save_file(tensors, models / "svd_xt_fp8.safetensors")
    said = refusals(settings)
    assert "svd_xt.ckpt is a pickle" in said and "svd_xt-Q8.gguf is a GGUF" in said
    assert "sdxl.safetensors is an SDXL checkpoint" in said and "my lora.safetensors is a LoRA" in said
    assert "svd_xt_fp8.safetensors stores its weights as" in said
    with pytest.raises(SvdUiError, match="svd_xt.ckpt is a pickle"):
        find_checkpoint(settings, "local:svd_xt")


def test_other_programs_files_are_none_of_our_business(settings: Settings, tmp_path: Path) -> None:
    tree = tmp_path / "ComfyUI" / "models" / "checkpoints"
    tree.mkdir(parents=True)
    save_file({"conditioner.embedders.1.model.x": torch.zeros(1)}, tree / "sdxl.safetensors")
    (tree / "old.ckpt").write_bytes(b"PK\x03\x04")
    (tree / "half.safetensors").write_bytes(b"")
    assert refusals(settings.model_copy(update={"checkpoint_dirs": str(tmp_path / "ComfyUI")})) == ""
    asked = settings.model_copy(update={"checkpoint_dirs": str(tree / "sdxl.safetensors")})
    assert "sdxl.safetensors is an SDXL checkpoint" in refusals(asked)


# ComfyUI's tree


@pytest.fixture
def comfy(tiny: Path, single: Path, tmp_path: Path) -> Path:
    root = tmp_path / "ComfyUI"
    put(single, root / "models" / "checkpoints" / "video" / "svd_xt.safetensors")
    put(tiny, tmp_path / "other drive" / "stable-video-diffusion-img2vid-xt-1-1")
    (root / "models" / "diffusers").symlink_to(tmp_path / "other drive")
    unet_file(tiny, root / "models" / "unet", "AnimateLCM-SVD-xt-1.1.safetensors")
    (root / "models" / "loras" / "pans").mkdir(parents=True)
    (root / "models" / "again").symlink_to(root)
    (root / "custom_nodes" / "node" / "models").mkdir(parents=True)
    put(single, root / "custom_nodes" / "node" / "models" / "svd.safetensors")
    return root


SVD_XT, SVD_1_1, LCM = "local:svd_xt", "local:stable-video-diffusion-img2vid-xt-1-1", "local:AnimateLCM-SVD-xt-1.1"


@pytest.mark.parametrize(
    ("place", "ids"),
    [
        (".", {SVD_XT, SVD_1_1, LCM}),
        ("models", {SVD_XT, SVD_1_1, LCM}),
        ("models/checkpoints", {SVD_XT}),
        ("models/checkpoints/video/svd_xt.safetensors", {SVD_XT}),
        ("models/unet", {LCM}),
    ],
)
def test_comfyui_is_found_from_its_root_down_to_the_very_file(
    place: str, ids: set[str], comfy: Path, settings: Settings
) -> None:
    settings = settings.model_copy(update={"checkpoint_dirs": str(comfy / place)})
    found = survey(settings)
    assert {id for id in found.rows if id.startswith("local:")} == ids and not found.refused
    assert comfy / "models" / "loras" in places(settings).loras


def test_extra_model_paths_are_followed(comfy: Path, tiny: Path, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "drive").mkdir()
    comfy.rename(tmp_path / "drive" / "ComfyUI")
    tree = tmp_path / "home"
    put(tiny, tree / "video" / "svd xt tune")
    (tree / "extra_model_paths.yaml").write_text(
        """# comment
comfyui:
    base_path: $DRIVE/ComfyUI
    is_default: true
    checkpoints: |
        models/checkpoints
        models/not there
    loras: models/loras
empty:
other:
    diffusers: video
    loras: |
        ~/loras
        more/loras
""",
        "utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIVE", str(tmp_path / "drive"))
        patch.setenv("HOME", str(tmp_path))
        for given in (tree, tree / "extra_model_paths.yaml"):
            found = settings.model_copy(update={"checkpoint_dirs": str(given)})
            assert {SVD_XT, "local:svd xt tune"} <= set(survey(found).rows)
            loras = places(found).loras
            assert {tmp_path / "drive/ComfyUI/models/loras", tmp_path / "loras", tree / "more/loras"} <= set(loras)


@pytest.mark.parametrize("broken", ["a: [", "- a", "a: {b: !!python/object/apply:os.getcwd []}", "\x00"])
def test_a_broken_list_of_paths_is_named(broken: str, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "extra_model_paths.yaml").write_text(broken, "utf-8")
    assert "extra_model_paths.yaml cannot be read" in refusals(
        settings.model_copy(update={"checkpoint_dirs": str(tmp_path / "extra_model_paths.yaml")})
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x:\n    base_path: .\n    checkpoints: models\\checkpoints\n", True),
        ("# \xe9\nx:\n    checkpoints: models/checkpoints\n", True),
        ("base_path: .\ncheckpoints: models/checkpoints\n", "have to stand in sections"),
        ("x:\n    base_path: C:\\Comfy UI\n    checkpoints: models\n", "Comfy UI: extra_model_paths.yaml lists it"),
        ("#x:\n#    base_path: .\n", False),
        ("x:\n    base_path:\n    checkpoints:\n", False),
    ],
)
def test_a_list_of_paths_of_any_system_is_followed_or_said(
    text: str, found: bool | str, single: Path, settings: Settings, tmp_path: Path
) -> None:
    put(single, tmp_path / "models" / "checkpoints" / "svd_xt.safetensors")
    file = tmp_path / "extra_model_paths.yaml"
    file.write_bytes(text.encode("cp1252"))
    settings = settings.model_copy(update={"checkpoint_dirs": str(file)})
    assert (SVD_XT in survey(settings).rows) is (found is True)
    said = refusals(settings)
    assert found in said if isinstance(found, str) else said == ""


def test_a_place_that_is_not_there_is_named(settings: Settings, tmp_path: Path) -> None:
    two = os.pathsep.join((str(tmp_path / "unplugged"), str(tmp_path)))
    assert "unplugged: SVD_UI_CHECKPOINT_DIRS lists it" in refusals(
        settings.model_copy(update={"checkpoint_dirs": two})
    )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_what_may_not_be_read_is_passed_over(single: Path, settings: Settings) -> None:
    put(single, settings.models_dir / "b" / "svd_xt.safetensors")
    (settings.models_dir / "a").mkdir(mode=0)
    assert only(settings).id == SVD_XT


def test_a_name_that_comes_twice_is_told_apart_and_found_again(single: Path, settings: Settings) -> None:
    for place in ("a", "b"):
        put(single, settings.models_dir / place / "svd_xt.safetensors").touch()
        data = (settings.models_dir / place / "svd_xt.safetensors").read_bytes()
        replace(settings.models_dir / place / "svd_xt.safetensors", data)
    one, other = (row for row in survey(settings).rows.values() if row.file)
    assert one.id == SVD_XT and other.id.startswith(f"{SVD_XT}@") and one.title != other.title
    shutil.rmtree(settings.models_dir / "a")
    assert find_checkpoint(settings, other.id).file == other.file, "stored requests still mean it"


# The hub's cache


def commit(cache: Path, number: int, tiny: Path, age: int = 0) -> Path:
    folder = put(tiny, layout.repo_folder(cache, XT_REPO) / "snapshots" / f"{number:040x}")
    os.utime(folder, (1_700_000_000 - age, 1_700_000_000 - age))
    return folder


def test_full_precision_by_revision_is_found(tiny: Path, settings: Settings, hub: Hub) -> None:
    folder = commit(hub.cache, 1, tiny)
    row = find_checkpoint(settings, "svd-xt")
    assert hub.present(row) == folder
    assert torch.equal(loaded(hub, row).unet.conv_in.weight, load_file(tiny / "unet" / WEIGHTS)["conv_in.weight"])


def test_the_newest_whole_commit_wins(tiny: Path, settings: Settings, hub: Hub) -> None:
    row = find_checkpoint(settings, "svd-xt")
    old, new, broken = (commit(hub.cache, number, tiny, age=100 - number) for number in (1, 2, 3))
    shutil.rmtree(broken / "vae")
    layout.set_main(hub.cache, XT_REPO, broken.name)
    assert hub.present(row) == new
    shutil.rmtree(new)
    assert hub.present(row) == old


def test_one_file_in_the_hubs_cache_is_found(single: Path, settings: Settings, hub: Hub) -> None:
    file = put(single, layout.repo_folder(hub.cache, XT_REPO) / "snapshots" / ("c" * 40) / "svd_xt.safetensors")
    assert hub.present(find_checkpoint(settings, "svd-xt")) == file


def test_older_caches_are_looked_into(
    tiny: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = commit(tmp_path / "older", 1, tiny)
    assert Hub(settings).present(row := find_checkpoint(settings, "svd-xt")) is None
    monkeypatch.setenv("TRANSFORMERS_CACHE", str(tmp_path / "older"))
    assert Hub(settings).present(row) == folder


# Which one is taken, and what is fetched


def test_auto_takes_what_lies_here_as_the_row_everybody_knows(single: Path, settings: Settings, hub: Hub) -> None:
    put(single, settings.models_dir / "svd_xt.safetensors")
    put(single, settings.models_dir / "a merge.safetensors")
    card = Device(kind="cuda", name="a card", total_bytes=24_000_000_000)
    assert Checkpoints(settings, hub).resolve("auto", card).id == "svd-xt"
    put(single, settings.models_dir / "svd_xt_1_1.safetensors")
    assert Checkpoints(settings, hub).resolve("auto", card).id == "svd-xt-1-1"


def test_a_file_of_unknown_name_is_a_guess_and_says_so(single: Path, settings: Settings, hub: Hub) -> None:
    put(single, settings.models_dir / "model (3).safetensors")
    row = only(settings)
    assert row.num_frames == 25 and "guess" in row.note and not row.same_as
    assert hub.present(row) is not None and hub.present(find_checkpoint(settings, "svd-xt")) is None


def test_only_what_is_missing_of_the_base_is_fetched(tiny: Path, settings: Settings, tmp_path: Path) -> None:
    unet_file(tiny, settings.models_dir, "AnimateLCM-SVD-xt-1.1.safetensors")
    with FakeHub(repository()).serving() as server:
        hub = Hub(settings, cache=tmp_path / "cache", endpoint=server.url)
        for id in ("local:AnimateLCM-SVD-xt-1.1", "animatelcm-svd-xt"):
            list(hub.fetch(find_checkpoint(settings, id), threading.Event()))
            folder = hub.present(find_checkpoint(settings, id))
            assert folder is not None and (folder / "unet" / WEIGHTS).stat().st_size > 1_000_000
        assert not [path for path, _ in server.requests if "/unet/diffusion" in path or "AnimateLCM" in path]


def test_a_file_of_ours_is_not_deleted(single: Path, settings: Settings, hub: Hub) -> None:
    file = put(single, settings.models_dir / "svd_xt.safetensors")
    for id in ("svd-xt", "local:svd_xt"):
        with pytest.raises(BadInput, match="yourself"):
            hub.remove(find_checkpoint(settings, id))
    assert file.exists()


HOSTILE = [
    b"[" * 100_000,
    b'{"time_stack": {"dtype": "F16", "shape": 3, "data_offsets": [0, 2]}}',
    b'{"time_stack": []}',
    b'{"time_stack": {}}',
    b'{"mid_block.resnets.0.temporal_res_block.conv1.weight": {"shape": "x"}, "down_blocks.0.resnets.0.spatial_res_block.conv1.weight": 1}',
    b'{"__metadata__": 1, "temporal_": null}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("header", HOSTILE, ids=range(len(HOSTILE)))
def test_no_file_keeps_the_others_from_being_found(header: bytes, single: Path, settings: Settings) -> None:
    put(single, settings.models_dir / "svd_xt.safetensors")
    (settings.models_dir / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0")
    folder = settings.models_dir / "b"
    (folder / "unet").mkdir(parents=True)
    for name in ("model_index.json", "unet/config.json", "svd_ui.json"):
        (folder / name).write_bytes(header)
    assert only(settings).id == SVD_XT
    assert "a.safetensors" in refusals(settings)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_loops_and_names_of_no_letters_are_passed_over(single: Path, settings: Settings) -> None:
    file = put(single, settings.models_dir / "svd_xt.safetensors")
    os.mkfifo(settings.models_dir / "svd.safetensors")
    (settings.models_dir / "loop").symlink_to(settings.models_dir)
    (settings.models_dir / "round.safetensors").symlink_to("round.safetensors")
    (settings.models_dir / "gone.safetensors").symlink_to(settings.models_dir / "unplugged" / "svd.safetensors")
    os.link(file, os.fsencode(settings.models_dir) + b"/\xff\xfe.safetensors")
    assert only(settings).id == SVD_XT
    assert "gone.safetensors cannot be read" in refusals(settings)


def test_a_header_is_read_once_until_its_file_changes(single: Path, settings: Settings) -> None:
    file = put(single, settings.models_dir / "svd_xt.safetensors")
    survey(settings)
    data, when = file.read_bytes(), file.stat()
    replace(file, b"\0" * len(data))
    os.utime(file, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert only(settings).id == SVD_XT, "same date and size: not opened again"
    replace(file, b"\0" * 10)
    assert "svd_xt.safetensors" in refusals(settings)


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of the machine."""
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


def test_copies_and_tunes_of_others_in_the_hubs_cache_are_found(
    tiny: Path, single: Path, settings: Settings, hub: Hub, shared: Path
) -> None:
    gated = "stable-video-diffusion-img2vid-xt-1-1"
    put(tiny, layout.repo_folder(shared, f"somebody/{gated}") / "snapshots" / ("a" * 40))
    put(single, layout.repo_folder(shared, "other/dances") / "snapshots" / ("b" * 40) / "dance.safetensors")
    put(single, layout.repo_folder(shared, XT_REPO) / "snapshots" / ("c" * 40) / "svd_xt.safetensors")
    found = {row.id: row for row in survey(settings).rows.values() if row.id.startswith("local:")}
    assert set(found) == {f"local:{gated}", "local:dance"}
    assert hub.present(find_checkpoint(settings, "svd-xt-1-1")) == found[f"local:{gated}"].folder


def test_any_of_the_distilled_unets_in_the_cache_will_do(
    tiny: Path, single: Path, settings: Settings, hub: Hub
) -> None:
    put(single, settings.models_dir / "svd_xt.safetensors")
    row = find_checkpoint(settings, "animatelcm-svd-xt")
    assert row.repo and hub.present(row) is None
    unet_file(tiny, layout.repo_folder(hub.cache, row.repo) / "snapshots" / ("a" * 40), "AnimateLCM-SVD-xt.safetensors")
    assert hub.present(row) is not None


def test_a_download_that_was_cut_short_since_is_missing_and_fetched_again(
    tiny: Path, settings: Settings, tmp_path: Path
) -> None:
    row = find_checkpoint(settings, "svd-xt")
    files = {path.relative_to(tiny).as_posix(): path.read_bytes() for path in tiny.rglob("*") if path.is_file()}
    with FakeHub(files).serving() as server:
        hub = Hub(settings, cache=tmp_path / "cache", endpoint=server.url)
        list(hub.fetch(row, threading.Event()))
        folder = hub.present(row)
        assert folder is not None
        weights = folder / "unet" / WEIGHTS
        with weights.open("r+b") as file:
            file.truncate(weights.stat().st_size // 2)
        assert hub.present(row) is None
        list(hub.fetch(row, threading.Event()))
        assert hub.present(row) == folder and weights.read_bytes() == files[f"unet/{WEIGHTS}"]


@pytest.mark.parametrize("place", ["", "snapshots", "snapshots/" + "a" * 40])
def test_a_repository_of_a_cache_has_its_name_from_wherever_one_points_at_it(
    place: str, tiny: Path, settings: Settings, tmp_path: Path
) -> None:
    repo = layout.repo_folder(tmp_path / "elsewhere", XT_REPO)
    put(tiny, repo / "snapshots" / ("a" * 40))
    row = only(settings.model_copy(update={"checkpoint_dirs": str(repo / place)}))
    assert (row.id, row.title) == (f"local:{XT}", f"SVD-XT (25 frames), {XT}")


def test_a_file_of_no_name_is_called_by_its_folder(single: Path, settings: Settings) -> None:
    put(single, settings.models_dir / "svd_xt" / "model.safetensors")
    assert only(settings).title == "SVD-XT (25 frames), svd_xt" and only(settings).same_as == "svd-xt"
