"""Which numbers a run trains, how a stopped run keeps them, and how the result is written.

A LoRA lives beside the frozen weights (peft's ``inject_adapter_in_model``) and is saved under the layers' own names;
``temporal`` and ``full`` train the checkpoint's weights themselves. A state holds numbers only, and is written so that
a crash leaves the last whole one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...catalog import CheckpointRow
from ...catalog.component_configs import FILES, config_of
from ...finetune import TrainRequest
from ...finetune.estimate import is_trained, lora_layers
from ...media import atomic
from ...stability_keys import COMPONENTS
from ...weight_files import weights_of
from ..loading import load_module

KEPT = 2
"""States that stay on disk."""
_INHERITED = set(CheckpointRow.model_fields) - set(
    "id title folder file unet sources same_as repo unet_file base_repo link licence licence_url gated download_bytes "
    "by_stability rank note".split()
)
"""What a trained checkpoint's ``svd_ui.json`` takes from its base's row."""


def prepare(unet: nn.Module, request: TrainRequest) -> dict[str, nn.Parameter]:
    """Freeze everything but what ``request.method`` trains; that is kept in float32. Name => parameter, in order."""
    unet.requires_grad_(False)
    if request.method == "lora":
        _inject(unet, request)
        chosen = {name: p for name, p in unet.named_parameters() if ".lora_" in name}
    else:
        chosen = {name: p for name, p in unet.named_parameters() if is_trained(name, request.method)}
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
    other modules of ``base``, a folder or a file, beside the new U-Net.
    """
    if request.method == "lora":
        return _save_lora(path, weights, request, about)
    return _save_checkpoint(path, unet, weights, base, row, about)


def _inject(unet: nn.Module, request: TrainRequest) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    pattern = lora_layers(request)
    kinds = (nn.Linear, nn.Conv2d, nn.Conv3d)
    names = [name for name, module in unet.named_modules() if isinstance(module, kinds) and pattern.search(name)]
    alpha = request.alpha if request.alpha is not None else float(request.rank)
    config = LoraConfig(r=request.rank, lora_alpha=alpha, target_modules=names, lora_dropout=0.0, bias="none")
    with torch.random.fork_rng(devices=[]):  # peft draws the start from the global generator
        torch.manual_seed(request.seed)
        inject_adapter_in_model(config, unet)


def _save_lora(path: Path, weights: dict[str, Tensor], request: TrainRequest, about: dict[str, str]) -> Path:
    path = path if path.suffix == ".safetensors" else path.with_name(f"{path.name}.safetensors")
    tensors = {name.replace(".default.", "."): _plain(value) for name, value in weights.items()}
    alpha = request.alpha if request.alpha is not None else float(request.rank)
    targets = {name.partition(".lora_")[0] for name in tensors}
    tensors |= {f"{target}.alpha": torch.tensor(alpha) for target in sorted(targets)}
    # kohya-ss' word for it is the tensors, diffusers' the metadata: what reads either reads the strength.
    config = {"peft_type": "LORA", "r": request.rank, "lora_alpha": alpha, "target_modules": sorted(targets)}
    told = {"format": "pt", "rank": str(request.rank), "lora_adapter_metadata": json.dumps(config), **about}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata=told)
    return path


def _save_checkpoint(
    path: Path, unet: nn.Module, weights: dict[str, Tensor], base: Path, row: CheckpointRow, about: dict[str, str]
) -> Path:
    """Half precision, as checkpoints are shared; the folder appears once it is whole."""
    unfinished = path.with_name(f".{path.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    if base.is_dir():
        shutil.copytree(base, unfinished, ignore=lambda folder, names: [*COMPONENTS] if Path(folder) == base else [])
    for part in COMPONENTS[1:]:
        _copy_part(base, part, unfinished, row)
    for name, file in FILES.items():
        target = unfinished / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(config_of(base, name, row), indent=1) + "\n", "utf-8")
    state = {name: _plain(value).half() for name, value in {**unet.state_dict(), **weights}.items()}
    unet.save_pretrained(unfinished / "unet", state_dict=state, variant=row.variant)  # type: ignore[operator]
    numbers = row.model_dump(mode="json", include=_INHERITED)
    (unfinished / "svd_ui.json").write_text(json.dumps({**numbers, **about}, indent=1) + "\n", "utf-8")
    shutil.rmtree(path, ignore_errors=True)
    unfinished.rename(path)
    return path


def _copy_part(base: Path, part: str, target: Path, row: CheckpointRow) -> None:
    """A component as it is; what lies in Stability's layout, or in a file of everything, in diffusers'."""
    if base.is_dir() and not weights_of(base, part).tensors.stability:
        shutil.copytree(base / part, target / part)
    else:
        load_module(base, part, torch.float16, row).save_pretrained(target / part, variant=row.variant)


def _plain(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous()


def count(parameters: Sequence[nn.Parameter]) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in parameters)


def save_state(
    folder: Path,
    step: int,
    weights: dict[str, Tensor],
    average: dict[str, Tensor],
    optimizer: dict[str, Any],
    numbers: dict[str, Any],
) -> Path:
    """``folder/step-000200``: trained weights, their average (may be empty), the optimizer's state, plain ``numbers``.

    The folder gets its name last, so one that is there is whole. Older ones go, ``KEPT`` stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final, unfinished = folder / f"step-{step:06d}", folder / f".step-{step:06d}.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    tensors, plain = _flat(optimizer)
    for name, content in (("weights", weights), ("average", average), ("optimizer", tensors)):
        save_file(
            {key: value.detach().cpu().contiguous() for key, value in content.items()},
            unfinished / f"{name}.safetensors",
        )
    (unfinished / "numbers.json").write_text(json.dumps({**numbers, "step": step, "optimizer": plain}), "utf-8")
    shutil.rmtree(final, ignore_errors=True)
    unfinished.rename(final)
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def latest(folder: Path) -> Path | None:
    """The newest whole state, or None."""
    found = sorted(path for path in folder.glob("step-*") if (path / "numbers.json").is_file())
    return found[-1] if found else None


def load_numbers(state: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((state / "numbers.json").read_text("utf-8"))
    return data


def load_weights(state: Path, name: str = "weights") -> dict[str, Tensor]:
    """``weights`` or ``average``."""
    return load_file(state / f"{name}.safetensors")


def load_optimizer(state: Path, like: dict[str, Any]) -> dict[str, Any]:
    """A state dict for ``optimizer.load_state_dict``; ``like`` is that of the fresh optimizer, for its groups."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in load_file(state / "optimizer.safetensors").items():
        index, _, name = key.partition(".")
        found.setdefault(int(index), {})[name] = value
    for key, number in load_numbers(state)["optimizer"].items():
        index, _, name = key.partition(".")
        found.setdefault(int(index), {})[name] = number
    return {"state": found, "param_groups": like["param_groups"]}


def _flat(optimizer: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """(tensors, plain numbers) of an optimizer's state by ``index.name``."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, float] = {}
    for index, entry in optimizer["state"].items():
        for name, value in entry.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{name}"] = value
            elif isinstance(value, int | float):
                plain[f"{index}.{name}"] = value
    return tensors, plain
