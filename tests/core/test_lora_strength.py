"""A LoRA acts as strongly as it was trained to: every layout, rank and alpha against peft's own, on a real U-Net made tiny.

peft computes the reference from the same numbers, whether or not it reads the layout.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file
from torch import Tensor, nn

from svd_ui.core.lora import Lora, fuse_loras
from svd_ui.errors import BadInput
from svd_ui.loras import LoraFile, contents
from tests.tiny import save_tiny_svd

NAMES = {
    "down_blocks.0.attentions.0.proj_in": "input_blocks.1.1.proj_in",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": "input_blocks.1.1.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0": (
        "input_blocks.1.1.transformer_blocks.0.attn2.to_out.0"
    ),
    "down_blocks.0.resnets.0.spatial_res_block.conv1": "input_blocks.1.0.in_layers.2",
    "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj": "middle_block.1.transformer_blocks.0.ff.net.0.proj",
    "mid_block.resnets.1.temporal_res_block.conv1": "middle_block.2.time_stack.in_layers.2",
    "up_blocks.1.attentions.0.temporal_transformer_blocks.0.attn1.to_v": "output_blocks.2.1.time_stack.0.attn1.to_v",
    "time_embedding.linear_1": "time_embed.0",
}
"""Layers of every kind, and what Stability calls them."""
ATTENTION = [name for name in NAMES if ".attn" in name]
Pairs = dict[str, tuple[Tensor, Tensor]]
Writer = Callable[[Path, Pairs, float, bool], Path]


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel

    folder = save_tiny_svd(tmp_path_factory.mktemp("models") / "tiny")
    return UNetSpatioTemporalConditionModel.from_pretrained(folder / "unet").eval()


@torch.no_grad()
def answer(unet: nn.Module) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    x, embeds = torch.randn(1, 4, 8, 8, 8, generator=draw), torch.randn(1, 1, 32, generator=draw)
    return unet(x, torch.tensor(0.3), embeds, torch.tensor([[6.0, 127.0, 0.02]]), return_dict=False)[0]


Effect = tuple[dict[str, Tensor], Tensor]


def effect(unet: nn.Module, path: Path, weight: float = 1.0) -> Effect:
    """What the file changes: each weight and bias, and the U-Net's answer."""
    before = {name: value.clone() for name, value in unet.named_parameters()}
    lora = Lora(LoraFile(name=path.stem, path=path, bytes=1), weight)
    with fuse_loras(unet, [lora], "tiny"):
        moved = {name: value - before[name] for name, value in unet.named_parameters()}
        return {name: value for name, value in moved.items() if value.any()}, answer(unet)


class Reference:
    """peft's adapter of random numbers in a copy of the U-Net."""

    def __init__(self, unet: nn.Module, **config: Any) -> None:
        self.config = LoraConfig(
            **{"target_modules": list(NAMES), "lora_dropout": 0.0, "init_lora_weights": False, **config}
        )
        self.model = copy.deepcopy(unet)
        self.before = {name: value.clone() for name, value in unet.named_parameters()}
        inject_adapter_in_model(self.config, self.model)
        draw = torch.Generator().manual_seed(1)
        for name, value in self.model.named_parameters():
            if "lora_" in name:
                start = value.data if "magnitude" in name else 0
                value.data = start + 0.1 * torch.randn(value.shape, generator=draw)
        self.state = {name: value.clone() for name, value in get_peft_model_state_dict(self.model).items()}

    @property
    def pairs(self) -> Pairs:
        return {
            name.removesuffix(".lora_A.weight"): (value, self.state[name.replace("lora_A", "lora_B")])
            for name, value in self.state.items()
            if name.endswith(".lora_A.weight")
        }

    def effect(self) -> Effect:
        seen = answer(self.model)
        for module in list(self.model.modules()):
            if hasattr(module, "merge") and hasattr(module, "lora_A"):
                module.merge()
        merged = {name.replace(".base_layer", ""): value for name, value in self.model.named_parameters()}
        moved = {name: merged[name] - value for name, value in self.before.items()}
        return {name: value for name, value in moved.items() if value.abs().max() > 1e-7}, seen


def same(ours: Effect, theirs: Effect) -> None:
    assert ours[0].keys() == theirs[0].keys()
    for name, change in theirs[0].items():
        torch.testing.assert_close(ours[0][name], change, atol=1e-5, rtol=0, msg=name)
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-5, rtol=1e-5)


# The layouts


def peft_folder(folder: Path, pairs: Pairs, alpha: float, rslora: bool) -> Path:
    rank = next(iter(pairs.values()))[0].shape[0]
    config(pairs, rank, alpha, rslora).save_pretrained(folder)
    return saved(folder / "adapter_model.safetensors", pairs, "base_model.model.{}.lora_A.weight", "{}.lora_B.weight")


