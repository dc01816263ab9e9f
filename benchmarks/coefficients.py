"""Counts the coefficients of ``svd_ui/catalog/architectures.json`` from our own layers on the meta device."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from benchmarks.meta import CHUNKED, IN_TURN, IN_TURN_CHUNKED, RESIDENT, Ours
from svd_ui.catalog.architectures import Architecture, FlopModel, Mode, Peak
from svd_ui.core.sampling.feature_cache import FeatureCache

Size = tuple[int, int, int]
"""(frames, height, width) in latent cells."""

SIZES: tuple[Size, ...] = ((2, 8, 16), (3, 16, 16), (4, 16, 24), (6, 24, 32))
"""One clip for each coefficient of ``FlopModel``, whole at every level of the U-Net."""
NATIVE: dict[str, Size] = {"svd": (25, 72, 128), "nano": (14, 18, 32)}
LADDER = (0.1, 0.4, 1.0, 2.0)
"""Clips at which memory is counted, as shares of the native one."""
DECODED = (1, 2, 4, 8, 14, 25)
MODES: dict[Mode, Any] = {"one": IN_TURN, "one chunked": IN_TURN_CHUNKED, "two": RESIDENT, "two chunked": CHUNKED}


def counted(ours: Ours) -> dict[str, Any]:
    """Every coefficient by its name in ``Architecture``."""
    return {
        "unet": work({size: ours.step(*size, guided=False).flops for size in SIZES}),
        "reusing": work({size: ours.step(*size, guided=False, reuse=FeatureCache(1000)).flops for size in SIZES}),
        "decode": work({size: ours.decode(*size).flops for size in SIZES}),
        "encode": work({(1, *size[1:]): ours.encode(*size[1:]).flops for size in SIZES}),
        "embed": float(ours.embed().flops),
        "denoising": {mode: denoising(ours, mode) for mode in MODES},
        "kept": kept(ours),
        "decoding": decoding(ours),
        "encoding": float(ours.encode(24, 32).peak // (24 * 32)),
        "widest": widest(ours),
        "parameters": {name: _parameters(module) for name, module in ours.modules.items()},
        "streamed": ours.streamed(),
    }


def table(architectures: Iterable[Architecture]) -> str:
    """The text of ``architectures.json``: a line for each coefficient."""
    rows = (known.model_dump(mode="json") for known in architectures)
    return "{\n" + ",\n".join(f' "{row.pop("id")}": {{\n{_lines(row)}\n }}' for row in rows) + "\n}\n"


def _lines(values: Mapping[str, Any]) -> str:
    return ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())


def work(flops: Mapping[Size, int]) -> FlopModel:
    """The coefficients that give these counts."""
    terms = {
        "linear": [frames * height * width for frames, height, width in flops],
        "spatial": [frames * (height * width) ** 2 for frames, height, width in flops],
        "temporal": [frames**2 * height * width for frames, height, width in flops],
        "once": [1 for _ in flops],
    }
    if all(frames == 1 for frames, _, _ in flops):
        del terms["temporal"]  # of one frame it is the same as linear
    matrix, counts = np.array(list(terms.values()), dtype=float).T, np.array(list(flops.values()), dtype=float)
    unit = matrix.max(axis=0)  # each column in its own, or the squares drown the rest
    found = np.linalg.lstsq(matrix / unit, counts, rcond=None)[0] / unit
    return FlopModel(**{name: _rounded(value) for name, value in zip(terms, found, strict=True)})


def denoising(ours: Ours, mode: Mode) -> Peak:
    """Over clips of the native shape, larger and smaller."""
    frames, height, width = NATIVE[ours.architecture]
    points = []
    for share in LADDER:
        side = math.sqrt(share)
        size = (frames, max(8, round(height * side / 8) * 8), max(8, round(width * side / 8) * 8))
        guided = mode.startswith("two")
        points.append((math.prod(size), ours.step(*size, guided=guided, profile=MODES[mode]).peak))
    return Peak(points=tuple(points))


def decoding(ours: Ours) -> Peak:
    frames, height, width = NATIVE[ours.architecture]
    chunks = [chunk for chunk in DECODED if chunk <= frames]
    return Peak(points=tuple((chunk * height * width, ours.decode(chunk, height, width).peak) for chunk in chunks))


def kept(ours: Ours) -> float:
    """Bytes of a kept feature for each latent cell: the U-Net's first width, two bytes each."""
    return 2.0 * ours.modules["unet"].config.block_out_channels[0]


def widest(ours: Ours) -> int:
    """At every pixel the first width of Stability's autoencoder; nano's was seen on no card."""
    return 8**2 * int(ours.modules["vae"].config.block_out_channels[0]) if ours.architecture == "svd" else 0


def _rounded(value: float) -> float:
    """Six digits, and nothing where the fit left a trace."""
    return float(f"{value:.6g}") if abs(value) > 0.5 else 0.0


def _parameters(module: Any) -> int:
    return sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))
