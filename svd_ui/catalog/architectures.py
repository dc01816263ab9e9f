"""What a model's architecture costs, as coefficients counted once; no torch here.

Counted by ``python -m benchmarks.counts --coefficients`` with our own layers in force: a multiply-add of a matrix
product, a convolution or attention is two operations, memory is the most bytes of activations alive at once. A test
counts them again on small clips.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..request import Frozen

if TYPE_CHECKING:
    from .rows import CheckpointRow


Mode = Literal["one", "one chunked", "two", "two chunked"]
"""How many conditionings share a call of the U-Net, and whether forward is chunked."""


class Work(Frozen):
    """Operations of one pass over F frames of P latent cells: F (linear P + spatial P^2 + temporal F P) + once.

    Convolutions and feed-forward layers are linear, attention within a frame grows with the square of its cells,
    attention over time with the square of the frames; embeddings are computed once.
    """

    linear: float
    spatial: float = 0.0
    temporal: float = 0.0
    once: float = 0.0

    def flops(self, cells: int, frames: int) -> float:
        each = self.linear * cells + self.spatial * cells**2 + self.temporal * frames * cells
        return frames * each + self.once


class Peak(Frozen):
    """Bytes of activations by latent cells of all frames, values of two bytes: straight lines between ``points``.

    The more there is to do, the less each cell needs: feed-forward and attention run in pieces of at most so many bytes,
    while what has to lie whole grows with the clip. Below the first point memory is in proportion to it, beyond the
    last the line goes on.
    """

    points: tuple[tuple[int, int], ...]

    def bytes(self, cells: float, value_bytes: int = 2) -> float:
        """Twice as wide values fill the pieces as twice as many cells do."""
        wanted = cells * value_bytes / 2
        known = ((0, 0), *self.points)
        above = next((at for at in range(1, len(known)) if known[at][0] >= wanted), len(known) - 1)
        (x, low), (x_above, high) = known[above - 1], known[above]
        return low + (wanted - x) * (high - low) / (x_above - x)


class Architecture(Frozen):
    """One U-Net with its autoencoder and picture encoder.

    ``unet`` and ``reusing`` are one call for one conditioning: a whole one, and one that reuses kept features
    (``core/caching.py``). ``denoising`` are the U-Net's activations. ``kept`` and ``encoding`` are bytes per latent cell (and
    frame): of one kept feature, and of encoding the still in float32. ``parameters`` by module; ``streamed`` are those
    on the device at a time while the U-Net's weights are streamed. ``upcasts``: the still is encoded in float32.
    """

    id: str
    unet_config: dict[str, Any]
    unet: Work
    reusing: Work
    decode: Work
    encode: Work
    embed: float
    denoising: dict[Mode, Peak]
    kept: float
    decoding: Peak
    encoding: float
    parameters: dict[str, int]
    streamed: int
    upcasts: bool


PATCH = 8
"""Pixels along a side of one latent cell, in every architecture here."""


def cells(width: int, height: int) -> int:
    """Latent cells of a frame of ``width`` x ``height`` pixels."""
    return (width // PATCH) * (height // PATCH)


def architecture_of(row: CheckpointRow) -> Architecture | None:
    """By the configuration in the row's folder; a repository on the hub holds SVD's. None for any other model."""
    if row.folder is None:
        return ARCHITECTURES["svd"] if row.repo is not None else None
    files = (row.folder / "unet" / "config.json", row.folder / "vae" / "config.json")
    try:
        return _configured(*files, sum(file.stat().st_mtime_ns for file in files))
    except (OSError, ValueError, AttributeError):  # not there, not JSON, not an object
        return None


@lru_cache(maxsize=64)
def _configured(unet_file: Path, vae_file: Path, _changed: int) -> Architecture | None:
    unet, vae = (json.loads(file.read_text("utf-8")) for file in (unet_file, vae_file))
    for known in ARCHITECTURES.values():
        same = all(_plain(unet.get(key)) == _plain(value) for key, value in known.unet_config.items())
        if same and vae.get("_class_name") == _VAES[known.id]:
            return known
    return None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


_VAES = {"svd": "AutoencoderKLTemporalDecoder", "nano": "PatchAutoencoder"}

ARCHITECTURES: dict[str, Architecture] = {
    known.id: known
    for known in (
        Architecture(
            id="svd",
            unet_config={
                "block_out_channels": (320, 640, 1280, 1280),
                "layers_per_block": 2,
                "cross_attention_dim": 1024,
                "num_attention_heads": (5, 10, 20, 20),
                "in_channels": 8,
            },
            unet=Work(linear=2.4976e8, spatial=10190.0),
            reusing=Work(linear=1.7e7, spatial=1552.08),
            decode=Work(linear=734486000.0, spatial=2048.0),
            encode=Work(linear=264234000.0, spatial=2048.0),
            embed=334590279680.0,
            denoising={
                "one": Peak(points=((100000, 1670600000),)),
                "one chunked": Peak(points=((100000, 964000000),)),
                "two": Peak(points=((100000, 3485500000),)),
                "two chunked": Peak(points=((100000, 2072400000),)),
            },
            kept=640.0,
            decoding=Peak(points=((100000, 13108000000),)),
            encoding=164608.0,
            parameters={"unet": 1524623082, "vae": 97742847, "image_encoder": 632077057},
            streamed=130_000_000,
            upcasts=True,
        ),
    )
}
