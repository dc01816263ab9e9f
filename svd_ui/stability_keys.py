"""Where a tensor of diffusers' modules lies in a file of Stability's own layout. No torch.

ComfyUI, Forge and SwarmUI read one file of everything: ``svd_xt.safetensors`` holds the U-Net as ``model.diffusion_model.*``,
the autoencoder as ``first_stage_model.*`` and OpenCLIP's image tower as ``conditioner.embedders.0.open_clip.model.visual.*``.
The encoder that made the conditioning latents in training lies apart, with its ``quant_conv``, as
``conditioner.embedders.3.encoder.*``; the encoder in ``first_stage_model`` has none. Files that ComfyUI saved have only that
one, and the image tower by transformers' names behind the same prefix.

The names are facts read in diffusers' ``scripts/convert_svd_to_diffusers.py`` and its conversion tables (Apache-2.0), in
Stability's generative-models (``scripts/sampling/configs``, ``sgm/modules``; MIT) and in OpenCLIP's ``VisionTransformer`` (MIT),
and compared with the tables of the file's 2,194 names in DiffSynth-Studio (``diffsynth/models/svd_*.py``; Apache-2.0); what
ComfyUI saves was read in its ``comfy/supported_models_base.py``. No code of theirs is here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["COMPONENTS", "Header", "TensorSource", "Tensors", "diffusers_unet_name", "stability_unet_name"]

COMPONENTS = ("unet", "vae", "image_encoder")
Header = Mapping[str, Any]
"""What ``weight_files.read_header`` reads: name => ``{"dtype": "F16", "shape": [...], "data_offsets": [...]}``."""

_PREFIXES = {
    "unet": ("model.diffusion_model.", "diffusion_model."),
    "vae": ("first_stage_model.",),
    "image_encoder": ("conditioner.embedders.0.open_clip.model.visual.", "visual."),
}
_FIRST = {
    "unet": "input_blocks.0.0.weight",
    "vae": "decoder.up.0.block.0.conv1.weight",
    "image_encoder": "transformer.resblocks.0.ln_1.weight",
}
"""A tensor that tells Stability's layout of a component, and in diffusers' one."""
_FIRST_OF_DIFFUSERS = {
    "unet": "down_blocks.0.resnets.0.spatial_res_block.conv1.weight",
    "vae": "decoder.up_blocks.0.resnets.0.spatial_res_block.conv1.weight",
    "image_encoder": "vision_model.encoder.layers.0.layer_norm1.weight",
}
_CONDITIONING_ENCODER = re.compile(r"((?:.+\.)?conditioner\.embedders\.\d+\.encoder\.)quant_conv\.weight")

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_TRANSFORMER = {
    "temporal_transformer_blocks": "time_stack",
    "time_pos_embed.linear_1": "time_pos_embed.0",
    "time_pos_embed.linear_2": "time_pos_embed.2",
}
_VAE_ENDS = {"conv_norm_out": "norm_out", "time_conv_out": "conv_out.time_mix_conv"}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_CLIP_ENDS = {
    "vision_model.embeddings.class_embedding": "class_embedding",
    "vision_model.embeddings.patch_embedding": "conv1",
    "vision_model.embeddings.position_embedding.weight": "positional_embedding",
    "vision_model.pre_layrnorm": "ln_pre",
    "vision_model.post_layernorm": "ln_post",
}
_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


@dataclass(frozen=True)
class TensorSource:
    """One tensor of a module in the file: ``name`` as it is, or the ``third`` (q 0, k 1, v 2) of its rows, or transposed.

    Without a name it is in no file: the identity, which is what a missing ``quant_conv`` does.
    """

    name: str | None
    third: int | None = None
    transposed: bool = False

    def shape(self, header: Header) -> tuple[int, ...] | None:
        if self.name is None or self.name not in header:
            return None
        rows, *rest = header[self.name]["shape"] or [1]
        if self.third is not None:
            rows //= 3
        return (*reversed(rest), rows) if self.transposed else (rows, *rest)


@dataclass(frozen=True)
class Tensors:
    """One component's tensors in a file of either layout, asked for by diffusers' names.

    ``prefix`` stands before its names, which are ``stability``'s or diffusers'. ``depth`` is what Stability's numbering
    depends on: a U-Net's resnets per block, an autoencoder's levels.
    """

    header: Header
    component: str
    prefix: str = ""
    stability: bool = False
    depth: int = 0
    encoder_prefix: str = ""

    @classmethod
    def find(cls, header: Header, component: str) -> Tensors | None:
        """The component in the file; None where it is not there, whole or in part."""
        prefix = _prefix(header, component, _FIRST_OF_DIFFUSERS[component])
        if prefix is not None:
            return cls(header, component, prefix)
        prefix = _prefix(header, component, _FIRST[component])
        if prefix is None:
            return None
        if component == "unet":
            return cls(header, component, prefix, True, _resnets_per_block(header, prefix))
        if component == "vae":
            levels = _count(header, prefix + "decoder.up.{}.block.0.conv1.weight")
            apart = next((found[1] for found in map(_CONDITIONING_ENCODER.fullmatch, header) if found), prefix)
            return cls(header, component, prefix, True, levels, apart)
        return cls(header, component, prefix, True)

    def source(self, name: str) -> TensorSource:
        """Where diffusers' tensor ``name`` is."""
        if not self.stability:
            return TensorSource(self.prefix + name)
        if self.component == "unet":
            return TensorSource(self.prefix + stability_unet_name(name, self.depth))
        if self.component == "image_encoder":
            return _clip_source(name, self.prefix)
        prefix = self.prefix if name.startswith("decoder.") else self.encoder_prefix
        found = prefix + _vae_name(name, self.depth)
        return TensorSource(None if name.startswith("quant_conv.") and found not in self.header else found)

    def name(self, own: str) -> str | None:
        """What diffusers calls the tensor that the file calls ``own``; None for another component's.

        In Stability's layout it is known of the U-Net's only.
        """
        if not own.startswith(self.prefix) or (self.stability and self.component != "unet"):
            return None
        bare = own.removeprefix(self.prefix)
        return diffusers_unet_name(bare, self.depth) if self.stability else bare

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Of diffusers' tensor ``name``; None where it is not in the file."""
        return self.source(name).shape(self.header)

    def count(self, pattern: str) -> int:
        """How many tensors ``pattern`` names, ``{}`` counting up from 0."""
        number = 0
        while self.shape(pattern.format(number)) is not None:
            number += 1
        return number

    def formats(self) -> set[str]:
        """Safetensors' names of the number formats its tensors are stored in."""
        prefixes = (self.prefix, self.encoder_prefix) if self.encoder_prefix else (self.prefix,)
        return {entry["dtype"] for name, entry in self.header.items() if name.startswith(prefixes) and "dtype" in entry}


