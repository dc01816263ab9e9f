"""What a run will cost, before it is started: numbers trained, memory, time. None where it is not known; no torch.

The layers of a U-Net are those that the headers of its files name (``UNetLayers``); which of them a run trains is
decided here too, by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from ..catalog import CheckpointRow
from ..catalog.architectures import Architecture, architecture_of
from ..errors import WeightsDamaged
from ..request import Frozen
from ..weight_files import weights_of
from . import Method, TrainRequest

KEPT: dict[str, dict[Method, int]] = {
    "resnet": {"lora": 12, "temporal": 12, "full": 14},
    "transformer": {"lora": 58, "temporal": 69, "full": 80},
}
"""Values per cell, frame and channel that a block keeps for its backward pass; counted on the real layers by a test."""


class Machine(Frozen):
    """What a run has: a device of ``kind``, its memory, and the operations a second that a model reaches on it."""

    kind: str = "cpu"
    total_bytes: int | None = None
    flops_per_second: float | None = None


class Cost(Frozen):
    """``parameters`` are those trained; ``seconds`` is for the steps alone; ``fits`` compares with the device's memory."""

    parameters: int | None = None
    peak_bytes: int | None = None
    seconds: float | None = None
    fits: bool | None = None


def estimate(request: TrainRequest, row: CheckpointRow, source: Path | None, machine: Machine) -> Cost:
    """``request`` is resolved, ``source`` is the folder or the file of the checkpoint's weights."""
    layers = layers_of(source)
    if layers is None:
        return Cost()
    trained = layers.trained(request)
    peak, total = _peak(request, row, layers, trained, machine), machine.total_bytes
    return Cost(
        parameters=trained,
        peak_bytes=peak,
        seconds=_seconds(request, row, trained / layers.total, machine),
        fits=None if peak is None or total is None else peak <= total,
    )


def pass_factor(request: TrainRequest, share: float) -> float:
    """Cost of one update's pass, in forward passes; ``share`` of the U-Net's numbers is trained.

    Forward once, backward to the inputs once, to the trained weights as much of once as they are of all; with
    checkpointing forward once more.
    """
    return 2 + (0.0 if request.method == "lora" else share) + (1 if request.gradient_checkpointing else 0)


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
_IDLE = re.compile(r"transformer_blocks.*\.(attn2\.(to_q|to_k)|norm2)\.(weight|bias)$")
"""Cross-attention has one key, whose softmax is 1 whatever the query: these weights never matter."""


def lora_layers(request: TrainRequest) -> re.Pattern[str]:
    """For the names of the layers that a LoRA covers."""
    transformer, residual = BLOCKS[request.targets]
    inside = _ATTENTION if request.layers == "attention" else f"({_ATTENTION}|{_FEED_FORWARD})"
    pattern = f"{transformer}{inside}$"
    return re.compile(f"{pattern}|{residual}{_CONVOLUTION}$" if request.layers == "all" else pattern)


def is_trained(name: str, method: Method) -> bool:
    """Whether ``temporal`` or ``full`` training changes the weight called ``name``."""
    return (method == "full" or bool(_TEMPORAL.search(name))) and not _IDLE.search(name)


@dataclass(frozen=True)
class Block:
    """One resnet or transformer, of ``channels``, at a 2^``level``-th of the latent's side; a resnet reads ``inputs``."""

    kind: Literal["resnet", "transformer"]
    channels: int
    level: int
    inputs: int
    depth: int = 1


