"""What a run will cost, before it is started: numbers trained, memory, time. None where it is not known; no torch."""

from __future__ import annotations

from ..catalog import CheckpointRow
from ..catalog.architectures import Architecture, architecture_of
from ..request import Frozen
from . import Method, TrainRequest
from .parameters import Block, UNetLayers, layers_of

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