def diffusers_file(folder: Path, pairs: Pairs, alpha: float, rslora: bool) -> Path:
    rank = next(iter(pairs.values()))[0].shape[0]
    about = {f"unet.{key}": value for key, value in plain(config(pairs, rank, alpha, rslora)).items()}
    told = {"format": "pt", "lora_adapter_metadata": json.dumps(about)}
    return saved(folder / "x.safetensors", pairs, "unet.{}.lora_A.weight", "{}.lora_B.weight", metadata=told)


def diffusers_module(folder: Path, pairs: Pairs, alpha: float, rslora: bool) -> Path:
    rank = next(iter(pairs.values()))[0].shape[0]
    told = {"lora_adapter_metadata": json.dumps(plain(config(pairs, rank, alpha, rslora)))}
    return saved(folder / "x.safetensors", pairs, "{}.lora_A.weight", "{}.lora_B.weight", metadata=told)


def older_diffusers(folder: Path, pairs: Pairs, alpha: float, rslora: bool) -> Path:
    alphas = tensors_of_alpha("unet.{}.alpha", pairs, alpha, rslora)
    return saved(folder / "x.safetensors", pairs, "unet.{}.lora.down.weight", "{}.lora.up.weight", alphas)


def processors(folder: Path, pairs: Pairs, alpha: float, rslora: bool) -> Path:
    tensors = {}
    for name, (down, up) in pairs.items():
        block, _, layer = name.removesuffix(".0").rpartition(".")
        parts = {"down.weight": down, "up.weight": up, "alpha": scaled(alpha, rslora, down)}
        tensors |= {f"unet.{block}.processor.{layer}_lora.{part}": value for part, value in parts.items()}
    save_file(tensors, folder / "x.safetensors")
    return folder / "x.safetensors"


def kohya(folder: Path, pairs: Pairs, alpha: float, rslora: bool) -> Path:
    under = {name.replace(".", "_"): pair for name, pair in pairs.items()}
    alphas = tensors_of_alpha("lora_unet_{}.alpha", under, alpha, rslora)
    return saved(folder / "x.safetensors", under, "lora_unet_{}.lora_down.weight", "{}.lora_up.weight", alphas)


def kohya_metadata(folder: Path, pairs: Pairs, alpha: float, rslora: bool) -> Path:
    under = {name.replace(".", "_"): pair for name, pair in pairs.items()}
    down = next(iter(pairs.values()))[0]
    told = {"ss_network_alpha": str(scaled(alpha, rslora, down).item()), "ss_network_dim": str(down.shape[0])}
    names = ("lora_unet_{}.lora_down.weight", "{}.lora_up.weight")
    return saved(folder / "x.safetensors", under, *names, metadata=told)


def comfy(folder: Path, pairs: Pairs, alpha: float, rslora: bool) -> Path:
    theirs = {NAMES[name]: pair for name, pair in pairs.items()}
    alphas = tensors_of_alpha("diffusion_model.{}.alpha", theirs, alpha, rslora)
    return saved(folder / "x.safetensors", theirs, "diffusion_model.{}.lora_down.weight", "{}.lora_up.weight", alphas)


def stability(folder: Path, pairs: Pairs, alpha: float, rslora: bool) -> Path:
    return kohya(folder, {NAMES[name]: pair for name, pair in pairs.items()}, alpha, rslora)


LAYOUTS: tuple[Writer, ...] = (
    peft_folder,
    diffusers_file,
    diffusers_module,
    older_diffusers,
    processors,
    kohya,
    kohya_metadata,
    comfy,
    stability,
)


def config(pairs: Pairs, rank: int, alpha: float, rslora: bool) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(pairs), use_rslora=rslora)  # type: ignore[arg-type]


def plain(config: LoraConfig) -> dict[str, Any]:
    return {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}


def scaled(alpha: float, rslora: bool, down: Tensor) -> Tensor:
    """Alpha as programs that know no rsLoRA need it (LyCORIS writes it so)."""
    return torch.tensor(alpha * math.sqrt(down.shape[0]) if rslora else alpha)


def tensors_of_alpha(name: str, pairs: Pairs, alpha: float, rslora: bool) -> dict[str, Tensor]:
    return {name.format(layer): scaled(alpha, rslora, down) for layer, (down, _) in pairs.items()}


