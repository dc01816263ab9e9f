"""Tiny pipelines written as Stability writes them: one file in its own key layout.

The names are made by walking modules block by block, as generative-models counts its blocks while it builds them, so that
nothing here shares a mistake with the map that is tested.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP = "conditioner.embedders.0.open_clip.model."
ENCODER = "conditioner.embedders.3.encoder."
Names = dict[str, Tensor]


def modules_of(folder: Path, variant: str | None = None) -> tuple[Any, Any, Any]:
    """U-Net, autoencoder and picture encoder of a diffusers folder, by diffusers and transformers themselves."""
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
    from transformers import CLIPVisionModelWithProjection

    classes = (UNetSpatioTemporalConditionModel, AutoencoderKLTemporalDecoder, CLIPVisionModelWithProjection)
    names = ("unet", "vae", "image_encoder")
    return tuple(cls.from_pretrained(folder / name, variant=variant) for cls, name in zip(classes, names, strict=True))


def save_single_file(
    folder: Path, path: Path, *, dtype: torch.dtype | None = None, variant: str | None = None, pruned: bool = False
) -> Path:
    """The pipeline in ``folder`` as one file, in ``dtype``. ``pruned`` leaves out what ComfyUI's own files do not have."""
    tensors = stability_tensors(*modules_of(folder, variant), pruned=pruned)
    if dtype is not None:
        tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def stability_tensors(unet: Any, vae: Any, clip: Any, *, pruned: bool = False) -> Names:
    """Every tensor of such a file. The autoencoder's encoder is there twice: in the conditioner with its last convolution
    (``quant_conv``) apart, in the first stage with it multiplied in."""
    found = {f"{UNET}{name}": tensor for name, tensor in unet_tensors(unet).items()}
    encoder = encoder_tensors(vae.encoder)
    quant = vae.quant_conv.weight.flatten(1), vae.quant_conv.bias
    last = encoder["encoder.conv_out.weight"], encoder["encoder.conv_out.bias"]
    merged = {
        "encoder.conv_out.weight": torch.einsum("oi,ihkw->ohkw", quant[0], last[0]),
        "encoder.conv_out.bias": quant[0] @ last[1] + quant[1],
    }
    for name, tensor in {**encoder, **merged, **decoder_tensors(vae.decoder)}.items():
        found[f"{VAE}{name}"] = tensor
    found |= {f"{CLIP}visual.{name}": tensor for name, tensor in clip_tensors(clip).items()}
    if not pruned:
        conditioner = {**encoder, "quant_conv.weight": vae.quant_conv.weight, "quant_conv.bias": quant[1]}
        conditioner["post_quant_conv.weight"] = torch.eye(4)[:, :, None, None]
        conditioner["decoder.conv_in.weight"] = torch.zeros(32, 4, 3, 3)  # of the picture's autoencoder, never used
        found |= {f"{ENCODER}{name}": tensor for name, tensor in conditioner.items()}
        text = {
            "token_embedding.weight": torch.zeros(8, 4),
            "logit_scale": torch.zeros(()),
            "ln_final.bias": torch.zeros(4),
        }
        found |= {f"{CLIP}{name}": tensor for name, tensor in text.items()}
    return {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}


def _named(place: str, module: nn.Module) -> Names:
    return {f"{place}.{name}": tensor for name, tensor in module.state_dict().items()}


def unet_tensors(unet: Any) -> Names:
    found: Names = {}
    for place, module in (
        ("time_embed.0", unet.time_embedding.linear_1),
        ("time_embed.2", unet.time_embedding.linear_2),
        ("label_emb.0.0", unet.add_embedding.linear_1),
        ("label_emb.0.2", unet.add_embedding.linear_2),
        ("input_blocks.0.0", unet.conv_in),
        ("out.0", unet.conv_norm_out),
        ("out.2", unet.conv_out),
    ):
        found |= _named(place, module)
    counter = 0
    for block in unet.down_blocks:
        for index, resnet in enumerate(block.resnets):
            counter += 1
            found |= _video_resnet(f"input_blocks.{counter}.0", resnet)
            if hasattr(block, "attentions"):
                found |= _video_transformer(f"input_blocks.{counter}.1", block.attentions[index])
        for downsampler in block.downsamplers or ():
            counter += 1
            found |= _named(f"input_blocks.{counter}.0.op", downsampler.conv)
    middle = unet.mid_block
    found |= _video_resnet("middle_block.0", middle.resnets[0])
    found |= _video_transformer("middle_block.1", middle.attentions[0])
    found |= _video_resnet("middle_block.2", middle.resnets[1])
    counter = -1
    for block in unet.up_blocks:
        for index, resnet in enumerate(block.resnets):
            counter += 1
            layers = 1
            found |= _video_resnet(f"output_blocks.{counter}.0", resnet)
            if hasattr(block, "attentions"):
                found |= _video_transformer(f"output_blocks.{counter}.1", block.attentions[index])
                layers += 1
        for upsampler in block.upsamplers or ():  # the last layer of the last block of its level
            found |= _named(f"output_blocks.{counter}.{layers}.conv", upsampler.conv)
    return found


def _video_resnet(place: str, resnet: Any) -> Names:
    found = _resnet(place, resnet.spatial_res_block) | _resnet(f"{place}.time_stack", resnet.temporal_res_block)
    return found | {f"{place}.time_mixer.mix_factor": resnet.time_mixer.mix_factor}