def _prefix(header: Header, component: str, first: str) -> str | None:
    """What stands before ``first`` in the file, also where a trainer wrapped the model: ``module.``, ``model.``, ``unet_ema.``."""
    known = (f"{component}.", *_PREFIXES[component])
    bare = next((one for one in ("", *known) if one + first in header), None)
    if bare is not None:
        return bare
    # A picture's autoencoder in the conditioner has the names of this one: only a U-Net's are enough alone.
    ends = tuple(f".{one}{first}" for one in (*known, *([""] if component == "unet" else [])))
    return min((name.removesuffix(first) for name in header if name.endswith(ends)), key=len, default=None)


def stability_unet_name(name: str, resnets_per_block: int = 2) -> str:
    """Stability's name (without a prefix) of the U-Net's tensor or layer that diffusers calls ``name``."""
    block = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    if block:
        side, level, kind, at, rest = block[1], int(block[2]), block[3], int(block[4]), block[5]
        number = level * (resnets_per_block + 1) + at
        if kind == "downsamplers":
            return f"input_blocks.{(level + 1) * (resnets_per_block + 1)}.0.{_swap(rest, {'conv': 'op'})}"
        if kind == "upsamplers":  # after the attention, which the lowest level has none of
            return f"output_blocks.{number + resnets_per_block}.{2 if level else 1}.{rest}"
        place = f"input_blocks.{number + 1}" if side == "down" else f"output_blocks.{number}"
        return f"{place}.0.{_resnet(rest)}" if kind == "resnets" else f"{place}.1.{_swap(rest, _TRANSFORMER)}"
    middle = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name)
    if middle and middle[1] == "resnets":
        return f"middle_block.{2 * int(middle[2])}.{_resnet(middle[3])}"
    return f"middle_block.1.{_swap(middle[3], _TRANSFORMER)}" if middle else _swap(name, _UNET_ENDS)


