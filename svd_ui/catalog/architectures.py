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
    from .checkpoint import CheckpointRow


Mode = Literal["one", "one chunked", "two", "two chunked"]
"""How many conditionings share a call of the U-Net, and whether forward is chunked."""


class FlopModel(Frozen):
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

    @classmethod
    def through(cls, *points: tuple[int, int]) -> Peak:
        """(cells, bytes), rising."""
        return cls(points=points)

    def bytes(self, cells: float, value_bytes: int = 2) -> float:
        """Twice as wide values fill the pieces as twice as many cells do."""
        wanted = cells * value_bytes / 2
        known = ((0, 0), *self.points)
        above = next((at for at in range(1, len(known)) if known[at][0] >= wanted), len(known) - 1)
        (x, low), (x_above, high) = known[above - 1], known[above]
        return low + (wanted - x) * (high - low) / (x_above - x)


class Architecture(Frozen):
    """One U-Net with its autoencoder and picture encoder.

    ``patch`` is the length in pixels of a side of one latent cell. ``unet`` and ``reusing`` are one call for one conditioning: a whole one, and one that reuses kept features
    (``core/sampling/feature_cache.py``). ``denoising`` are the U-Net's activations. ``kept`` and ``encoding`` are bytes per latent cell (and
    frame): of one kept feature, and of encoding the still in float32. ``parameters`` by module; ``streamed`` are those
    on the device at a time while the U-Net's weights are streamed. ``upcasts``: the still is encoded in float32.
    """

    id: str
    patch: int
    unet_config: dict[str, Any]
    unet: FlopModel
    reusing: FlopModel
    decode: FlopModel
    encode: FlopModel
    embed: float
    denoising: dict[Mode, Peak]
    kept: float
    decoding: Peak
    encoding: float
    parameters: dict[str, int]
    streamed: int
    upcasts: bool

    def cells(self, width: int, height: int) -> int:
        """Latent cells of a frame of ``width`` x ``height`` pixels."""
        return (width // self.patch) * (height // self.patch)


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


_VAES = {"svd": "AutoencoderKLTemporalDecoder", "nano": "WarpAutoencoder"}

ARCHITECTURES: dict[str, Architecture] = {
    known.id: known
    for known in (
        Architecture(
            id="svd",
            patch=8,
            unet_config={
                "block_out_channels": (320, 640, 1280, 1280),
                "layers_per_block": 2,
                "cross_attention_dim": 1024,
                "num_attention_heads": (5, 10, 20, 20),
                "in_channels": 8,
            },
            unet=FlopModel(linear=266_412_000, spatial=7301.25, temporal=11280, once=112_558_000),
            reusing=FlopModel(linear=16_657_900, spatial=1280, temporal=1280, once=10_977_300),
            decode=FlopModel(linear=734_486_000, spatial=2048),
            encode=FlopModel(linear=264_233_000, spatial=2048),
            embed=334_590_279_680,
            denoising={
                "one": Peak.through(
                    (24000, 216_068_040), (96000, 862_340_040), (230400, 1_260_638_920), (478400, 2_353_589_320)
                ),
                "one chunked": Peak.through(
                    (24000, 150_701_640), (96000, 430_910_280), (230400, 930_337_480), (478400, 1_931_067_080)
                ),
                "two": Peak.through(
                    (24000, 432_434_944), (96000, 1_204_950_144), (230400, 2_239_182_464), (478400, 4_134_176_384)
                ),
                "two chunked": Peak.through(
                    (24000, 263_456_384), (96000, 795_835_904), (230400, 1_826_306_304), (478400, 3_791_259_904)
                ),
            },
            kept=640,
            decoding=Peak.through(
                (9216, 754_974_722),
                (18432, 1_660_944_388),
                (36864, 2_415_919_112),
                (73728, 4_076_863_504),
                (129024, 6_794_772_508),
                (230400, 11_777_605_682),
            ),
            encoding=131_072,
            parameters={"unet": 1_524_623_082, "vae": 97_742_847, "image_encoder": 632_077_057},
            streamed=121_345_622,
            upcasts=True,
        ),
        Architecture(
            id="nano",
            patch=16,
            unet_config={
                "block_out_channels": (64, 64, 128),
                "layers_per_block": 1,
                "cross_attention_dim": 64,
                "num_attention_heads": (2, 2, 4),
                "in_channels": 64,
            },
            unet=FlopModel(linear=2_195_970, spatial=56, temporal=320, once=1_441_790),
            reusing=FlopModel(linear=397_312, once=458_752),
            decode=FlopModel(linear=0),  # pixels are looked up, which is not counted as arithmetic
            encode=FlopModel(linear=46_080),
            embed=27_109_376,
            denoising={
                "one": Peak.through((896, 1_147_702), (16128, 20_644_662)),
                "one chunked": Peak.through((896, 1_147_702), (16128, 20_644_662)),
                "two": Peak.through((896, 2_541_400), (16128, 45_434_712)),
                "two chunked": Peak.through((896, 2_541_400), (16128, 45_434_712)),
            },
            kept=128,
            decoding=Peak.through((576, 5_526_016), (8064, 77_364_224)),
            encoding=3192,
            parameters={"unet": 8_773_810, "vae": 46_083, "image_encoder": 271_218},
            streamed=1_459_369,
            upcasts=False,
        ),
    )
}
