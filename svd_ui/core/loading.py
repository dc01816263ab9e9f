"""A diffusers folder on disk => its modules. Safetensors only, classes from an allow-list, no network.

diffusers and transformers take seconds to import, so that happens here, at the first load.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import BadInput, WeightsMissing
from ..hub.layout import variant_in

MODULES = {
    "unet": {"UNetSpatioTemporalConditionModel": "diffusers.models.unets.unet_spatio_temporal_condition"},
    "vae": {
        "AutoencoderKLTemporalDecoder": "diffusers.models.autoencoders.autoencoder_kl_temporal_decoder",
        "WarpAutoencoder": "svd_ui.core.families.warp_autoencoder",
    },
    "image_encoder": {"CLIPVisionModelWithProjection": "transformers.models.clip.modeling_clip"},
}
"""Component => class name => where it is defined. A folder cannot name code of its own."""


@dataclass(frozen=True)
class Normalisation:
    """What CLIP's image processor does to a picture that already has its size: (x - mean) / std per channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def read(cls, folder: Path) -> Normalisation:
        data = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
        return cls(tuple(data["image_mean"]), tuple(data["image_std"]))

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """``[B 3 H W]`` in [0, 1] => the same, normalised."""
        mean, std = (torch.tensor(v, dtype=pixels.dtype)[:, None, None] for v in (self.mean, self.std))
        return (pixels - mean) / std


def warm_up() -> None:
    """Import what every load needs, seconds that the first clip then does not wait."""
    for module in (*MODULES["unet"].values(), *MODULES["image_encoder"].values()):
        importlib.import_module(module)


def component_class(component: str, index: dict[str, Any]) -> Any:
    """The class that ``model_index.json`` names for ``component``; raises BadInput for one we do not know."""
    _, name = index.get(component) or (None, None)
    known = MODULES[component]
    if name not in known:
        raise BadInput(f"This checkpoint's {component} is a {name}; supported: {', '.join(known)}.", field="checkpoint")
    return getattr(importlib.import_module(known[name]), name)


def weight_variant(folder: Path, variant: str | None, title: str) -> str | None:
    """``variant`` where its files are here, else that of the files there are. Raises WeightsMissing without safetensors."""
    try:
        return variant_in(folder, variant)
    except FileNotFoundError:
        remedy = f"No .safetensors file is in its folder {folder.name!r}."
        raise WeightsMissing(title=title, remedy=remedy) from None


def hide_progress_bars() -> None:
    """Loading takes a second or two and the log of a worker is read by people."""
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def load_module(folder: Path, component: str, dtype: torch.dtype, variant: str | None, title: str) -> Any:
    """One component in ``dtype``, on the CPU, ready for inference.

    A class may fix its own number format as ``inference_dtype``, whatever the others run in.
    """
    cls = component_class(component, read_index(folder))
    dtype = getattr(cls, "inference_dtype", dtype)
    hide_progress_bars()
    part = folder / component
    module = cls.from_pretrained(
        part,
        variant=weight_variant(part, variant, title),
        use_safetensors=True,
        local_files_only=True,
        dtype=dtype,
    )
    return module.eval().requires_grad_(False)


def load_scheduler(folder: Path) -> Any:
    """The scheduler, for its configuration; the loop is ours."""
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    return EulerDiscreteScheduler.from_pretrained(folder / "scheduler", local_files_only=True)


def read_index(folder: Path) -> dict[str, Any]:
    """``model_index.json``; raises WeightsMissing when it is not there."""
    try:
        data: dict[str, Any] = json.loads((folder / "model_index.json").read_text("utf-8"))
    except FileNotFoundError as error:
        raise WeightsMissing(title=folder.name, remedy="Its folder holds no model_index.json.") from error
    return data
