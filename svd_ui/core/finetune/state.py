"""What a stopped or killed run goes on from: numbers only, written so that a crash leaves the last whole one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

KEPT = 2


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
