"""A diffusers folder or a single file on disk => its modules. Safetensors only, classes from an allow-list, no network.

diffusers and transformers take seconds to import, so that happens here, at the first load.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..catalog import CheckpointRow
from ..catalog.component_configs import CLASSES, FILES, config_of
from ..errors import GET_AGAIN, BadInput, WeightsDamaged
from ..stability_keys import COMPONENTS
from ..weight_files import damaged, weights_of
from .tensor_files import Weightless, fill

__all__ = ["COMPONENTS", "Normalisation", "load_module", "load_normalisation", "load_scheduler", "warm_up"]

MODULES = {
    "unet": {"UNetSpatioTemporalConditionModel": "diffusers.models.unets.unet_spatio_temporal_condition"},
    "vae": {
        "AutoencoderKLTemporalDecoder": "diffusers.models.autoencoders.autoencoder_kl_temporal_decoder",
        "WarpAutoencoder": "svd_ui.core.families.warp_autoencoder",
    },
    "image_encoder": {"CLIPVisionModelWithProjection": "transformers.models.clip.modeling_clip"},
}
"""Component => class name => where it is defined. A folder cannot name code of its own."""
HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Normalisation:
    """What CLIP's image processor does to a picture that already has its size: (x - mean) / std per channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """``[B 3 H W]`` in [0, 1] => the same, normalised."""
        mean, std = (torch.tensor(v, dtype=pixels.dtype)[:, None, None] for v in (self.mean, self.std))
        return (pixels - mean) / std


def warm_up() -> None:
    """Import what every load needs, seconds that the first clip then does not wait."""
    for module in (*MODULES["unet"].values(), *MODULES["image_encoder"].values()):
        importlib.import_module(module)


def load_module(source: Path, component: str, dtype: torch.dtype, row: CheckpointRow) -> Any:
    """One component of ``source`` in ``dtype``, on the CPU, ready for inference.

    A class may fix its own number format as ``inference_dtype``, whatever the others run in. Raises WeightsDamaged.
    """
    with _remedy(row):
        cls = component_class(source, component, row)
        dtype = getattr(cls, "inference_dtype", dtype)
        weights = weights_of(source, component, _variants(dtype, row.variant))
        config = config_of(source, component, row, weights.tensors)
        with _usable(source, component), Weightless():
            module = _made(cls, config)
        try:
            fill(module, weights, dtype)
        except OSError as error:  # a disk that was unplugged, a file that was replaced
            raise damaged(weights.files[0], "unreadable", why=error.strerror or str(error)) from error
    return module.eval().requires_grad_(False)


def load_scheduler(source: Path, row: CheckpointRow) -> Any:
    """The scheduler, for its configuration; the loop is ours."""
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    with _remedy(row), _usable(source, "scheduler"):
        return EulerDiscreteScheduler.from_config(config_of(source, "scheduler", row))


def load_normalisation(source: Path, row: CheckpointRow) -> Normalisation:
    with _remedy(row), _usable(source, "feature_extractor"):
        config = config_of(source, "feature_extractor", row)
        mean, std = (tuple(float(one) for one in config[name]) for name in ("image_mean", "image_std"))
        if len(mean) != 3 or len(std) != 3 or not all(std):
            raise ValueError("three numbers each, image_mean and image_std")
        return Normalisation(mean, std)


def component_class(source: Path, component: str, row: CheckpointRow) -> Any:
    """The class that ``model_index.json`` names for ``component``, else the family's. Raises BadInput for an unknown one."""
    entry = config_of(source, "model_index", row).get(component)
    name = entry[1] if isinstance(entry, list) and len(entry) == 2 and entry[1] else CLASSES[component][1]
    known = MODULES[component]
    if name not in known:
        raise BadInput(f"This checkpoint's {component} is a {name}; supported: {', '.join(known)}.", field="checkpoint")
    return getattr(importlib.import_module(known[name]), name)


def _made(cls: Any, config: dict[str, Any]) -> Any:
    """A module without weights. Of transformers' classes a whole CLIP's configuration will do."""
    if hasattr(cls, "config_class"):
        return cls(cls.config_class.from_dict(config.get("vision_config") or config))
    return cls.from_config(config)


def _variants(dtype: torch.dtype, variant: str | None) -> tuple[str | None, ...]:
    """Which of a folder's precisions to read: half for half, which is half as much to read, and the full one for full.

    A row's variant of any other name (``non_ema``) is not one of precision and goes first.
    """
    if variant not in (None, "fp16", "bf16"):
        return (variant, None)
    return (variant or "fp16", "fp16", None) if dtype in HALF else (None, variant, "fp16")


@contextmanager
def _usable(source: Path, component: str) -> Iterator[None]:
    """What a class raises at a configuration of another model, as an error that names the file."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError, RuntimeError, IndexError) as error:
        file = FILES.get(component, f"{component}/config.json")
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise damaged(source / file, "bad_config", why=why[0][:160]) from error


@contextmanager
def _remedy(row: CheckpointRow) -> Iterator[None]:
    """Where a file only has to be got again, errors leave with the way to get this checkpoint's."""
    try:
        yield
    except WeightsDamaged as error:
        if error.params["remedy"] != GET_AGAIN:
            raise
        if row.is_on_hub and row.path is None:
            remedy = f"Download it again on the page, or with 'python -m svd_ui models download {row.id}'."
        else:
            remedy = f"Get it again from {row.link}." if row.link else GET_AGAIN
        raise WeightsDamaged(**{**error.params, "remedy": remedy}) from error
