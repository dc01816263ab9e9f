"""LoRAs fused for one clip: added to the weights on entry, taken away on exit, to the bit.

A LoRA changes a layer's weight by ``alpha / r * up @ down`` (Hu et al. 2021, arXiv 2106.09685, section 4.1). The sum
is written *into* the tensors that are there, so every reference to them, pinned host copies, streaming
plans and compiled graphs among them, sees the change and later the return.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..loras import LoraFile, Pair, digest, pairs, refused


@dataclass(frozen=True)
class Lora:
    """A file and its weight in this clip."""

    file: LoraFile
    weight: float = 1.0


@contextmanager
def use_loras(runtime: Any, loras: Sequence[Lora]) -> Iterator[None]:
    """``loras`` fused into ``runtime.unet`` within the block; ``runtime.weights`` names them meanwhile.

    Enter it before the U-Net is put on the device. Raises BadInput(field="loras") before anything is changed
    where a file does not fit the checkpoint.
    """
    if not loras:
        yield
        return
    before = runtime.weights
    with fuse_loras(runtime.unet, loras, runtime.row.title):
        runtime.weights = tuple(digest(lora.file, lora.weight) for lora in loras)
        try:
            yield
        finally:
            runtime.weights = before


@contextmanager
def fuse_loras(unet: nn.Module, loras: Sequence[Lora], model: str) -> Iterator[None]:
    """The weights of ``unet`` with ``loras`` added; afterwards the very same numbers are back."""
    changes = _changes(unet, loras, model)
    originals: dict[nn.Parameter, Tensor] = {}
    try:
        with torch.no_grad():
            for parameter, deltas in changes.items():
                originals[parameter] = parameter.data.to("cpu", copy=True)
                total = parameter.data.float()
                for delta in deltas:
                    total = total + delta().to(total.device).view_as(total)
                parameter.data.copy_(total)
        yield
    finally:
        for parameter, original in originals.items():
            parameter.data.copy_(original)


class _Delta:
    """One pair's change of one weight, computed when asked: all of them at once could be gigabytes."""

    def __init__(self, tensors: dict[str, Tensor], pair: Pair, weight: float) -> None:
        self.down, self.up = tensors[pair.down], tensors[pair.up]
        rank = self.down.shape[0]
        alpha = float(tensors[pair.alpha]) if pair.alpha else float(rank)
        self.scale = weight * alpha / rank

    def fits(self, weight: Tensor) -> bool:
        """``up [out r 1...]`` times ``down [r in k...]`` has as many numbers as the weight, rows first."""
        rows, rank = self.up.shape[0], self.down.shape[0]
        return (
            self.up.numel() == rows * rank and rows == weight.shape[0] and rows * self.down[0].numel() == weight.numel()
        )

    def __call__(self) -> Tensor:
        return self.scale * (self.up.float().flatten(1) @ self.down.float().flatten(1))


def _changes(unet: nn.Module, loras: Sequence[Lora], model: str) -> dict[nn.Parameter, list[_Delta]]:
    """Weight => its changes, everything checked before the first number is touched."""
    layers = _layers(unet)
    changes: dict[nn.Parameter, list[_Delta]] = {}
    for lora in loras:
        title = lora.file.title or lora.file.name
        tensors = load_file(lora.file.path)
        for target, pair in pairs(tensors, title).items():
            weight = layers.get(target.replace(".", "_"))
            if weight is None:
                raise refused(title, f"it was made for another model: {model} has no layer {target[:80]!r}")
            delta = _Delta(tensors, pair, lora.weight)
            if not delta.fits(weight):
                raise refused(title, f"it was made for another model: {target[:80]!r} has another size in {model}")
            changes.setdefault(weight, []).append(delta)
    return changes


def _layers(unet: nn.Module) -> dict[str, nn.Parameter]:
    """Layer's name with underscores for dots => its weight. ``to_out`` may be written without its index 0."""
    found: dict[str, nn.Parameter] = {}
    for name, module in unet.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim >= 2:
            key = name.replace(".", "_")
            found[key] = weight
            if key.endswith("_to_out_0"):
                found[key.removesuffix("_0")] = weight
    return found