class UNetLayers:
    """A U-Net by the names and shapes of its weights."""

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        self._shapes = shapes
        self.total = sum(math.prod(shape) for shape in shapes.values())

    def trained(self, request: TrainRequest) -> int:
        """How many numbers a run trains."""
        if request.method != "lora":
            return sum(math.prod(shape) for name, shape in self._shapes.items() if is_trained(name, request.method))
        covered = lora_layers(request)
        layers = [
            shape for name, shape in self._shapes.items() if covered.search(name.removesuffix(".weight"))
        ]  # ``down [r in k...]`` and ``up [out r]``
        return request.rank * sum(shape[0] + math.prod(shape[1:]) for shape in layers)

    @cached_property
    def blocks(self) -> list[Block]:
        """Its resnets and transformers."""
        lowest = max(int(at) for name in self._shapes for at in re.findall(r"^down_blocks\.(\d+)", name))
        return [block for name, shape in self._shapes.items() for block in self._block(name, shape, lowest)]

    def _block(self, name: str, shape: Sequence[int], lowest: int) -> Iterator[Block]:
        """What the weight that every block has one of tells about it."""
        match = re.fullmatch(
            r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(.+)\.(spatial_res_block\.conv1|proj_in)\.weight", name
        )
        if match is None:
            return
        side, at, _, kind = match.groups()
        level = lowest if side is None else int(at) if side == "down" else lowest - int(at)
        if kind == "proj_in":
            inside = name.removesuffix("proj_in.weight") + "temporal_transformer_blocks."
            depth = sum(name.startswith(inside) and name.endswith("attn1.to_q.weight") for name in self._shapes)
            yield Block("transformer", shape[0], level, shape[0], depth)
        else:
            yield Block("resnet", shape[0], level, shape[1])


def layers_of(source: Path | None) -> UNetLayers | None:
    """Of the U-Net in a checkpoint's folder or file, by its headers. None where there is none, or another kind."""
    try:
        weights = weights_of(source, "unet") if source else None
    except (WeightsDamaged, OSError):
        return None
    names, header = (weights.names(), weights.tensors.header) if weights else ({}, {})
    shapes = {name: tuple(header[own]["shape"]) for name, own in names.items()}
    return UNetLayers(shapes) if any("temporal_res_block" in name for name in shapes) else None


def _seconds(request: TrainRequest, row: CheckpointRow, share: float, machine: Machine) -> float | None:
    known = architecture_of(row)
    if known is None or not machine.flops_per_second:
        return None
    clip = known.unet.flops(_cells(request, row, known), _frames(request, row))
    clips = request.steps * request.batch_size * request.gradient_accumulation
    return clips * clip * pass_factor(request, share) / machine.flops_per_second


def _peak(request: TrainRequest, row: CheckpointRow, layers: UNetLayers, trained: int, machine: Machine) -> int | None:
    """Frozen weights, trained ones with gradients and AdamW's two averages, activations of one pass."""
    known = architecture_of(row)
    if known is None:
        return None
    half = machine.kind != "cpu" and request.precision != "no"
    base = 2 if request.method == "lora" and machine.kind == "cuda" else 4
    others = (sum(known.parameters.values()) - known.parameters["unet"]) * base
    unet = layers.total * base + (trained * 4 if request.method == "lora" else 0)
    optimizer = trained * (4 + (2 if request.eight_bit else 8) + (4 if request.ema else 0))
    copies = trained * 2 if half else 0  # autocast's, of weights in float32
    return int(unet + others + optimizer + copies + activations(request, row, known, layers, 2 if half else 4))


def activations(
    request: TrainRequest, row: CheckpointRow, known: Architecture, layers: UNetLayers, value_bytes: int
) -> float:
    """Bytes that a pass keeps for its backward pass.

    With checkpointing what every block reads, and all of the one that is being computed again.
    """
    size = _cells(request, row, known) * _frames(request, row) * request.batch_size
    inner = [
        KEPT[block.kind][request.method] * block.channels * block.depth * size / (1 << 2 * block.level)
        for block in layers.blocks
    ]
    if not request.gradient_checkpointing:
        return value_bytes * sum(inner)
    read = sum(block.inputs * size / (1 << 2 * block.level) for block in layers.blocks)
    return value_bytes * (read + max(inner))


def _cells(request: TrainRequest, row: CheckpointRow, known: Architecture) -> int:
    return known.cells(request.width or row.width, request.height or row.height)


def _frames(request: TrainRequest, row: CheckpointRow) -> int:
    return request.num_frames or row.num_frames