def _resnet(place: str, block: Any) -> Names:
    found = (
        _named(f"{place}.in_layers.0", block.norm1)
        | _named(f"{place}.in_layers.2", block.conv1)
        | _named(f"{place}.out_layers.0", block.norm2)
        | _named(f"{place}.out_layers.3", block.conv2)
    )
    if getattr(block, "time_emb_proj", None) is not None:
        found |= _named(f"{place}.emb_layers.1", block.time_emb_proj)
    if getattr(block, "conv_shortcut", None) is not None:
        found |= _named(f"{place}.skip_connection", block.conv_shortcut)
    return found


def _video_transformer(place: str, transformer: Any) -> Names:
    return (
        _named(f"{place}.norm", transformer.norm)
        | _named(f"{place}.proj_in", transformer.proj_in)
        | _named(f"{place}.proj_out", transformer.proj_out)
        | _named(f"{place}.transformer_blocks", transformer.transformer_blocks)
        | _named(f"{place}.time_stack", transformer.temporal_transformer_blocks)
        | _named(f"{place}.time_pos_embed.0", transformer.time_pos_embed.linear_1)
        | _named(f"{place}.time_pos_embed.2", transformer.time_pos_embed.linear_2)
        | {f"{place}.time_mixer.mix_factor": transformer.time_mixer.mix_factor}
    )


def encoder_tensors(encoder: Any) -> Names:
    found = _named("encoder.conv_in", encoder.conv_in) | _named("encoder.conv_out", encoder.conv_out)
    found |= _named("encoder.norm_out", encoder.conv_norm_out)
    for level, block in enumerate(encoder.down_blocks):
        for index, resnet in enumerate(block.resnets):
            found |= _picture_resnet(f"encoder.down.{level}.block.{index}", resnet)
        for downsampler in block.downsamplers or ():
            found |= _named(f"encoder.down.{level}.downsample.conv", downsampler.conv)
    for index, resnet in enumerate(encoder.mid_block.resnets):
        found |= _picture_resnet(f"encoder.mid.block_{index + 1}", resnet)
    return found | _pixel_attention("encoder.mid.attn_1", encoder.mid_block.attentions[0])


def decoder_tensors(decoder: Any) -> Names:
    found = _named("decoder.conv_in", decoder.conv_in) | _named("decoder.conv_out", decoder.conv_out)
    found |= _named("decoder.norm_out", decoder.conv_norm_out)
    found |= _named("decoder.conv_out.time_mix_conv", decoder.time_conv_out)
    level = len(decoder.up_blocks)
    for block in decoder.up_blocks:
        level -= 1
        for index, resnet in enumerate(block.resnets):
            found |= _mixed_resnet(f"decoder.up.{level}.block.{index}", resnet)
        for upsampler in block.upsamplers or ():
            found |= _named(f"decoder.up.{level}.upsample.conv", upsampler.conv)
    for index, resnet in enumerate(decoder.mid_block.resnets):
        found |= _mixed_resnet(f"decoder.mid.block_{index + 1}", resnet)
    return found | _pixel_attention("decoder.mid.attn_1", decoder.mid_block.attentions[0])


def _mixed_resnet(place: str, resnet: Any) -> Names:
    found = _picture_resnet(place, resnet.spatial_res_block)
    found |= _resnet(f"{place}.time_stack", resnet.temporal_res_block)
    return found | {f"{place}.mix_factor": resnet.time_mixer.mix_factor}


def _picture_resnet(place: str, resnet: Any) -> Names:
    found: Names = {}
    for name in ("norm1", "conv1", "norm2", "conv2"):
        found |= _named(f"{place}.{name}", getattr(resnet, name))
    if resnet.conv_shortcut is not None:
        found |= _named(f"{place}.nin_shortcut", resnet.conv_shortcut)
    return found


def _pixel_attention(place: str, attention: Any) -> Names:
    found = _named(f"{place}.norm", attention.group_norm)
    layers = {"q": attention.to_q, "k": attention.to_k, "v": attention.to_v, "proj_out": attention.to_out[0]}
    for name, layer in layers.items():
        found |= {f"{place}.{name}.weight": layer.weight[:, :, None, None], f"{place}.{name}.bias": layer.bias}
    return found


def clip_tensors(clip: Any) -> Names:
    tower = clip.vision_model
    found: Names = {
        "class_embedding": tower.embeddings.class_embedding,
        "positional_embedding": tower.embeddings.position_embedding.weight,
        "conv1.weight": tower.embeddings.patch_embedding.weight,
        "proj": clip.visual_projection.weight.T,
    }
    found |= _named("ln_pre", tower.pre_layrnorm) | _named("ln_post", tower.post_layernorm)
    for index, layer in enumerate(tower.encoder.layers):
        place = f"transformer.resblocks.{index}"
        attention = layer.self_attn
        heads = (attention.q_proj, attention.k_proj, attention.v_proj)
        found |= {
            f"{place}.attn.in_proj_weight": torch.cat([one.weight for one in heads]),
            f"{place}.attn.in_proj_bias": torch.cat([one.bias for one in heads]),
        }
        found |= _named(f"{place}.attn.out_proj", attention.out_proj)
        found |= _named(f"{place}.ln_1", layer.layer_norm1) | _named(f"{place}.ln_2", layer.layer_norm2)
        found |= _named(f"{place}.mlp.c_fc", layer.mlp.fc1) | _named(f"{place}.mlp.c_proj", layer.mlp.fc2)
    return found
