"""What a run will cost, before it is started: numbers trained, memory, time. None where it is not known; no torch.

The layers of a U-Net are counted from its configuration alone (``UNetLayers``), as diffusers'
``UNetSpatioTemporalConditionModel`` builds them; a test counts the real modules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ..catalog import CheckpointRow
from ..catalog.architectures import Architecture, architecture_of
from ..request import Frozen
from . import Layers, Method, Targets, TrainRequest

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


def estimate(request: TrainRequest, row: CheckpointRow, machine: Machine) -> Cost:
    """``request`` is resolved."""
    layers = layers_of(row)
    if layers is None:
        return Cost()
    trained = layers.trained(request.method, request.targets, request.rank, request.layers)
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


DEFAULTS: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 768,
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "transformer_layers_per_block": 1,
    "down_block_types": [*["CrossAttnDownBlockSpatioTemporal"] * 3, "DownBlockSpatioTemporal"],
    "up_block_types": ["UpBlockSpatioTemporal", *["CrossAttnUpBlockSpatioTemporal"] * 3],
}
"""Stable Video Diffusion's own."""


@dataclass(frozen=True)
class Block:
    """One resnet or transformer, of ``channels``, at a 2^``level``-th of the latent's side; a resnet reads ``inputs``."""

    kind: Literal["resnet", "transformer"]
    channels: int
    level: int
    inputs: int
    depth: int = 1


