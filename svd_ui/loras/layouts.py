"""How LoRA files of different programs name their tensors, brought to one form. Names only; no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import BadInput

_PATTERNS = (
    # peft and today's diffusers, with or without the adapter's name
    (re.compile(r"(?P<target>.+)\.lora_(?P<part>A|B)(\.[\w-]+)?\.weight"), "{target}"),
    # kohya-ss
    (re.compile(r"(?P<target>.+)\.lora_(?P<part>down|up)\.weight"), "{target}"),
    # older diffusers: inside the layer, or inside its attention processor
    (re.compile(r"(?P<target>.+)\.lora\.(?P<part>down|up)\.weight"), "{target}"),
    (re.compile(r"(?P<target>.+)\.processor\.(?P<layer>to_\w+?)_lora\.(?P<part>down|up)\.weight"), "{target}.{layer}"),
)
_ALPHA = re.compile(r"(?P<target>.+)\.alpha")
_PREFIXES = ("base_model.model.", "unet.", "lora_unet_", "diffusion_model.", "model.")
_REFUSED = (
    (
        "motion_modules.",
        "it is an AnimateDiff motion LoRA, for motion modules that Stable Video Diffusion does not have",
    ),
    ("hada_", "it is a LoHa; only plain LoRAs are supported"),
    ("lokr_", "it is a LoKr; only plain LoRAs are supported"),
    ("dora_scale", "it is a DoRA; only plain LoRAs are supported"),
    ("lora_magnitude_vector", "it is a DoRA; only plain LoRAs are supported"),
    ("lora_te", "it also changes a text encoder, so it was made for a text-to-image model"),
    ("text_encoder.", "it also changes a text encoder, so it was made for a text-to-image model"),
    ("transformer.", "it was made for a transformer video model"),
)


@dataclass(frozen=True)
class Pair:
    """Names of one layer's tensors in the file: ``down [r in ...]``, ``up [out r ...]`` and, perhaps, ``alpha []``."""

    down: str
    up: str
    alpha: str | None = None


def pairs(names: Iterable[str], title: str) -> dict[str, Pair]:
    """Layer => its tensors, layers without their program's prefix. Raises BadInput that says why a file is refused.

    A layer of kohya's keeps its underscores (``down_blocks_0_attentions_0``): only the model knows where dots belong.
    """
    names = list(names)
    for mark, reason in _REFUSED:
        if any(mark in name for name in names):
            raise refused(title, reason)
    found: dict[str, dict[str, str]] = {}
    for name in names:
        target, part = _read(name, title)
        found.setdefault(target, {})[part] = name
    if not found:
        raise refused(title, "it holds no LoRA tensors")
    lonely = [target for target, parts in found.items() if not {"down", "up"} <= parts.keys()]
    if lonely:
        raise refused(title, f"half of its pair for {lonely[0]!r} is missing")
    return {target: Pair(parts["down"], parts["up"], parts.get("alpha")) for target, parts in found.items()}


def refused(title: str, reason: str) -> BadInput:
    return BadInput(f"The LoRA {title} cannot be used: {reason}.", field="loras")


def _read(name: str, title: str) -> tuple[str, str]:
    """Name in the file => (layer, ``down`` | ``up`` | ``alpha``)."""
    for pattern, form in _PATTERNS:
        match = pattern.fullmatch(name)
        if match:
            part = {"A": "down", "B": "up"}.get(match["part"], match["part"])
            return _bare(form.format_map(match.groupdict())), part
    match = _ALPHA.fullmatch(name)
    if match is None:
        raise refused(title, f"it holds a tensor of another kind, {name[:60]!r}")
    return _bare(match["target"]), "alpha"


def _bare(target: str) -> str:
    for prefix in _PREFIXES:
        target = target.removeprefix(prefix)
    return target