def diffusers_unet_name(name: str, resnets_per_block: int = 2) -> str:
    """The inverse of ``stability_unet_name``."""
    block = re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)", name)
    if block and (block[1], block[2]) != ("input", "0"):
        side, rest = "down" if block[1] == "input" else "up", block[4]
        level, at = divmod(int(block[2]) - (side == "down"), resnets_per_block + 1)
        if rest.partition(".")[0] in ("op", "conv"):
            return f"{side}_blocks.{level}.{side}samplers.0.{_swap(rest, {'op': 'conv'})}"
        if block[3] == "0":
            return f"{side}_blocks.{level}.resnets.{at}.{_diffusers_resnet(rest)}"
        return f"{side}_blocks.{level}.attentions.{at}.{_swap(rest, _inverse(_TRANSFORMER))}"
    middle = re.fullmatch(r"middle_block\.(\d)\.(.+)", name)
    if middle and middle[1] == "1":
        return f"mid_block.attentions.0.{_swap(middle[2], _inverse(_TRANSFORMER))}"
    if middle:
        return f"mid_block.resnets.{int(middle[1]) // 2}.{_diffusers_resnet(middle[2])}"
    return _swap(name, _inverse(_UNET_ENDS))


def _diffusers_resnet(rest: str) -> str:
    if rest.partition(".")[0] == "time_mixer":
        return rest
    part = "temporal_res_block" if rest.startswith("time_stack.") else "spatial_res_block"
    return f"{part}.{_swap(rest.removeprefix('time_stack.'), _inverse(_RESNET))}"


def _inverse(names: Mapping[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in names.items()}


def _resnet(rest: str) -> str:
    """``temporal_res_block.conv1.weight`` => ``time_stack.in_layers.2.weight``."""
    part, _, layer = rest.partition(".")
    if part == "time_mixer":
        return rest
    return ("time_stack." if part == "temporal_res_block" else "") + _swap(layer, _RESNET)


def _vae_name(name: str, levels: int) -> str:
    block = re.fullmatch(r"(encoder|decoder)\.(?:down|up)_blocks\.(\d+)\.(resnets|\w+samplers)\.(\d+)\.(.+)", name)
    if block:
        side, level, kind, at, rest = block[1], int(block[2]), block[3], block[4], block[5]
        # Stability counts the decoder's levels from the picture down, as the encoder's.
        place = f"encoder.down.{level}" if side == "encoder" else f"decoder.up.{levels - 1 - level}"
        if kind == "resnets":
            return f"{place}.block.{at}.{_vae_resnet(rest)}"
        return f"{place}.{kind.removesuffix('rs')}.{rest}"
    middle = re.fullmatch(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name)
    if middle:
        place = f"{middle[1]}.mid.{'block' if middle[2] == 'resnets' else 'attn'}_{int(middle[3]) + 1}"
        return f"{place}.{_vae_resnet(middle[4]) if middle[2] == 'resnets' else _swap(middle[4], _VAE_ATTENTION)}"
    side, _, rest = name.partition(".")
    return f"{side}.{_swap(rest, _VAE_ENDS)}" if side in ("encoder", "decoder") else name


def _vae_resnet(rest: str) -> str:
    """Its spatial half is written out in the resnet itself."""
    if rest.startswith("temporal_res_block."):
        return _resnet(rest)
    rest = rest.removeprefix("spatial_res_block.").removeprefix("time_mixer.")
    return _swap(rest, {"conv_shortcut": "nin_shortcut"})


def _clip_source(name: str, prefix: str) -> TensorSource:
    if name == "visual_projection.weight":
        return TensorSource(prefix + "proj", transposed=True)
    layer = re.fullmatch(r"vision_model\.encoder\.layers\.(\d+)\.(.+)", name)
    if layer is None:
        return TensorSource(prefix + _swap(name, _CLIP_ENDS))
    place = f"{prefix}transformer.resblocks.{layer[1]}."
    third = re.fullmatch(r"self_attn\.([qkv])_proj\.(weight|bias)", layer[2])
    if third:
        return TensorSource(f"{place}attn.in_proj_{third[2]}", third="qkv".index(third[1]))
    return TensorSource(place + _swap(layer[2], _CLIP_LAYER))


def _swap(name: str, names: Mapping[str, str]) -> str:
    """``name`` with the layer at its beginning called what ``names`` calls it."""
    for ours, theirs in names.items():
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    return name


def _resnets_per_block(header: Header, prefix: str) -> int:
    """Between the first convolution and the first step down, or the end where there is none."""
    number = 1
    while f"{prefix}input_blocks.{number}.0.in_layers.0.weight" in header:
        number += 1
    return number - 1


def _count(header: Header, pattern: str) -> int:
    number = 0
    while pattern.format(number) in header:
        number += 1
    return number
