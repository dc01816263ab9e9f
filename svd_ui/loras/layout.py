"""What a LoRA's file holds: its header, and the layer that each tensor belongs to, in the words of every program.

Names are as the programs write them: peft and diffusers, kohya-ss and LyCORIS, ComfyUI. A layer keeps the name it has
there; whether that is diffusers' or Stability's own, dots or underscores, is found out beside a model (``core/lora.py``).
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..notes import WORDS

_PATTERNS = [
    re.compile(pattern)
    for pattern in (
        # peft and today's diffusers, with or without the adapter's name
        r"(?P<target>.+)\.lora_(?P<part>A|B)(\.[^.]+)?\.(?P<of>weight|bias)",
        r"(?P<target>.+)\.lora_(?P<part>A|B)",
        # kohya-ss
        r"(?P<target>.+)\.lora_(?P<part>down|up)\.(?P<of>weight|bias)",
        # older diffusers: inside the layer, or inside its attention processor
        r"(?P<target>.+)\.lora(_linear_layer)?\.(?P<part>down|up|alpha)(\.weight)?",
        r"(?P<block>.+?)(\.processor)?\.(?P<layer>to_\w+?)_lora\.(?P<part>down|up|alpha)(\.weight)?",
        # DoRA (arXiv 2402.09353): peft's and LyCORIS' name for the length of each row or column
        r"(?P<target>.+)\.(?P<part>lora_magnitude_vector|dora_scale)(\.[^.]+)?(\.weight)?",
        # whole differences, as ComfyUI writes where two matrices would not be smaller
        r"(?P<target>.+)\.(?P<part>diff_b|diff)",
        r"(?P<target>.+)\.(lora_|network_)(?P<part>alpha)",
    )
]
_PARTS = {"A": "down", "B": "up", "lora_magnitude_vector": "magnitude", "dora_scale": "magnitude"}
_COMMON = {"lora_down.weight": "down", "lora_up.weight": "up", "lora_A.weight": "down", "lora_B.weight": "up"}
"""How most names end: there are collections of hundreds of files with thousands of tensors."""
_PREFIX = re.compile(r"(?:base_model\.model\.|(?:model\.)?diffusion_model\.|lora_unet_|lycoris_|unet\.|model\.)+")
_REFUSED: dict[str, str] = WORDS["refused LoRAs"]
"""A part of a tensor's name that no plain LoRA has => what such a file is; the first that is found counts."""
_OF_TRANSFORMERS = re.compile(r"((double|single|joint|transformer|single_transformer)_)?(blocks|layers)[._]\d")
"""How the layers of Wan, Flux, HunyuanVideo and the like begin; in a U-Net blocks are ``down``, ``up``, ``input`` or ``output``."""
_FORMATS = {"F64": "<d", "F32": "<f", "F16": "<e", "I64": "<q", "I32": "<i", "I16": "<h", "I8": "<b", "U8": "<B"}


@dataclass(frozen=True)
class LoraLayer:
    """Names of one layer's tensors in the file; there is a pair, a whole difference, or both.

    ``down [r in ...]`` and ``up [out r ...]`` are a pair, ``bias [out]`` what it adds to the layer's bias, ``magnitude``
    DoRA's length of each row or column, ``alpha []`` its strength. ``diff`` and ``diff_b`` are whole.
    """

    down: str | None = None
    up: str | None = None
    bias: str | None = None
    magnitude: str | None = None
    alpha: str | None = None
    diff: str | None = None
    diff_b: str | None = None