def saved(
    path: Path,
    pairs: Pairs,
    down: str,
    up: str,
    more: dict[str, Tensor] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """``up`` has the same prefix as ``down``."""
    up = down.partition("{}")[0] + up
    halves = {pattern.format(name): pair[at] for name, pair in pairs.items() for at, pattern in enumerate((down, up))}
    save_file({name: value.contiguous() for name, value in (halves | (more or {})).items()}, path, metadata=metadata)
    return path


@cache
def reference(unet: nn.Module, rank: int, alpha: float, rslora: bool, targets: tuple[str, ...]) -> tuple[Pairs, Effect]:
    made = Reference(unet, r=rank, lora_alpha=alpha, use_rslora=rslora, target_modules=list(targets))
    return made.pairs, made.effect()


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize(("rank", "alpha"), [(1, 1), (4, 4), (8, 4), (4, 16), (2, 1.5)])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_acts_as_pefts_own(
    unet: nn.Module, tmp_path: Path, layout: Writer, rank: int, alpha: float, rslora: bool
) -> None:
    pairs, theirs = reference(unet, rank, alpha, rslora, tuple(ATTENTION if layout is processors else NAMES))
    path = layout(tmp_path, pairs, alpha, rslora)
    same(effect(unet, path), theirs)
    found = contents(path, "x")
    assert not found.notes
    assert found.alpha == pytest.approx(alpha * math.sqrt(rank) if rslora else alpha, abs=1e-3)


def test_patterns_of_rank_and_alpha(unet: nn.Module, tmp_path: Path) -> None:
    patterns: dict[str, Any] = {
        "rank_pattern": {"to_q": 2, r"mid_block.*\.proj": 6, "^time_embedding.linear_1": 1},
        "alpha_pattern": {
            "to_q": 8,
            "down_blocks.0.resnets.0.spatial_res_block.conv1": 3,
            "^time_embedding.linear_1": 5,
        },
    }
    made = Reference(unet, r=4, lora_alpha=2, use_rslora=True, **patterns)
    made.config.save_pretrained(tmp_path)
    names = ("base_model.model.{}.lora_A.weight", "{}.lora_B.weight")
    path = saved(tmp_path / "adapter_model.safetensors", made.pairs, *names)
    same(effect(unet, path), made.effect())


@pytest.mark.parametrize("kind", ["use_dora", "lora_bias"])
def test_dora_and_biases(unet: nn.Module, tmp_path: Path, kind: str) -> None:
    targets = [name for name in NAMES if not name.endswith("to_q") and not name.endswith("to_v")]  # these have no bias
    made = Reference(unet, r=4, lora_alpha=6, target_modules=targets, **{kind: True})
    made.config.save_pretrained(tmp_path)
    state = {f"base_model.model.{name}": value.contiguous() for name, value in made.state.items()}
    assert any(mark in name for name in state for mark in ("magnitude", "B.bias"))
    save_file(state, tmp_path / "adapter_model.safetensors")
    same(effect(unet, tmp_path / "adapter_model.safetensors"), made.effect())


def test_dora_in_kohyas_words(unet: nn.Module, tmp_path: Path) -> None:
    made = Reference(unet, r=4, lora_alpha=6, use_dora=True)
    path = kohya(tmp_path, made.pairs, 6, False)
    from safetensors.torch import load_file

    lengths = {
        f"lora_unet_{name.partition('.lora_')[0].replace('.', '_')}.dora_scale": value.reshape(-1, 1)
        for name, value in made.state.items()
        if "magnitude" in name
    }
    save_file(load_file(path) | lengths, path)
    same(effect(unet, path), made.effect())


def test_dora_by_columns(unet: nn.Module, tmp_path: Path) -> None:
    """LyCORIS' older way: the lengths are of the columns, ``[1 in]``."""
    name = "down_blocks.0.attentions.0.proj_in"
    draw = torch.Generator().manual_seed(2)
    down, up, lengths = (torch.rand(shape, generator=draw) for shape in ((2, 32), (32, 2), (1, 32)))
    key = name.replace(".", "_")
    parts = {"lora_down.weight": down, "lora_up.weight": up, "dora_scale": lengths, "alpha": torch.tensor(1.0)}
    save_file({f"lora_unet_{key}.{part}": value for part, value in parts.items()}, tmp_path / "x.safetensors")
    with fuse_loras(unet, [Lora(LoraFile(name="x", path=tmp_path / "x.safetensors", bytes=1))], "tiny"):
        now = unet.get_submodule(name).weight.detach()
        torch.testing.assert_close(now.norm(dim=0, keepdim=True), lengths, atol=1e-5, rtol=1e-5)


def test_whole_differences_as_comfyui_extracts_them(unet: nn.Module, tmp_path: Path) -> None:
    norm, conv = "input_blocks.1.0.in_layers.0", "input_blocks.0.0"
    tensors = {
        f"diffusion_model.{norm}.diff": torch.full((32,), 0.5),
        f"diffusion_model.{norm}.diff_b": torch.full((32,), -0.25),
        f"diffusion_model.{conv}.diff": torch.full((32, 8, 3, 3), 0.125),
    }
    save_file(tensors, tmp_path / "x.safetensors")
    changed, _ = effect(unet, tmp_path / "x.safetensors", 2.0)
    values = {name: round(float(change.detach().mean()), 3) for name, change in changed.items()}
    norm = "down_blocks.0.resnets.0.spatial_res_block.norm1"
    assert values == {f"{norm}.weight": 1.0, f"{norm}.bias": -0.5, "conv_in.weight": 0.25}


def test_what_no_file_says_is_assumed_and_said(unet: nn.Module, tmp_path: Path) -> None:
    pairs, theirs = reference(unet, 4, 4, False, tuple(NAMES))
    names = ("{}.lora_A.weight", "{}.lora_B.weight")
    path = saved(tmp_path / "x.safetensors", pairs, *names)
    same(effect(unet, path), theirs)
    assert [note.code for note in contents(path, "x").notes] == ["lora_alpha_assumed"]
    first = next(iter(pairs))
    some = saved(tmp_path / "x.safetensors", pairs, *names, {f"{first}.alpha": torch.tensor(2.0)})
    (note,) = contents(some, "x").notes
    assert f"{len(pairs) - 1} of {len(pairs)}" in note.params["some"]


def test_a_configuration_of_another_lora_is_not_taken(unet: nn.Module, tmp_path: Path) -> None:
    pairs, theirs = reference(unet, 4, 4, False, tuple(NAMES))
    config(pairs, 8, 64, False).save_pretrained(tmp_path)
    path = saved(tmp_path / "x.safetensors", pairs, "{}.lora_A.weight", "{}.lora_B.weight")
    same(effect(unet, path), theirs)
    assert [note.code for note in contents(path, "x").notes] == ["lora_config_of_another", "lora_alpha_assumed"]


def test_a_configuration_beside_several_is_said(unet: nn.Module, tmp_path: Path) -> None:
    pairs, theirs = reference(unet, 8, 4, False, tuple(NAMES))
    path = peft_folder(tmp_path, pairs, 4, False).rename(tmp_path / "x.safetensors")
    same(effect(unet, path), theirs)
    assert not contents(path, "x").notes
    one = {"time_embedding.linear_2": pairs["time_embedding.linear_1"]}
    other = saved(tmp_path / "other.safetensors", one, "{}.lora_A.weight", "{}.lora_B.weight")
    assert [note.code for note in contents(path, "x").notes] == ["lora_config_shared"]
    codes = [note.code for note in contents(other, "x").notes]
    assert codes == ["lora_config_of_another", "lora_alpha_assumed"], "its layer is none of the configuration's"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
        ({"alora_invocation_tokens": [1]}, "activated"),
    ],
)
def test_adapters_that_are_more_than_a_sum_are_refused(
    unet: nn.Module, tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    pairs, _ = reference(unet, 4, 4, False, tuple(NAMES))
    told = {"r": 4, "lora_alpha": 4, **more}
    (tmp_path / "adapter_config.json").write_text(json.dumps(told))
    path = saved(tmp_path / "adapter_model.safetensors", pairs, "{}.lora_A.weight", "{}.lora_B.weight")
    with pytest.raises(BadInput, match=reason):
        contents(path, "x")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_never_reach_a_clip(unet: nn.Module, tmp_path: Path, value: float) -> None:
    pairs, _ = reference(unet, 4, 4, False, tuple(NAMES))
    name, (down, up) = next(iter(pairs.items()))
    broken = {name: (down, torch.full_like(up, value))}
    path = saved(tmp_path / "x.safetensors", broken, "{}.lora_A.weight", "{}.lora_B.weight")
    before = answer(unet)
    with pytest.raises(BadInput, match="NaN"):
        effect(unet, path)
    assert torch.equal(answer(unet), before)
    alphas = {f"{name}.alpha": torch.tensor(value)}
    path = saved(tmp_path / "x.safetensors", {name: (down, up)}, "{}.lora_A.weight", "{}.lora_B.weight", alphas)
    with pytest.raises(BadInput, match="alpha"):
        effect(unet, path)


def test_a_lora_of_which_half_fits_says_how_much(unet: nn.Module, tmp_path: Path) -> None:
    pairs, _ = reference(unet, 4, 4, False, tuple(NAMES))
    moved = {name.replace("attentions.0", "attentions.7"): pair for name, pair in pairs.items()}
    fitting = sum(name in pairs for name in moved)
    path = saved(tmp_path / "x.safetensors", moved, "{}.lora_A.weight", "{}.lora_B.weight")
    with pytest.raises(BadInput, match=f"another model: .* {fitting} of its {len(pairs)} layers fit"):
        effect(unet, path)
