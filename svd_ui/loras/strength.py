"""How strongly a LoRA was trained to act: the factor before ``up @ down`` of each layer, and where it was read.

It is ``alpha / r`` (Hu et al. 2021, arXiv 2106.09685, section 4.1), or ``alpha / sqrt(r)`` with rsLoRA (arXiv 2312.03732).
Programs keep alpha in different places: peft in ``adapter_config.json`` beside the file, diffusers in the file's metadata
under ``lora_adapter_metadata``, kohya-ss in a tensor of each layer and in ``ss_network_alpha``. Some keep none.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..notes import WORDS, Note
from .layout import LoraLayer, metadata_of, read_numbers, refused

CONFIG = "adapter_config.json"
_INSIDE = ("lora_adapter_metadata", "adapter_config", "peft_config", "lora_config")
"""Metadata that holds a configuration of peft's as JSON; the first is diffusers' name for it."""
_PLAIN = ("lora_alpha", "network_alpha", "alpha")
"""Metadata that holds the number itself."""
_SPECIAL: dict[str, str] = WORDS["refused adapters"]
"""A setting of peft's that makes an adapter something else than a sum => what it is then."""
_MOVED = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Starts that change the checkpoint's own weights too, which no file of such an adapter holds."""


@dataclass(frozen=True)
class Strengths:
    """``factors`` by layer, ``alpha`` where all layers share one, and ``notes`` on what a person should know."""

    factors: dict[str, float]
    alpha: float | None
    notes: tuple[Note, ...]


def strengths(
    path: Path, header: Mapping[str, Any], table: Mapping[str, LoraLayer], ranks: Mapping[str, int], title: str
) -> Strengths:
    """The factor of each layer with a rank. Raises BadInput for an adapter that is more than a sum, or a damaged alpha."""
    metadata = metadata_of(header)
    inside, beside = _inside(metadata), _beside(path)
    notes = [
        Note.of("lora_config_of_another", title=title, where=where)
        for where, config in (("its metadata", inside), (CONFIG, beside))
        if config and not _belongs(config, ranks)
    ]
    inside, beside = (config if config and _belongs(config, ranks) else {} for config in (inside, beside))
    _require_plain(inside or beside, title)
    try:
        alphas = read_numbers(path, header, [name for target in ranks if (name := table[target].alpha)])
    except ValueError as error:
        raise refused(title, "an alpha in it is no number") from error
    factors, unknown, shared = {}, 0, False
    for target, rank in ranks.items():
        tensor = table[target].alpha
        kernel = max(header[str(table[target].down)]["shape"][2:], default=1)
        factor = _by_config(inside, target, rank)
        if factor is None and tensor is not None:
            factor = alphas[tensor] / rank
        if factor is None:
            factor = _by_config(beside, target, rank)
            shared = shared or factor is not None
        if factor is None:
            alpha = _by_metadata(metadata, rank, kernel)
            factor, unknown = (1.0, unknown + 1) if alpha is None else (alpha / rank, unknown)
        factors[target] = factor
    if shared and len([one for one in path.parent.iterdir() if one.suffix == path.suffix]) > 1:
        notes.append(Note.of("lora_config_shared", title=title, where=CONFIG))
    if unknown:
        some = "" if unknown == len(ranks) else f" for {unknown} of {len(ranks)} layers"
        notes.append(Note.of("lora_alpha_assumed", title=title, some=some))
    alphas_in_force = {round(factor * ranks[target], 4) for target, factor in factors.items()}
    alpha = alphas_in_force.pop() if len(alphas_in_force) == 1 and not unknown else None
    return Strengths(factors, alpha, tuple(notes))


def _inside(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in a file's metadata; {} for none. diffusers writes ``unet.`` before what is the U-Net's."""
    for name in _INSIDE:
        config = _json(metadata.get(name))
        config = {str(key).removeprefix("unet."): value for key, value in config.items()}
        inner = [value for value in config.values() if isinstance(value, dict) and "lora_alpha" in value]
        config = inner[0] if "lora_alpha" not in config and len(inner) == 1 else config
        if "lora_alpha" in config:
            return config
    return {}


def _beside(path: Path) -> dict[str, Any]:
    try:
        return _json((path.parent / CONFIG).read_bytes())
    except OSError:
        return {}


def _json(text: str | bytes | None) -> dict[str, Any]:
    try:
        data = json.loads(text or "null")
    except (ValueError, TypeError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _belongs(config: Mapping[str, Any], ranks: Mapping[str, int]) -> bool:
    """Whether the file's layers and ranks are those of ``config``: one that was resized, or is of another LoRA, tells no alpha."""
    named = config.get("target_modules")
    if isinstance(named, list) and not all(any(_same_end(target, str(name)) for name in named) for target in ranks):
        return False
    told = (
        (_pattern(config, "rank_pattern", target) or _number(config.get("r")), rank) for target, rank in ranks.items()
    )
    return all(r is None or r == rank for r, rank in told)


def _same_end(target: str, name: str) -> bool:
    target, name = (f"_{one.replace('.', '_').removesuffix('_0')}" for one in (target, name))
    return target.endswith(name) or name.endswith(target)


def _require_plain(config: Mapping[str, Any], title: str) -> None:
    kind = str(config.get("peft_type") or "LORA").upper()
    if kind != "LORA":
        raise refused(title, f"it is an adapter of the kind {kind[:40]}; only LoRAs are supported")
    start = str(config.get("init_lora_weights") or "").lower()
    if start.startswith(_MOVED):
        raise refused(title, _SPECIAL["init_lora_weights"].format(start=start[:40]))
    for name, reason in _SPECIAL.items():
        if name != "init_lora_weights" and config.get(name):
            raise refused(title, reason)


def _by_config(config: Mapping[str, Any], target: str, rank: int) -> float | None:
    alpha = _pattern(config, "alpha_pattern", target)
    alpha = _number(config.get("lora_alpha")) if alpha is None else alpha
    if alpha is None:
        return None
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _pattern(config: Mapping[str, Any], name: str, target: str) -> float | None:
    """What a pattern says of a layer: its keys are ends of layers' names, or regular expressions for them."""
    patterns = config.get(name)
    for key, value in patterns.items() if isinstance(patterns, dict) else ():
        try:
            if any(re.match(rf"(.*\.)?({key})$", one) for one in (target, f"unet.{target}")):
                return _number(value)
        except re.error:
            continue
    return None


def _by_metadata(metadata: Mapping[str, Any], rank: int, kernel: int) -> float | None:
    """Alpha as kohya-ss notes it, convolutions with a kernel apart, or as a plain number of the file's metadata."""
    args = _json(metadata.get("ss_network_args"))
    kinds = [(args, "conv_dim", "conv_alpha")] if kernel > 1 and args.get("conv_dim") else []
    for told, dim, name in (*kinds, (metadata, "ss_network_dim", "ss_network_alpha")):
        alpha, of = _number(told.get(name)), _number(told.get(dim))
        if alpha is not None and of in (None, rank):
            return alpha
        if kinds:
            return None
    return next((alpha for name in _PLAIN if (alpha := _number(metadata.get(name))) is not None), None)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