def read_numbers(path: Path, header: Mapping[str, Any], names: Collection[str]) -> dict[str, float]:
    """The tensors ``names``, which hold one number each. Raises ValueError for one that does not."""
    if not names:
        return {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        (length,) = struct.unpack_from("<Q", data)
        return {name: _number(name, header[name], data, 8 + length) for name in names}


def _number(name: str, about: Mapping[str, Any], data: mmap.mmap, tensors: int) -> float:
    kind, (start, end) = about["dtype"], about["data_offsets"]
    raw = data[tensors + start : tensors + end] if 0 < end - start <= 8 else b""
    if kind == "BF16":
        kind, raw = "F32", b"\0\0" + raw
    if math.prod(about["shape"]) != 1 or kind not in _FORMATS or len(raw) != struct.calcsize(_FORMATS[kind]):
        raise ValueError(f"{name} is no number")
    (number,) = struct.unpack(_FORMATS[kind], raw)
    if not math.isfinite(number):
        raise ValueError(f"{name} is no number")
    return float(number)


def layers(names: Iterable[str], title: str) -> dict[str, LoraLayer]:
    """Layer => its tensors, layers without their program's prefix. Raises BadInput that says why a file is refused.

    A layer of kohya's keeps its underscores (``down_blocks_0_attentions_0``): only the model knows where dots belong.
    """
    names = list(names)
    together = "\n".join(names)
    for mark, reason in _REFUSED.items():
        if mark in together:
            raise refused(title, reason)
    found: dict[str, dict[str, str]] = {}
    for name in names:
        target, part = _read(name, title)
        if part in found.setdefault(target, {}):
            raise refused(title, f"it holds several LoRAs in one: {found[target][part][:80]!r} and {name[:80]!r}")
        found[target][part] = name
    if not found:
        raise refused(title, "it holds no LoRA tensors")
    for target, parts in found.items():
        pair = {"down", "up"} & parts.keys()
        if len(pair) == 1 or not (pair or {"diff", "diff_b"} & parts.keys()):
            raise refused(title, f"half of its pair for {target!r} is missing")
    if all(map(_OF_TRANSFORMERS.match, found)):
        raise refused(title, _REFUSED["transformer."])
    return {target: LoraLayer(**parts) for target, parts in found.items()}


def ranks(header: Mapping[str, Any], table: Mapping[str, LoraLayer], title: str) -> dict[str, int]:
    """The inner size of each pair, by layer. Raises BadInput where the two halves do not fit each other, or are no fractions."""
    whole = {about["dtype"] for name, about in header.items() if not name.endswith("alpha")}
    if odd := sorted(format for format in whole if not format.startswith(("F", "BF"))):
        raise refused(title, f"its weights are stored as {', '.join(odd)}: only fp16 and fp32 are supported")
    return {target: _rank(header, layer, title) for target, layer in table.items() if layer.down and layer.up}


def _rank(header: Mapping[str, Any], layer: LoraLayer, title: str) -> int:
    down, up = (header[str(name)]["shape"] for name in (layer.down, layer.up))
    if len(down) < 2 or len(up) < 2 or not down[0] or down[0] != up[1]:
        raise refused(title, f"the two halves {layer.down!r} {down} and {layer.up!r} {up} do not fit each other")
    return int(down[0])


def metadata_of(header: Mapping[str, Any]) -> dict[str, Any]:
    told = header.get("__metadata__")
    return told if isinstance(told, dict) else {}


def refused(title: str, reason: str) -> BadInput:
    return BadInput(f"The LoRA {title} cannot be used: {reason}.", field="loras")


def _read(name: str, title: str) -> tuple[str, str]:
    """Name in the file => (layer, field of ``LoraLayer``)."""
    *target, last, end = ("", *name.rsplit(".", 2))[-3:]
    if target[0] and (part := _COMMON.get(f"{last}.{end}")):
        return _bare(target[0]), part
    if end == "alpha" and not last.endswith(("lora", "lora_linear_layer")):
        return _bare(name.removesuffix(".alpha")), "alpha"
    for match in filter(None, (pattern.fullmatch(name) for pattern in _PATTERNS)):
        groups = match.groupdict()
        layer = groups.get("target") or f"{groups['block']}.{groups['layer']}"
        part = _PARTS.get(groups["part"], groups["part"])
        if groups.get("of") == "bias":
            if part != "up":
                break
            part = "bias"
        return _bare(layer), part
    raise refused(title, f"it holds a tensor of another kind, {name[:80]!r}")


def _bare(target: str) -> str:
    prefix = _PREFIX.match(target)
    return target[prefix.end() :] if prefix else target
