"""What a safetensors file is, by its header alone: names, shapes and number formats. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .notes import WORDS, Note
from .stability_keys import COMPONENTS, Header, Tensors
from .weight_files import FORMATS

__all__ = ["Kind", "kind_of"]

WHOLE_NUMBERS = {"I64", "I32"}
"""Older transformers stored the numbers of the positions too."""
What = Literal["pipeline", "unet", "lora", "other"]
_LORA = re.compile(r"\.lora_|\.lora\.(up|down)\.|_lora\.|\.hada_|\.lokr_|\.alpha$")
_OTHERS: dict[str, str] = WORDS["other weight files"]
"""A part of a tensor's name => what such a file is; the first that is found counts."""


@dataclass(frozen=True)
class Kind:
    """What a weight file is. ``pipeline`` has everything; ``unet`` a U-Net of the family and what else ``parts`` names.

    ``trouble`` says why it cannot be used, or of a ``unet`` what is missing beside it; its parameter ``file`` is the
    file's name. ``stability`` is whether its names are Stability's.
    """

    what: What
    parts: frozenset[str] = frozenset()
    stability: bool = False
    trouble: Note | None = None


def kind_of(header: Header, file: str = "") -> Kind:
    """What the file with this header is, by its tensors' names, shapes and number formats; never by its own name."""
    names = [name for name in header if name != "__metadata__"]
    if any(_LORA.search(name) for name in names):
        return Kind("lora", trouble=Note.of("file_is_lora", file=file))
    found = {part: tensors for part in COMPONENTS if (tensors := Tensors.find(header, part)) is not None}
    unet = found.get("unet")
    if unet is None or not _is_video(unet) or unet.shape("conv_out.weight") is None:
        return Kind("other", trouble=_other(names, file))
    numbers, picture, noise = (
        unet.shape(f"{name}.weight") for name in ("add_embedding.linear_1", "conv_in", "conv_out")
    )
    if numbers is None or numbers[1] % 3:  # beside the picture go fps, motion and noise; SV3D and SV4D take angles
        return Kind("other", trouble=Note.of("file_is_other", file=file, what=WORDS["other weight files"]["sv3d"]))
    if picture is None or noise is None or picture[1] != 2 * noise[0]:
        channels = (picture or (0, 0))[1]
        return Kind("other", trouble=Note.of("file_takes_more", file=file, channels=channels))
    strange = sorted({one for tensors in found.values() for one in tensors.formats() - FORMATS - WHOLE_NUMBERS})
    if strange:
        return Kind("other", trouble=Note.of("file_is_quantised", file=file, formats=strange))
    parts = frozenset(part for part, tensors in found.items() if _is_whole(part, tensors))
    stability = unet.stability
    if parts == set(COMPONENTS):
        return Kind("pipeline", parts, stability)
    missing = [WORDS["components"][part] for part in COMPONENTS if part not in parts]
    if "vae" in found and "vae" not in parts:
        return Kind("unet", parts, stability, Note.of("file_without_time", file=file, missing=missing))
    return Kind("unet", parts, stability, Note.of("file_lacks", file=file, missing=missing))


def _is_video(unet: Tensors) -> bool:
    return unet.shape("mid_block.resnets.0.temporal_res_block.conv1.weight") is not None


def _is_whole(part: str, tensors: Tensors) -> bool:
    """An autoencoder needs its encoder, and a decoder that knows of time."""
    wanted = {
        "unet": ["conv_out.weight"],
        "vae": ["encoder.conv_out.weight", "decoder.time_conv_out.weight"],
        "image_encoder": ["visual_projection.weight"],
    }
    return all(tensors.shape(name) is not None for name in wanted[part])


def _other(names: Sequence[str], file: str) -> Note:
    for mark, what in _OTHERS.items():
        if any(mark in name for name in names):
            return Note.of("file_is_other", file=file, what=what)
    return Note.of("file_unknown", file=file)
