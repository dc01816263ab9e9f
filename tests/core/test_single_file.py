"""A pipeline in one file of Stability's layout makes the clip that its diffusers folder makes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from svd_ui.catalog import CheckpointRow, folder_row
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.devices import Plan
from svd_ui.core.loading import load_module
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.errors import WeightsDamaged
from svd_ui.events import never
from svd_ui.stability_keys import COMPONENTS
from tests.stability import save_single_file
from tests.tiny import save_tiny_svd

from .conftest import CPU_PLAN, picture, prepared, request

CHANNELS = (64, 128, 128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads and layers as published, so that nothing but shapes has to tell what the model is."""
    return save_tiny_svd(tmp_path_factory.mktemp("folder") / "tiny", channels=CHANNELS, published=True)


@pytest.fixture(scope="module")
def single(folder: Path) -> Path:
    return save_single_file(folder, folder.parent / "svd.safetensors")


@pytest.fixture(scope="module")
def row(folder: Path) -> CheckpointRow:
    return folder_row(folder)


def clip(row: CheckpointRow, source: Path, plan: Plan = CPU_PLAN) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and frames of a short clip."""
    runtime = Runtime(row, source, plan)
    context = prepared(runtime, request(num_inference_steps=2))
    *_, last = sample(context)
    frames = list(decode(decoder_of(runtime, picture(64, 64)), last.latents, 4, never()))
    return last.latents, torch.cat([torch.as_tensor(piece) for piece in frames])


def test_the_clip_is_the_folders_to_the_bit(row: CheckpointRow, folder: Path, tmp_path: Path) -> None:
    """As people have it: stored in half precision."""
    half = save_tiny_svd(tmp_path / "half", channels=CHANNELS, published=True, dtype=torch.float16, variant="fp16")
    file = save_single_file(half, tmp_path / "svd_xt.safetensors", dtype=torch.float16, variant="fp16")
    of_folder, of_file = clip(row, half), clip(row, file)
    assert torch.equal(of_file[0], of_folder[0])
    assert torch.equal(of_file[1], of_folder[1])


def test_a_mapped_clip_is_the_folders_but_for_where_its_weights_begin(
    row: CheckpointRow, folder: Path, single: Path
) -> None:
    """Sums of a matrix product are formed in an order that depends on the alignment; the weights are the same."""
    of_folder, of_file = clip(row, folder), clip(row, single)
    assert torch.allclose(of_file[0], of_folder[0], atol=1e-5)
    assert int((of_file[1].int() - of_folder[1].int()).abs().max()) <= 1


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_weight_is_the_one_that_diffusers_and_transformers_load(
    component: str, row: CheckpointRow, folder: Path, single: Path
) -> None:
    from tests.stability import modules_of

    known = modules_of(folder)[COMPONENTS.index(component)].state_dict()
    for source in (single, folder):
        loaded = load_module(source, component, torch.float32, row).state_dict()
        assert loaded.keys() == known.keys()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in known.items())


def test_a_file_without_the_conditioners_encoder_makes_the_same_clip(
    row: CheckpointRow, folder: Path, tmp_path: Path
) -> None:
    """Its encoder has the last convolution multiplied in: another order of the same sums."""
    pruned = save_single_file(folder, tmp_path / "pruned.safetensors", pruned=True)
    assert torch.allclose(clip(row, pruned)[0], clip(row, folder)[0], atol=1e-3)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
def test_any_precision_is_read_as_any_other(
    stored: torch.dtype, wanted: torch.dtype, row: CheckpointRow, single: Path, tmp_path: Path
) -> None:
    tensors = {name: tensor.to(stored) for name, tensor in load_file(single).items() if ".open_clip." in name}
    save_file(tensors, tmp_path / "clip.safetensors")
    exact = load_module(single, "image_encoder", torch.float32, row).state_dict()
    loaded = load_module(tmp_path / "clip.safetensors", "image_encoder", wanted, row).state_dict()
    assert {tensor.dtype for tensor in loaded.values()} == {wanted}
    assert all(torch.equal(tensor, exact[name].to(stored).to(wanted)) for name, tensor in loaded.items())


def test_a_tensor_that_begins_between_two_numbers_is_read(row: CheckpointRow, single: Path, tmp_path: Path) -> None:
    """Nothing says that a header's length is a multiple of four; a map cannot begin just anywhere."""
    data = single.read_bytes()
    length = int.from_bytes(data[:8], "little")
    odd = tmp_path / "odd.safetensors"
    odd.write_bytes((length + 1).to_bytes(8, "little") + data[8 : 8 + length] + b" " + data[8 + length :])
    loaded, known = (load_module(one, "vae", torch.float32, row).state_dict() for one in (odd, single))
    assert all(torch.equal(loaded[name], known[name]) for name in known)


def test_a_mapped_file_is_never_written_to(row: CheckpointRow, single: Path) -> None:
    """A LoRA adds to the weights in place."""
    before = single.read_bytes()
    unet = load_module(single, "unet", torch.float32, row)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(1)
    assert single.read_bytes() == before
    again = load_module(single, "unet", torch.float32, row)
    assert not torch.equal(again.conv_in.weight, unet.conv_in.weight)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux where the file is mapped")
def test_weights_in_the_wanted_format_take_no_memory_of_their_own(row: CheckpointRow, single: Path) -> None:
    """But for the one that lies across in the file, and the one that may be in none."""
    for component, own in (("unet", []), ("vae", []), ("image_encoder", ["visual_projection.weight"])):
        module = load_module(single, component, torch.float32, row)
        maps = [
            line.split()[0].split("-")
            for line in Path("/proc/self/maps").read_text().splitlines()
            if str(single) in line
        ]
        ranges = [range(int(begin, 16), int(end, 16)) for begin, end in maps]
        copied = [n for n, p in module.named_parameters() if not any(p.data_ptr() in one for one in ranges)]
        assert copied == own


@pytest.mark.parametrize(
    ("part", "says"), [("first_stage_model.", "lacks the autoencoder"), ("model.diffusion", "lacks the U-Net")]
)
def test_a_file_without_a_part_says_which(
    part: str, says: str, row: CheckpointRow, single: Path, tmp_path: Path
) -> None:
    tensors = {name: tensor for name, tensor in load_file(single).items() if not name.startswith(part)}
    save_file(tensors, tmp_path / "svd_xt.safetensors")
    with pytest.raises(WeightsDamaged, match=f"svd_xt.safetensors {says}"):
        Runtime(row, tmp_path / "svd_xt.safetensors", CPU_PLAN)


def test_a_unet_in_stabilitys_layout_may_lie_in_a_diffusers_folder(
    row: CheckpointRow, folder: Path, single: Path, tmp_path: Path
) -> None:
    """As people put ComfyUI's files together, and as a U-Net alone is joined with a base."""
    made = shutil.copytree(folder, tmp_path / "made")
    shutil.rmtree(made / "unet")
    (made / "unet").mkdir()
    (made / "unet" / "diffusion_pytorch_model.safetensors").symlink_to(single)
    assert torch.allclose(clip(row, made)[0], clip(row, folder)[0], atol=1e-5)
