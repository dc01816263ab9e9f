"""What is wrong with a folder is said by file: what it is, what it should be, how to get it. What is merely missing and
small is filled in."""

from __future__ import annotations

import json
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from svd_ui.catalog import CheckpointRow, folder_row
from svd_ui.core.loading import load_module, load_normalisation, load_scheduler
from svd_ui.core.runtime import Runtime
from svd_ui.engine.error_mapping import mapped
from svd_ui.errors import WeightsDamaged, WeightsMissing
from tests.tiny import SVD_SCHEDULER, save_tiny_svd

from .conftest import CPU_PLAN

UNET, VAE, CLIP = (
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "image_encoder/model.safetensors",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_svd(tmp_path_factory.mktemp("whole") / "tiny", channels=(64, 64), published=True)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "my svd")


@pytest.fixture(scope="module")
def row(whole: Path) -> CheckpointRow:
    """Of a local folder that is not known to come from anywhere."""
    return folder_row(whole).model_copy(update={"link": ""})


def write(text: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def prolonged(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"the rest of another try")


def with_a_hole(path: Path) -> None:
    """An offset that points past the tensor before, as a bit that flipped would leave it."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    name = next(name for name, entry in header.items() if name != "__metadata__" and entry["data_offsets"][0] == 0)
    header[name]["data_offsets"][0] = 4
    changed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + data[8 + length :])


def cut_in_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def pickled(path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, path.with_suffix(".bin"))
    path.unlink()


def renamed_pickle(path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, path)


def gone(path: Path) -> None:
    shutil.rmtree(path.parent)


def one_shard_of_two(path: Path) -> None:
    path.rename(path.with_name(f"{path.stem}-00002-of-00002.safetensors"))


def empty_directory(path: Path) -> None:
    path.unlink()


def quantised(path: Path) -> None:
    tensors = load_file(path)
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in tensors.items()}, path)


def lacking(path: Path) -> None:
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path)


def config(**values: Any) -> Callable[[Path], object]:
    """Change the config.json beside the weights."""

    def change(path: Path) -> None:
        file = path.with_name("config.json")
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 3049435836\n"
PAGE = "<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>"


@pytest.mark.parametrize("file", [UNET, VAE, CLIP])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (gone, "{part} is missing; it should hold the weights as .safetensors"),
        (empty_directory, "{part} holds no weights"),
        (pickled, "{part} holds {stem}.bin but no .safetensors; a pickle can run code"),
        (renamed_pickle, "{file} is a pickle under another name"),
        (write(""), "{file} is empty"),
        (write(POINTER), "{file} is a git-LFS pointer"),
        (write(PAGE), "{file} is a web page"),
        (write("GGUF\x03\0\0\0 and more"), "{file} is a GGUF file"),
        (write(b"\0" * 5000), "{file} is not a safetensors file"),
        (write("hello world, this is text"), "{file} is not a safetensors file"),
        (cut, "{file} is cut short"),
        (cut_in_header, "{file} is cut short: even its table of contents is incomplete"),
        (prolonged, "{file} is longer than it should be"),
        (with_a_hole, "{file} is not a safetensors file, or its beginning is damaged"),
        (one_shard_of_two, "{stem}-00001-of-00002.safetensors is missing"),
        (quantised, "{file} stores its weights as F8_E4M3"),
        (lacking, "{file} lacks 1 of its tensors"),
    ],
)
def test_weights_that_cannot_be_used_say_which_and_why(
    fault: Callable[[Path], object], says: str, file: str, folder: Path, row: CheckpointRow
) -> None:
    fault(folder / file)
    with pytest.raises(WeightsDamaged) as failure:
        Runtime(row, folder, CPU_PLAN)
    part, name = file.split("/")
    message = failure.value.message
    assert says.format(part=part, file=file, stem=name.removesuffix(".safetensors")) in message
    assert message.endswith(".")
    assert ". " in message, "what is wrong, and what to do"
    assert str(folder.parent) not in message, "a page shows it to whoever asks"
    assert mapped(failure.value) is failure.value


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (config(cross_attention_dim=48), r"does not fit its config.json: .*attn2.to_k.weight is .* was expected"),
        (config(block_out_channels=[64, 64, 64]), "unet/config.json cannot be used as it is"),
        (config(down_block_types=["Wonderful", "Blocks"]), "unet/config.json cannot be used as it is"),
        (config(num_attention_heads=math.nan), "unet/config.json holds NaN where a number should be"),
        (config(layers_per_block=1), r"tensors more than its config.json has"),
        (lambda path: path.with_name("config.json").write_text("{"), "unet/config.json is not the JSON it should be"),
        (lambda path: path.with_name("config.json").write_text("[1]"), "unet/config.json is not the JSON it should be"),
        (lambda path: path.with_name("config.json").write_bytes(b"\xff\xfe\0"), "is not the JSON it should be"),
        (lambda path: path.with_name("config.json").write_text(POINTER), "unet/config.json is a git-LFS pointer"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_named(
    fault: Callable[[Path], object], says: str, folder: Path, row: CheckpointRow
) -> None:
    fault(folder / UNET)
    with pytest.raises(WeightsDamaged, match=says) as failure:
        load_module(folder, "unet", torch.float32, row)
    if "delete" in failure.value.message:  # the remedy is no empty word
        (folder / "unet" / "config.json").unlink()
        load_module(folder, "unet", torch.float32, row)
    else:
        assert "git lfs pull" in failure.value.message


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("scheduler/scheduler_config.json", '{"sigma_max": NaN}', "scheduler_config.json holds NaN"),
        ("scheduler/scheduler_config.json", "half", "scheduler_config.json is not the JSON"),
        ("scheduler/scheduler_config.json", '{"beta_schedule": "odd"}', "scheduler_config.json cannot be used"),
        ("feature_extractor/preprocessor_config.json", "{}", "preprocessor_config.json cannot be used"),
        ("feature_extractor/preprocessor_config.json", '{"image_mean": [1], "image_std": [1]}', "cannot be used"),
        ("model_index.json", "[]", "model_index.json is not the JSON"),
    ],
)
def test_so_is_a_small_one(file: str, text: str, says: str, folder: Path, row: CheckpointRow) -> None:
    (folder / file).write_text(text)
    with pytest.raises(WeightsDamaged, match=says) as failure:
        Runtime(row, folder, CPU_PLAN)
    assert "delete it and it is filled in" in failure.value.message
    (folder / file).unlink()
    Runtime(row, folder, CPU_PLAN)


@pytest.mark.parametrize(
    "names",
    [
        ["feature_extractor"],
        ["scheduler"],
        ["model_index.json"],
        ["unet/config.json", "vae/config.json", "image_encoder/config.json"],
        ["feature_extractor", "scheduler", "model_index.json", "unet/config.json", "vae/config.json"],
    ],
)
def test_small_configurations_that_are_missing_are_the_familys(
    names: list[str], whole: Path, folder: Path, row: CheckpointRow
) -> None:
    for name in names:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    runtime, known = Runtime(row, folder, CPU_PLAN), Runtime(row, whole, CPU_PLAN)
    assert runtime.feature_extractor == known.feature_extractor
    assert {name: runtime.scheduler.config[name] for name in SVD_SCHEDULER} == SVD_SCHEDULER
    assert torch.equal(runtime.sigmas(4), known.sigmas(4))
    ours, theirs = ({k: v for k, v in dict(one.unet.config).items() if k[0] != "_"} for one in (runtime, known))
    assert ours == theirs | {"sample_size": ours["sample_size"]}
    same = zip(runtime.unet.parameters(), known.unet.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)


def test_a_component_that_the_index_does_not_name_is_the_familys(folder: Path, row: CheckpointRow) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    del index["image_encoder"]
    index["vae"] = [None, None]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert type(Runtime(row, folder, CPU_PLAN).image_encoder).__name__ == "CLIPVisionModelWithProjection"


@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.float16, 2.0), (torch.bfloat16, 2.0), (torch.float32, 1.0), (torch.float64, 1.0)]
)
def test_of_two_precisions_half_is_read_for_half_and_the_full_one_for_full(
    dtype: torch.dtype, expected: float, folder: Path, row: CheckpointRow
) -> None:
    for number, name in ((1.0, UNET), (2.0, UNET.replace(".safe", ".fp16.safe"))):
        tensors = load_file(folder / UNET)
        save_file({k: torch.full_like(v, number) for k, v in tensors.items()}, folder / name)
    assert float(load_module(folder, "unet", dtype, row).conv_in.weight.flatten()[0]) == expected


@pytest.mark.parametrize("fault", [write(POINTER), cut, write("")])
def test_a_damaged_precision_is_passed_over_where_the_other_is_whole(
    fault: Callable[[Path], object], folder: Path, row: CheckpointRow
) -> None:
    """A clone with 'git lfs pull --include "*fp16*"'."""
    shutil.copy(folder / UNET, folder / UNET.replace(".safe", ".fp16.safe"))
    fault(folder / UNET)
    load_module(folder, "unet", torch.float32, row)


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("index", [True, False])
def test_shards_are_read_with_and_without_their_index(
    variant: str | None, index: bool, whole: Path, folder: Path, row: CheckpointRow
) -> None:
    tensors = load_file(folder / UNET)
    (folder / UNET).unlink()
    mark = f".{variant}" if variant else ""
    for number in (1, 2):
        part = {name: tensor for at, (name, tensor) in enumerate(tensors.items()) if at % 2 == number - 1}
        save_file(part, folder / "unet" / f"diffusion_pytorch_model{mark}-0000{number}-of-00002.safetensors")
    if index:
        (folder / "unet" / f"diffusion_pytorch_model.safetensors.index{mark}.json").write_text('{"weight_map": {}}')
    loaded = load_module(folder, "unet", torch.float32, row).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_a_tensor_more_than_is_needed_does_no_harm(folder: Path, row: CheckpointRow) -> None:
    """Older transformers stored the numbers of the positions."""
    tensors = load_file(folder / CLIP) | {"vision_model.embeddings.position_ids": torch.arange(50)[None]}
    save_file(tensors, folder / CLIP)
    load_module(folder, "image_encoder", torch.float32, row)


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"link": "https://huggingface.co/x/y"}, "Get it again from https://huggingface.co/x/y."),
        ({"id": "svd-xt", "repo": "a/b", "folder": None}, "or with 'python -m svd_ui models download svd-xt'."),
    ],
)
def test_the_remedy_is_that_of_the_checkpoint(
    changes: dict[str, Any], remedy: str, folder: Path, row: CheckpointRow
) -> None:
    (folder / VAE).write_bytes(b"")
    with pytest.raises(WeightsMissing) as failure:
        load_module(folder, "vae", torch.float32, row.model_copy(update=changes))
    assert failure.value.message.endswith(remedy)


def test_a_header_as_long_as_a_pickles_mark_is_no_pickle(folder: Path, row: CheckpointRow) -> None:
    """The first byte is the length's lowest, 0x80 of 128 bytes; a pickle begins with that too."""
    data = (folder / UNET).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    padded = length + (0x80 - length) % 256
    (folder / UNET).write_bytes(struct.pack("<Q", padded) + data[8 : 8 + length].ljust(padded) + data[8 + length :])
    load_module(folder, "unet", torch.float32, row)


def test_files_that_a_mac_or_a_browser_left_beside_it_are_passed_over(folder: Path, row: CheckpointRow) -> None:
    (folder / "unet" / "._diffusion_pytorch_model.safetensors").write_bytes(b"\0\5\x16\7Mac OS X")
    (folder / "unet" / "diffusion_pytorch_model (1).safetensors").write_bytes(b"")
    (folder / "unet" / "diffusion_pytorch_model.safetensors.crdownload").write_bytes(b"")
    load_module(folder, "unet", torch.float32, row)


def test_a_configuration_that_windows_wrote_is_read(folder: Path, row: CheckpointRow) -> None:
    file = folder / "unet" / "config.json"
    file.write_text(file.read_text("utf-8"), "utf-8-sig")
    load_module(folder, "unet", torch.float32, row)


def test_the_configuration_of_a_whole_clip_will_do_for_its_picture_half(folder: Path, row: CheckpointRow) -> None:
    file = folder / "image_encoder" / "config.json"
    file.write_text(json.dumps({"model_type": "clip", "vision_config": json.loads(file.read_text())}))
    load_module(folder, "image_encoder", torch.float32, row)


def test_what_a_folder_says_of_pictures_and_noise_is_kept(folder: Path, row: CheckpointRow) -> None:
    (folder / "feature_extractor" / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1]}'
    )
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SVD_SCHEDULER | {"sigma_max": 80.0}))
    assert load_normalisation(folder, row).mean == (0.5, 0.5, 0.5)
    assert load_scheduler(folder, row).config.sigma_max == 80.0