class UNetLayers:
    """What a configuration describes. Raises KeyError, TypeError or ValueError for one of another architecture."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = {**DEFAULTS, **{name: config[name] for name in DEFAULTS if config.get(name) is not None}}
        self._channels = [int(c) for c in self._config["block_out_channels"]]
        kinds = [*self._config["down_block_types"], *self._config["up_block_types"]]
        depth = self._config["transformer_layers_per_block"]
        known = all(str(kind).endswith("BlockSpatioTemporal") for kind in kinds)
        if not known or not isinstance(depth, int) or not isinstance(self._config["layers_per_block"], int):
            raise ValueError("not a U-Net of this family")
        self._depth = depth

    @cached_property
    def blocks(self) -> list[Block]:
        """In the order in which a pass meets them."""
        return [*self._down(), *self._middle(), *self._up()]

    def trained(
        self, method: Method, targets: Targets = "temporal", rank: int = 1, layers: Layers = "attention"
    ) -> int:
        """How many numbers a run trains."""
        if method == "lora":
            return rank * sum(_lora(block, targets, layers) for block in self.blocks)
        temporal = sum(self._temporal(block) for block in self.blocks)
        return temporal if method == "temporal" else temporal + self._spatial_parts()

    @property
    def total(self) -> int:
        """All numbers, also those that never matter: keys and queries of an attention to one thing."""
        idle = sum(2 * self._idle(block) for block in self.blocks)
        return self.trained("full") + idle

    def _spatial_parts(self) -> int:
        config, channels = self._config, self._channels
        first = channels[0]
        time = 4 * first
        around = _conv(int(config["in_channels"]), first, 9) + 2 * first + _conv(first, int(config["out_channels"]), 9)
        embeddings = _mlp(first, time, time) + _mlp(int(config["projection_class_embeddings_input_dim"]), time, time)
        moves = [_conv(c, c, 9) for c in channels[:-1]] + [_conv(c, c, 9) for c in channels[:0:-1]]
        return around + embeddings + sum(moves) + sum(self._spatial(block) for block in self.blocks)

    def _spatial(self, block: Block) -> int:
        c, time = block.channels, 4 * self._channels[0]
        if block.kind == "resnet":
            shortcut = _conv(block.inputs, c, 1) if block.inputs != c else 0
            convs = _conv(block.inputs, c, 9) + _conv(c, c, 9)
            return 2 * block.inputs + convs + _conv(time, c, 1) + 2 * c + shortcut
        layer = 2 * c + self._attention(c) + self._kept_attention(c) + 2 * c + _feed_forward(c)
        return 2 * c + 2 * _conv(c, c, 1) + block.depth * layer  # norm, proj_in, proj_out

    def _temporal(self, block: Block) -> int:
        c, time = block.channels, 4 * self._channels[0]
        if block.kind == "resnet":
            return 2 * c + _conv(c, c, 3) + _conv(time, c, 1) + 2 * c + _conv(c, c, 3) + 1  # and the mixer
        layer = 2 * (2 * c + _feed_forward(c)) + 2 * c + self._attention(c) + self._kept_attention(c)
        return block.depth * layer + _mlp(c, 4 * c, c) + 1

    def _attention(self, c: int) -> int:
        return 3 * c * c + _conv(c, c, 1)

    def _kept_attention(self, c: int) -> int:
        """to_v and to_out of cross-attention."""
        return int(self._config["cross_attention_dim"]) * c + _conv(c, c, 1)

    def _idle(self, block: Block) -> int:
        """to_q, to_k and norm2 of one of the two cross-attentions of a transformer."""
        c = block.channels
        one = c * c + int(self._config["cross_attention_dim"]) * c + 2 * c
        return block.depth * one if block.kind == "transformer" else 0

    def _down(self) -> Iterator[Block]:
        inputs = self._channels[0]
        for level, (kind, c) in enumerate(zip(self._config["down_block_types"], self._channels, strict=True)):
            for _ in range(self._config["layers_per_block"]):
                yield from self._pair(c, level, inputs, "CrossAttn" in kind)
                inputs = c

    def _middle(self) -> Iterator[Block]:
        c, level = self._channels[-1], len(self._channels) - 1
        yield from self._pair(c, level, c, True)
        yield Block("resnet", c, level, c)

    def _up(self) -> Iterator[Block]:
        """Every resnet reads what came before it and what the way down left."""
        left = [self._channels[0]]
        for level, c in enumerate(self._channels):
            left += [c] * self._config["layers_per_block"]
            left += [c] if level < len(self._channels) - 1 else []
        before = self._channels[-1]
        for at, (kind, c) in enumerate(zip(self._config["up_block_types"], reversed(self._channels), strict=True)):
            for _ in range(self._config["layers_per_block"] + 1):
                yield from self._pair(c, len(self._channels) - 1 - at, before + left.pop(), "CrossAttn" in kind)
                before = c

    def _pair(self, c: int, level: int, inputs: int, attends: bool) -> Iterator[Block]:
        yield Block("resnet", c, level, inputs)
        if attends:
            yield Block("transformer", c, level, c, self._depth)


def layers_of(row: CheckpointRow) -> UNetLayers | None:
    """From the row's folder; a repository on the hub holds SVD's. None where it cannot be told."""
    if row.folder is None:
        return UNetLayers({}) if row.repo is not None else None
    try:
        return UNetLayers(json.loads((row.folder / "unet" / "config.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None


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
    inner = [_kept(block, request.method) * size / (1 << 2 * block.level) for block in layers.blocks]
    if not request.gradient_checkpointing:
        return value_bytes * sum(inner)
    read = sum(block.inputs * size / (1 << 2 * block.level) for block in layers.blocks)
    return value_bytes * (read + max(inner))


def _kept(block: Block, method: Method) -> int:
    return KEPT[block.kind][method] * block.channels * block.depth


def _cells(request: TrainRequest, row: CheckpointRow, known: Architecture) -> int:
    return known.cells(request.width or row.width, request.height or row.height)


def _frames(request: TrainRequest, row: CheckpointRow) -> int:
    return request.num_frames or row.num_frames


def _conv(inputs: int, outputs: int, taps: int) -> int:
    """Of a convolution, or with one tap of a linear layer, its bias included."""
    return inputs * outputs * taps + outputs


def _mlp(inputs: int, inner: int, outputs: int) -> int:
    return _conv(inputs, inner, 1) + _conv(inner, outputs, 1)


def _lora(block: Block, targets: Targets, layers: Layers) -> int:
    """What one rank adds to a block: for each layer its inputs (times the kernel's places) and its outputs."""
    c, over_time, within = block.channels, targets != "spatial", targets != "temporal"
    if block.kind == "transformer":
        attention = 8 * c * (over_time + within)
        feed_forward = 14 * c * (2 * over_time + within) if layers != "attention" else 0
        return block.depth * (attention + feed_forward)
    if layers != "all":
        return 0
    return over_time * 8 * c + within * (9 * block.inputs + c + 10 * c)


def _feed_forward(c: int) -> int:
    """GEGLU: twice the inner width in, once out."""
    return _conv(c, 8 * c, 1) + _conv(4 * c, c, 1)
