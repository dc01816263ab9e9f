"""What a model's architecture costs, as coefficients counted once; no torch here.

They stand in ``architectures.json``, which ``python -m benchmarks.counts --coefficients`` prints, counted with our own
layers in force: a multiply-add of a matrix product, a convolution or attention is two operations, memory is the most
bytes of activations alive at once. A test counts them again on small clips.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import WeightsDamaged
from ..request import Frozen
from .component_configs import config_of

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
    """(cells, bytes), rising."""

    def bytes(self, cells: float, value_bytes: int = 2) -> float:
        """Twice as wide values fill the pieces as twice as many cells do."""
        wanted = cells * value_bytes / 2
        known = ((0, 0), *self.points)
        above = next((at for at in range(1, len(known)) if known[at][0] >= wanted), len(known) - 1)
        (x, low), (x_above, high) = known[above - 1], known[above]
        return low + (wanted - x) * (high - low) / (x_above - x)


class Architecture(Frozen):
    """One U-Net with its autoencoder and picture encoder.

    ``patch`` is the length in pixels of a side of one latent cell. A folder is known by ``unet_config``, its U-Net's own
    values of those keys, and by its ``vae_class``. ``unet`` and ``reusing`` are one call for one conditioning: a whole
    one, and one that reuses kept features (``core/sampling/feature_cache.py``). ``denoising`` are the U-Net's
    activations. ``kept`` and ``encoding`` are bytes per latent cell (and frame): of one kept feature, and of encoding
    the still in float32; ``widest`` the numbers of the autoencoder's largest features for each latent cell, 0 where nobody
    saw what a card copies of them. ``parameters`` by module; ``streamed`` are those on the device at a time while the U-Net's
    weights are streamed. ``upcasts``: the still is encoded in float32.
    """

    id: str
    patch: int
    unet_config: dict[str, Any]
    vae_class: str
    unet: FlopModel
    reusing: FlopModel
    decode: FlopModel
    encode: FlopModel
    embed: float
    denoising: dict[Mode, Peak]
    kept: float
    decoding: Peak
    encoding: float
    widest: int
    parameters: dict[str, int]
    streamed: int
    upcasts: bool

    def cells(self, width: int, height: int) -> int:
        """Latent cells of a frame of ``width`` x ``height`` pixels."""
        return (width // self.patch) * (height // self.patch)


def architecture_of(row: CheckpointRow) -> Architecture | None:
    """By the configuration of the row's folder or file; a repository on the hub holds SVD's. None for any other model."""
    source = row.folder or row.file
    if source is None:
        return ARCHITECTURES["svd"] if row.repo is not None or _is_full_size(row.unet) else None
    try:
        return _configured(source, row, sum(path.stat().st_mtime_ns for path in _telling(source)))
    except (OSError, WeightsDamaged):
        return None


def _telling(source: Path) -> list[Path]:
    """What a change of the configuration changes: the files that hold it, or are missing it."""
    parts = [source / part / name for part in ("unet", "vae") for name in ("", "config.json")]
    return [path for path in parts if path.exists()] or [source]


def _is_full_size(weights: Path | None) -> bool:
    """Whether a file of the family, or a folder with a U-Net, is as large as SVD's U-Net in half precision."""
    try:
        files = [] if weights is None else [weights] if weights.is_file() else [*weights.glob("*.safetensors")]
        return sum(file.stat().st_size for file in files) >= 2 * ARCHITECTURES["svd"].parameters["unet"]
    except OSError:
        return False


@lru_cache(maxsize=64)
def _configured(source: Path, row: CheckpointRow, _changed: int) -> Architecture | None:
    unet, vae = (config_of(source, part, row) for part in ("unet", "vae"))
    for known in ARCHITECTURES.values():
        same = all(unet.get(key) == value for key, value in known.unet_config.items())
        if same and vae.get("_class_name") == known.vae_class:
            return known
    return None


ARCHITECTURES: dict[str, Architecture] = {
    id: Architecture.model_validate({"id": id, **values})
    for id, values in json.loads(Path(__file__).with_suffix(".json").read_text("utf-8")).items()
}
