"""LoRAs fused for one clip: added to the weights on entry, taken away on exit, to the bit.

A LoRA changes a layer's weight by ``factor * up @ down``; ``loras`` knows the factor. The sum is written *into* the
tensors that are there, so every reference to them, pinned host copies, streaming plans and compiled graphs among them,
sees the change and later the return.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..loras import LoraFile, LoraLayer, contents, digest, refused
from ..stability_keys import stability_unet_name


@dataclass(frozen=True)
class Lora:
    """A file and its weight in this clip."""

    file: LoraFile
    weight: float = 1.0


@contextmanager
def use_loras(runtime: Any, loras: Sequence[Lora]) -> Iterator[None]:
    """``loras`` fused into every copy of the U-Net within the block; ``runtime.weights`` names them meanwhile.

    Enter it before the U-Net is put on the device. Raises BadInput(field="loras") before anything is changed
    where a file does not fit the checkpoint.
    """
    if not loras:
        yield
        return
    before = runtime.weights
    with ExitStack() as stack:
        for unet in runtime.unets:
            stack.enter_context(fuse_loras(unet, loras, runtime.row.title))
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
                base = parameter.data.float()
                total = base
                for lora, delta in deltas:
                    change = delta(base).view_as(base)
                    if not change.isfinite().all():
                        raise refused(_title(lora), "it holds broken values (NaN or infinite)")
                    total = total + lora.weight * change
                parameter.data.copy_(total)
        yield
    finally:
        for parameter, original in originals.items():
            parameter.data.copy_(original)


Delta = Callable[[Tensor], Tensor]
"""A parameter as it is, in float32 => what a LoRA adds to it. Computed when asked: all at once could be gigabytes."""
Changes = dict[nn.Parameter, list[tuple[Lora, Delta]]]


def _changes(unet: nn.Module, loras: Sequence[Lora], model: str) -> Changes:
    """Parameter => its changes, everything checked before the first number is touched."""
    modules = _modules(unet)
    changes: Changes = {}
    for lora in loras:
        title = _title(lora)
        held = contents(lora.file.path, title)
        tensors = load_file(lora.file.path)
        wrong = []
        for target, layer in held.layers.items():
            module = modules.get(target.replace(".", "_"))
            found = _of_layer(layer, tensors, held.factors.get(target, 1.0), module) if module is not None else None
            if found is None:
                wrong.append((target, module))
                continue
            for parameter, delta in found:
                changes.setdefault(parameter, []).append((lora, delta))
        if wrong:
            target, module = wrong[0]
            what = "has no layer" if module is None else "has another size of"
            fitting = f"{len(held.layers) - len(wrong)} of its {len(held.layers)} layers fit"
            raise refused(title, f"it was made for another model: {model} {what} {target[:80]!r}, {fitting}")
    return changes


def _of_layer(
    layer: LoraLayer, tensors: dict[str, Tensor], factor: float, module: Any
) -> list[tuple[nn.Parameter, Delta]] | None:
    """The changes of a layer's weight and bias; None where they do not fit it."""
    weight, bias = module.weight, module.bias
    found: list[tuple[Any, Delta]] = []
    if layer.down and layer.up:
        pair = _Pair(tensors[layer.down], tensors[layer.up], factor, layer.magnitude, tensors)
        if not pair.fits(weight):
            return None
        found.append((weight, pair))
    for parameter, name, scale in ((bias, layer.bias, factor), (bias, layer.diff_b, 1.0), (weight, layer.diff, 1.0)):
        if name:
            if parameter is None or tensors[name].numel() != parameter.numel():
                return None
            found.append((parameter, partial(_whole, tensors[name], scale)))
    return found


def _whole(difference: Tensor, scale: float, base: Tensor) -> Tensor:
    return scale * difference.to(base)


class _Pair:
    """``factor * up @ down``; with a magnitude (DoRA, arXiv 2402.09353) each row of the sum takes the length it names."""

    def __init__(
        self, down: Tensor, up: Tensor, factor: float, magnitude: str | None, tensors: dict[str, Tensor]
    ) -> None:
        self.down, self.up, self.factor = down, up, factor
        self.magnitude = tensors[magnitude] if magnitude else None
        self.of_columns = (
            magnitude is not None and magnitude.endswith("dora_scale") and tensors[magnitude].shape[0] == 1
        )
        """LyCORIS may have lengths of columns, which only the shape tells; peft has those of rows."""

    def fits(self, weight: Tensor) -> bool:
        """``up [out r 1...]`` times ``down [r in k...]`` has as many numbers as the weight, rows first."""
        rows, rank = self.up.shape[0], self.down.shape[0]
        if self.magnitude is not None and self.magnitude.numel() != weight.shape[1 if self.of_columns else 0]:
            return False
        sizes = self.up.numel() == rows * rank and rows * self.down[0].numel() == weight.numel()
        return sizes and rows == weight.shape[0] and weight.ndim >= 2

    def __call__(self, base: Tensor) -> Tensor:
        matrix = self.up.to(base).flatten(1) @ self.down.to(base).flatten(1)
        change = self.factor * matrix.view_as(base)
        if self.magnitude is None:
            return change
        kept = 1 if self.of_columns else 0
        total = base + change
        lengths = torch.linalg.vector_norm(total, dim=[dim for dim in range(base.ndim) if dim != kept], keepdim=True)
        scaled: Tensor = total * (self.magnitude.to(base).view_as(lengths) / lengths)
        return scaled - base


def _title(lora: Lora) -> str:
    return lora.file.title or lora.file.name


def _modules(unet: nn.Module) -> dict[str, Any]:
    """Layer's name, diffusers' or Stability's, with underscores for dots => the module.

    ``to_out`` may be written without its index 0.
    """
    found: dict[str, Any] = {}
    names = dict(unet.named_modules())
    per_block = sum(1 for name in names if re.fullmatch(r"down_blocks\.0\.resnets\.\d+", name))
    for name, module in names.items():
        if isinstance(getattr(module, "weight", None), nn.Parameter) and hasattr(module, "bias"):
            for known in (name, stability_unet_name(name, per_block)):
                key = known.replace(".", "_")
                found[key] = module
                if key.endswith("_to_out_0"):
                    found[key.removesuffix("_0")] = module
    return found
