"""LoRAs merged for one clip: the right sum while in force, the very same bits afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from svd_ui.core.lora import Lora, fuse_loras
from svd_ui.errors import BadInput
from svd_ui.loras import LoraFile


class Model(nn.Module):
    """Names as in a U-Net: a linear layer, an output in a list, and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.Module()
        self.attn.to_q = nn.Linear(6, 8, bias=False)
        self.attn.to_out = nn.ModuleList([nn.Linear(8, 6)])
        self.conv = nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn.to_out[0](self.attn.to_q(x))


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model()


def lora(tmp_path: Path, tensors: dict[str, Tensor], weight: float = 1.0, name: str = "a") -> Lora:
    path = tmp_path / f"{name}.safetensors"
    save_file(tensors, path)
    return Lora(LoraFile(name=name, path=path, bytes=1), weight)


def pair(target: str, out: int, into: int, rank: int = 2, seed: int = 1) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        f"{target}.lora_A.weight": torch.randn(rank, into, generator=draw),
        f"{target}.lora_B.weight": torch.randn(out, rank, generator=draw),
    }


def test_weights_are_the_sum_within_and_the_same_bits_after(model: Model, tmp_path: Path) -> None:
    tensors = pair("attn.to_q", 8, 6) | pair("attn.to_out.0", 6, 8, seed=2)
    expected = model.attn.to_q.weight + 0.5 * tensors["attn.to_q.lora_B.weight"] @ tensors["attn.to_q.lora_A.weight"]
    x = torch.randn(3, 6)
    before, bits = model(x), {name: value.clone() for name, value in model.state_dict().items()}
    places = {name: value.data_ptr() for name, value in model.state_dict().items()}
    with fuse_loras(model, [lora(tmp_path, tensors, 0.5)], "model"):
        torch.testing.assert_close(model.attn.to_q.weight, expected)
        assert not torch.equal(model(x), before)
        assert {name: value.data_ptr() for name, value in model.state_dict().items()} == places
    assert all(torch.equal(value, bits[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(x), before)


def test_several_add_up(model: Model, tmp_path: Path) -> None:
    one = lora(tmp_path, pair("attn.to_q", 8, 6), 1.0, "one")
    two = lora(tmp_path, pair("attn.to_q", 8, 6, rank=3, seed=5), -0.25, "two")
    base = model.attn.to_q.weight.clone()
    with fuse_loras(model, [one], "model"):
        first = model.attn.to_q.weight - base
    with fuse_loras(model, [two], "model"):
        second = model.attn.to_q.weight - base
    with fuse_loras(model, [one, two], "model"):
        torch.testing.assert_close(model.attn.to_q.weight, base + first + second, atol=1e-5, rtol=1e-5)


def test_alpha_scales_by_the_rank_and_kohya_names_find_their_layer(model: Model, tmp_path: Path) -> None:
    plain = pair("attn.to_out", 6, 8, rank=4)
    kohya = {
        "lora_unet_attn_to_out_0.lora_down.weight": plain["attn.to_out.lora_A.weight"],
        "lora_unet_attn_to_out_0.lora_up.weight": plain["attn.to_out.lora_B.weight"],
        "lora_unet_attn_to_out_0.alpha": torch.tensor(2.0),
    }
    base = model.attn.to_out[0].weight.clone()
    with fuse_loras(model, [lora(tmp_path, plain)], "model"):
        whole = model.attn.to_out[0].weight - base
    with fuse_loras(model, [lora(tmp_path, kohya, name="kohya")], "model"):
        torch.testing.assert_close(model.attn.to_out[0].weight - base, whole / 2, atol=1e-6, rtol=1e-5)


def test_convolutions_take_loras_too(model: Model, tmp_path: Path) -> None:
    down, up = torch.randn(2, 3, 3, 3), torch.randn(5, 2, 1, 1)
    base = model.conv.weight.clone()
    file = lora(tmp_path, {"conv.lora_down.weight": down, "conv.lora_up.weight": up})
    with fuse_loras(model, [file], "model"):
        expected = base + torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
        torch.testing.assert_close(model.conv.weight, expected, atol=1e-5, rtol=1e-5)


def test_half_precision_comes_back_to_the_bit(model: Model, tmp_path: Path) -> None:
    model.half()
    before = model.attn.to_q.weight.clone()
    with fuse_loras(model, [lora(tmp_path, pair("attn.to_q", 8, 6))], "model"):
        assert model.attn.to_q.weight.dtype == torch.float16
        assert not torch.equal(model.attn.to_q.weight, before)
    assert torch.equal(model.attn.to_q.weight, before)


def test_an_error_inside_restores_too(model: Model, tmp_path: Path) -> None:
    before = model.attn.to_q.weight.clone()
    with (
        pytest.raises(RuntimeError, match="stop"),
        fuse_loras(model, [lora(tmp_path, pair("attn.to_q", 8, 6))], "model"),
    ):
        raise RuntimeError("stop")
    assert torch.equal(model.attn.to_q.weight, before)


@pytest.mark.parametrize("bad", [pair("attn.to_x", 8, 6), pair("attn.to_q", 8, 7), pair("attn.to_q", 9, 6)])
def test_a_lora_for_another_model_is_refused_before_anything_changes(
    model: Model, tmp_path: Path, bad: dict[str, Tensor]
) -> None:
    before = model.attn.to_q.weight.clone()
    fitting = lora(tmp_path, pair("attn.to_q", 8, 6), name="fits")
    with (
        pytest.raises(BadInput, match="another model") as caught,
        fuse_loras(model, [fitting, lora(tmp_path, bad, name="bad")], "nano"),
    ):
        pass
    assert caught.value.field == "loras"
    assert torch.equal(model.attn.to_q.weight, before)
