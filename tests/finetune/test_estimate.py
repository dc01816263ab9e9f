"""What a run costs: counted from the weights' shapes, held against the real modules and what they really keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.models import shapes_of, write_holes
from svd_ui.catalog import NANO, STABILITY_ROWS, CheckpointRow, nano_row
from svd_ui.catalog.architectures import ARCHITECTURES
from svd_ui.core.finetune.weights import count, prepare
from svd_ui.finetune import TrainRequest
from svd_ui.finetune.estimate import KEPT, Cost, Machine, UNetLayers, activations, estimate, layers_of, pass_factor

XT = next(row for row in STABILITY_ROWS if row.id == "svd-xt")
CPU = Machine(kind="cpu", total_bytes=8 * 2**30, flops_per_second=1e10)
CONFIGS: dict[str, dict[str, Any]] = {
    "svd": {},
    "nano": json.loads((NANO / "unet" / "config.json").read_text("utf-8")),
}


def asked(**values: object) -> TrainRequest:
    return TrainRequest.model_validate({"name": "a", "data": Path("clips"), "checkpoint": "nano", **values})


def on_meta(config: dict[str, Any]) -> torch.nn.Module:
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel

    with torch.device("meta"):
        return UNetSpatioTemporalConditionModel.from_config(config)


def checkpoint_of(folder: Path, config: dict[str, Any]) -> Path:
    """A folder with a U-Net's configuration and a file whose weights are holes."""
    write_holes(folder / "unet" / "diffusion_pytorch_model.safetensors", shapes_of(on_meta(config)))
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    "values",
    [
        {"method": "lora", "targets": "temporal", "rank": 4},
        {"method": "lora", "targets": "both", "rank": 3},
        {"method": "lora", "targets": "spatial", "rank": 2, "layers": "transformer"},
        {"method": "lora", "targets": "temporal", "rank": 2, "layers": "all"},
        {"method": "lora", "targets": "both", "rank": 2, "layers": "all"},
        {"method": "temporal"},
        {"method": "full"},
    ],
    ids=lambda values: "-".join(map(str, values.values())),
)
def test_trained_numbers_are_those_of_the_modules(name: str, values: dict[str, Any]) -> None:
    unet, request = on_meta(CONFIGS[name]), asked(**values)
    layers = UNetLayers(shapes_of(unet))
    assert layers.total == sum(p.numel() for p in unet.parameters())
    with torch.device("meta"):
        trained = count(list(prepare(unet, request).values()))
    assert layers.trained(request) == trained


@pytest.mark.parametrize("method", ["lora", "temporal", "full"])
def test_what_blocks_keep_is_what_was_counted(method: str) -> None:
    from diffusers.models.resnet import SpatioTemporalResBlock
    from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel

    c, frames, side = 64, 4, 8
    x = torch.randn(frames, c, side, side, requires_grad=True)
    images = torch.zeros(1, frames)
    resnet = SpatioTemporalResBlock(c, c, 256)
    transformer = TransformerSpatioTemporalModel(2, 32, c, num_layers=1, cross_attention_dim=64)
    calls = {"resnet": (resnet, torch.randn(frames, 256)), "transformer": (transformer, torch.randn(frames, 1, 64))}
    for kind, (module, other) in calls.items():
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(method == "full" or (method == "temporal" and "temporal" in name))
        kept = kept_bytes(lambda m=module, o=other: m(x, o, images), module) / (4 * x.numel())
        assert kept == pytest.approx(KEPT[kind][method], rel=0.08), kind


def kept_bytes(call: Any, module: torch.nn.Module) -> int:
    """Bytes of activations that autograd holds after ``call``."""
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    held: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call()
    return sum(tensor.untyped_storage().nbytes() for at, tensor in held.items() if at not in own)


def test_a_whole_pass_of_nano_keeps_what_is_estimated() -> None:
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel

    unet = UNetSpatioTemporalConditionModel.from_config(CONFIGS["nano"])
    request = asked(method="full", width=128, height=128, num_frames=4, gradient_checkpointing=False)
    noisy = torch.randn(1, 4, CONFIGS["nano"]["in_channels"], 8, 8)
    still = torch.randn(1, 1, CONFIGS["nano"]["cross_attention_dim"])
    measured = kept_bytes(lambda: unet(noisy, torch.ones(1), still, torch.zeros(1, 3)), unet)
    layers, known = UNetLayers(shapes_of(unet)), ARCHITECTURES["nano"]
    assert activations(request, nano_row(), known, layers, 4) == pytest.approx(measured, rel=0.25)


def test_checkpointing_takes_time_and_saves_memory() -> None:
    row = nano_row()
    kept, again = (estimate(asked(gradient_checkpointing=on).resolved(row), row, NANO, CPU) for on in (False, True))
    assert kept.peak_bytes is not None
    assert again.peak_bytes is not None
    assert kept.peak_bytes > again.peak_bytes
    assert (again.seconds or 0) / (kept.seconds or 1) == pytest.approx(1.5)
    assert pass_factor(asked(method="full", gradient_checkpointing=False), 1.0) == 3


def test_training_all_of_svd_does_not_fit_a_small_machine(tmp_path: Path) -> None:
    request, folder = asked(checkpoint="svd-xt", method="full").resolved(XT), checkpoint_of(tmp_path, CONFIGS["svd"])
    cost = estimate(request, XT, folder, CPU)
    assert cost.parameters == UNetLayers(shapes_of(on_meta(CONFIGS["svd"]))).trained(request)
    assert cost.fits is False
    assert (cost.peak_bytes or 0) > 16 * 1_524_623_082 * 0.9  # weights, gradients and two averages in float32


def test_what_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    row = CheckpointRow(id="x", title="X", num_frames=4, width=64, height=64, folder=tmp_path)
    assert estimate(asked().resolved(row), row, None, CPU) == Cost()
    assert estimate(asked().resolved(row), row, tmp_path, CPU) == Cost()
    checkpoint_of(tmp_path, {**CONFIGS["nano"], "block_out_channels": [32, 64, 64]})
    cost = estimate(asked().resolved(row), row, tmp_path, CPU)
    assert cost.parameters
    assert (cost.seconds, cost.peak_bytes, cost.fits) == (None, None, None)
    assert estimate(asked().resolved(nano_row()), nano_row(), NANO, Machine()).seconds is None


def test_a_file_that_is_no_checkpoint_costs_nothing_known(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"no")
    assert estimate(asked().resolved(nano_row()), nano_row(), tmp_path, CPU) == Cost()


def test_the_blocks_of_nano_are_found_in_its_files() -> None:
    layers = layers_of(NANO)
    assert layers is not None
    assert layers.total == ARCHITECTURES["nano"].parameters["unet"]
    resnets = [block for block in layers.blocks if block.kind == "resnet"]
    attending = [block for block in layers.blocks if block.kind == "transformer"]
    assert {(block.level, block.channels) for block in resnets} == {(0, 64), (1, 96), (2, 128)}
    assert all(block.inputs == block.channels and block.depth == 1 for block in attending)
