"""Which numbers a run trains, and how the result is written.

A LoRA lives beside the frozen weights (peft's ``inject_adapter_in_model``) and is saved under the layers' own names;
``temporal`` and ``full`` train the checkpoint's weights themselves.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...catalog import CheckpointRow
from ...finetune import TrainRequest
from ...media.atomic import atomic

BLOCKS = {
    "temporal": (r"\.temporal_transformer_blocks\.\d+\.", r"\.temporal_res_block\."),
    "spatial": (r"\.transformer_blocks\.\d+\.", r"\.spatial_res_block\."),
    "both": (r"transformer_blocks\.\d+\.", r"_res_block\."),
}
"""Which transformer and which residual blocks a LoRA covers, by ``TrainRequest.targets``."""
_ATTENTION = r"attn1\.(to_q|to_k|to_v|to_out\.0)"
_FEED_FORWARD = r"ff(_in)?\.net\.(0\.proj|2)"
_CONVOLUTION = r"conv[12]"
_TEMPORAL = re.compile(r"temporal_|time_mixer|time_pos_embed")
_IDLE = re.compile(r"\.(attn2\.(to_q|to_k)|norm2)\.(weight|bias)$")
"""Cross-attention has one key, whose softmax is 1 whatever the query: these weights never matter."""

_INHERITED = set(CheckpointRow.model_fields) - set(
    "id title folder repo link licence licence_url gated download_bytes by_stability rank note".split()
)
"""What a trained checkpoint's ``svd_ui.json`` takes from its base's row."""


def prepare(unet: nn.Module, request: TrainRequest) -> dict[str, nn.Parameter]:
    """Freeze everything but what ``request.method`` trains; that is kept in float32. Name => parameter, in order."""
    unet.requires_grad_(False)
    if request.method == "lora":
        _inject(unet, request)
        chosen = {name: p for name, p in unet.named_parameters() if ".lora_" in name}
    else:
        chosen = {
            name: p
            for name, p in unet.named_parameters()
            if (request.method == "full" or _TEMPORAL.search(name)) and not _is_idle(name)
        }
    for parameter in chosen.values():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return chosen


def save(
    path: Path,
    unet: nn.Module,
    weights: dict[str, Tensor],
    request: TrainRequest,
    base: Path,
    row: CheckpointRow,
    about: dict[str, str],
) -> Path:
    """Write the trained ``weights`` (name as in ``prepare`` => tensor) for people to use; returns what was written.

    A LoRA is one safetensors file with ``about`` in its header. Otherwise ``path`` becomes a checkpoint folder: the
    ``base`` folder's other modules beside the new U-Net.
    """
    if request.method == "lora":
        return _save_lora(path, weights, request, about)
    return _save_checkpoint(path, unet, weights, base, row, about)


def _inject(unet: nn.Module, request: TrainRequest) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    pattern = re.compile(_covered(request))
    kinds = (nn.Linear, nn.Conv2d, nn.Conv3d)
    names = [name for name, module in unet.named_modules() if isinstance(module, kinds) and pattern.search(name)]
    alpha = request.alpha if request.alpha is not None else float(request.rank)
    config = LoraConfig(r=request.rank, lora_alpha=alpha, target_modules=names, lora_dropout=0.0, bias="none")
    with torch.random.fork_rng(devices=[]):  # peft draws the start from the global generator
        torch.manual_seed(request.seed)
        inject_adapter_in_model(config, unet)


def _covered(request: TrainRequest) -> str:
    """A pattern for the names of the layers a LoRA covers."""
    transformer, residual = BLOCKS[request.targets]
    inside = {"attention": _ATTENTION, "transformer": f"({_ATTENTION}|{_FEED_FORWARD})"}
    pattern = f"{transformer}{inside.get(request.layers, inside['transformer'])}$"
    return f"{pattern}|{residual}{_CONVOLUTION}$" if request.layers == "all" else pattern


def _is_idle(name: str) -> bool:
    return bool(_IDLE.search(name)) and "transformer_blocks" in name


def _save_lora(path: Path, weights: dict[str, Tensor], request: TrainRequest, about: dict[str, str]) -> Path:
    path = path if path.suffix == ".safetensors" else path.with_name(f"{path.name}.safetensors")
    tensors = {name.replace(".default.", "."): _plain(value) for name, value in weights.items()}
    alpha = request.alpha if request.alpha is not None else float(request.rank)
    targets = {name.partition(".lora_")[0] for name in tensors}
    tensors |= {f"{target}.alpha": torch.tensor(alpha) for target in sorted(targets)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt", "rank": str(request.rank), **about})
    return path


def _save_checkpoint(
    path: Path, unet: nn.Module, weights: dict[str, Tensor], base: Path, row: CheckpointRow, about: dict[str, str]
) -> Path:
    """Half precision, as checkpoints are shared; the folder appears once it is whole."""
    unfinished = path.with_name(f".{path.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(base, unfinished, ignore=lambda folder, names: ["unet"] if Path(folder) == base else [])
    state = {name: _plain(value).half() for name, value in {**unet.state_dict(), **weights}.items()}
    unet.save_pretrained(unfinished / "unet", state_dict=state, variant=row.variant)  # type: ignore[operator]
    numbers = row.model_dump(mode="json", include=_INHERITED)
    (unfinished / "svd_ui.json").write_text(json.dumps({**numbers, **about}, indent=1) + "\n", "utf-8")
    shutil.rmtree(path, ignore_errors=True)
    unfinished.rename(path)
    return path


def _plain(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous()


def count(parameters: Sequence[nn.Parameter]) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in parameters)
