"""The map between Stability's key layout and diffusers', and what a file is, on headers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from benchmarks import models
from svd_ui.catalog import STABILITY_ROWS
from svd_ui.catalog.component_configs import default_config
from svd_ui.notes import sentence
from svd_ui.stability_keys import COMPONENTS, Header, Tensors, diffusers_unet_name, stability_unet_name
from svd_ui.weight_kinds import kind_of
from tests.stability import stability_tensors

XT = next(row for row in STABILITY_ROWS if row.id == "svd-xt")
LEFT_OVER = (
    "conditioner.embedders.3.encoder.decoder",
    "conditioner.embedders.3.encoder.post_quant",
    "open_clip.model.t",
)
"""Parts of the names of tensors that nothing of ours needs."""


def header_of(tensors: dict[str, torch.Tensor], dtype: str = "F16") -> dict[str, Any]:
    return {name: {"dtype": dtype, "shape": list(tensor.shape)} for name, tensor in tensors.items()}


@cache
def full_size(pruned: bool = False) -> dict[str, Any]:
    """The header of SVD-XT's file, by modules at full size that have no memory."""
    with torch.device("meta"):
        found = stability_tensors(models.unet(), models.vae(), models.image_encoder(), pruned=pruned)
    return header_of(found)


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_tensor_of_the_full_size_model_is_in_the_file_once_and_has_its_shape(component: str) -> None:
    header = full_size()
    tensors = Tensors.find(header, component)
    assert tensors is not None
    wanted = getattr(models, component)().state_dict()
    for name, tensor in wanted.items():
        own, shape = tensors.shape(name), tuple(tensor.shape)
        assert own is not None, name
        assert own[: len(shape)] == shape and math.prod(own) == tensor.numel(), name
    sources = Counter(tensors.source(name) for name in wanted)
    assert set(sources.values()) == {1}
    thirds = Counter(source.name for source in sources if source.third is not None)
    assert set(thirds.values()) <= {3}


def test_nothing_of_the_file_is_left_over_but_what_is_not_needed() -> None:
    """Of the real file 2,194 tensors are used: 1,428, 108 + 266 and 392."""
    header = full_size()
    used = {
        tensors.source(name).name
        for component in COMPONENTS
        if (tensors := Tensors.find(header, component))
        for name in getattr(models, component)().state_dict()
    }
    assert len(used) == 1428 + 108 + 266 + 392
    left = [name for name in header.keys() - used if not any(part in name for part in LEFT_OVER)]
    assert all(".encoder." in name or ".ln_final" in name or ".logit_scale" in name for name in left)


def test_without_the_encoder_of_the_conditioner_that_of_the_first_stage_is_read_and_nothing_follows_it() -> None:
    tensors = Tensors.find(full_size(pruned=True), "vae")
    assert tensors is not None
    assert tensors.source("encoder.conv_out.weight").name == "first_stage_model.encoder.conv_out.weight"
    assert tensors.source("quant_conv.weight").name is None


def test_the_map_of_the_unet_has_an_inverse() -> None:
    names = models.unet().state_dict()
    assert all(diffusers_unet_name(stability_unet_name(name)) == name for name in names)
    layers = {name.rpartition(".")[0] for name in names}
    assert all(diffusers_unet_name(stability_unet_name(layer)) == layer for layer in layers)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
            "input_blocks.1.1.transformer_blocks.0.attn1.to_q",
        ),
        ("down_blocks.2.attentions.1.proj_out", "input_blocks.8.1.proj_out"),
        (
            "up_blocks.3.attentions.2.temporal_transformer_blocks.0.ff_in.net.2",
            "output_blocks.11.1.time_stack.0.ff_in.net.2",
        ),
        ("mid_block.resnets.1.temporal_res_block.conv2", "middle_block.2.time_stack.out_layers.3"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.1.conv"),
        ("up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv"),
        ("down_blocks.1.downsamplers.0.conv", "input_blocks.6.0.op"),
    ],
)
def test_layers_that_loras_name(ours: str, theirs: str) -> None:
    assert stability_unet_name(ours) == theirs
    assert diffusers_unet_name(theirs) == ours


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("layout", ["stability", "diffusers"])
def test_configurations_are_told_from_shapes(component: str, layout: str) -> None:
    module = getattr(models, component)()
    header = full_size() if layout == "stability" else header_of(module.state_dict())
    told = default_config(XT, component, Tensors.find(header, component))
    known = module.config.to_dict() if component == "image_encoder" else dict(module.config)
    for name, value in told.items():
        if name not in ("_class_name", "architectures", "sample_size"):
            assert value == (list(known[name]) if isinstance(known[name], tuple) else known[name]), name


# What a file is


def test_a_whole_file_is_a_pipeline() -> None:
    for pruned in (False, True):
        kind = kind_of(full_size(pruned), "svd_xt.safetensors")
        assert (kind.what, kind.parts, kind.stability, kind.trouble) == ("pipeline", frozenset(COMPONENTS), True, None)


def without(*prefixes: str) -> dict[str, Any]:
    return {name: entry for name, entry in full_size().items() if not name.startswith(prefixes)}


def told(header: Header) -> str:
    return sentence(kind_of(header, "it.safetensors").trouble)


VAE, CLIP = ("first_stage_model.", "conditioner.embedders.3."), "conditioner.embedders.0."


@pytest.mark.parametrize(
    ("prefixes", "missing"),
    [
        (VAE, ["autoencoder (VAE)"]),
        ((CLIP,), ["picture encoder (CLIP)"]),
        ((*VAE, CLIP), ["autoencoder (VAE)", "picture encoder (CLIP)"]),
        (("first_stage_model.encoder.", "conditioner.embedders.3."), ["decodes single pictures, not video"]),
    ],
)
def test_a_file_that_lacks_parts_says_which(prefixes: tuple[str, ...], missing: list[str]) -> None:
    header = without(*prefixes)
    kind = kind_of(header, "it.safetensors")
    assert kind.what == "unet"
    assert "unet" in kind.parts
    assert kind.parts != set(COMPONENTS)
    if "time" not in missing[0]:
        assert all(part in told(header) for part in missing)


def test_a_unet_alone_is_known_in_every_layout() -> None:
    prefix = "model.diffusion_model."
    bare = {name.removeprefix(prefix): entry for name, entry in full_size().items() if name.startswith(prefix)}
    diffusers = header_of(models.unet().state_dict(), "F32")
    for header, stability in ((bare, True), ({prefix + k: v for k, v in bare.items()}, True), (diffusers, False)):
        kind = kind_of(header, "AnimateLCM-SVD-xt-1.1.safetensors")
        assert (kind.what, kind.parts, kind.stability) == ("unet", frozenset({"unet"}), stability)


def test_a_file_that_comfyui_saved_is_a_pipeline() -> None:
    """The picture encoder has transformers' names behind the prefix of OpenCLIP's."""
    prefix = "conditioner.embedders.0.open_clip.model.visual."
    clip = header_of(models.image_encoder().state_dict())
    rest = {name: entry for name, entry in full_size(pruned=True).items() if not name.startswith(CLIP)}
    header = rest | {f"{prefix}{name}": entry for name, entry in clip.items()}
    assert kind_of(header).what == "pipeline"
    tensors = Tensors.find(header, "image_encoder")
    assert tensors is not None
    assert tensors.source("visual_projection.weight").name == f"{prefix}visual_projection.weight"


def test_components_side_by_side_by_diffusers_names_are_a_pipeline() -> None:
    header: dict[str, Any] = {}
    for part in COMPONENTS:
        header |= header_of({f"{part}.{k}": v for k, v in getattr(models, part)().state_dict().items()})
    kind = kind_of(header)
    assert (kind.what, kind.stability) == ("pipeline", False)


@pytest.mark.parametrize("wrapper", ["module.", "model.", "unet_ema.", "_orig_mod.module."])
def test_what_a_trainer_wrapped_is_found_within_and_the_model_itself_goes_first(wrapper: str) -> None:
    assert kind_of({f"{wrapper}{name}": entry for name, entry in full_size().items()}).what == "pipeline"
    unet = header_of(models.unet().state_dict())
    alone = {f"{wrapper}{name}": entry for name, entry in unet.items()}
    assert kind_of(alone).what == "unet"
    both = Tensors.find({**alone, **{f"unet.{name}": entry for name, entry in unet.items()}}, "unet")
    assert both is not None and both.prefix == "unet."


def test_the_picture_autoencoder_of_the_conditioner_is_not_taken_for_the_clips() -> None:
    header = {"conditioner.embedders.3.encoder.decoder.up.0.block.0.conv1.weight": tensor(128, 128, 3, 3)}
    assert Tensors.find(header, "vae") is None


def test_what_has_no_last_layer_is_no_unet() -> None:
    """A ControlNet for video begins as the U-Net does."""
    control = {name: entry for name, entry in header_of(models.unet().state_dict()).items() if "out" not in name}
    assert "is a part of a video model" in told(control)
    assert "is a ControlNet" in told(control | {"controlnet_down_blocks.0.weight": tensor(320, 320, 1, 1)})


def test_a_model_for_inpainting_is_not_taken_for_one_that_orbits() -> None:
    header = changed(lambda name, entry: tensor(320, 12, 3, 3) if name.endswith("input_blocks.0.0.weight") else entry)
    assert kind_of(header).what == "other"
    assert "12 input channels" in told(header)


def test_a_decoder_that_knows_nothing_of_time_is_refused_and_says_so() -> None:
    """``svd_xt_image_decoder.safetensors``."""
    header = {name: entry for name, entry in full_size().items() if not is_temporal_vae(name)}
    kind = kind_of(header, "svd_image_decoder.safetensors")
    assert kind.what == "unet"
    assert "vae" not in kind.parts
    assert "decodes single pictures" in told(header)


def is_temporal_vae(name: str) -> bool:
    return name.startswith("first_stage_model.") and any(part in name for part in ("time_", "mix_factor"))


def tensor(*shape: int, dtype: str = "F16") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape)}


def changed(change: Callable[[str, dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    return {name: change(name, entry) for name, entry in full_size().items()}


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"unet.down_blocks.0.x.lora_A.weight": tensor(4, 4)}, "is a LoRA. Put it into models/loras"),
        ({"lora_unet_input_blocks_1_1_proj_in.alpha": tensor()}, "is a LoRA"),
        (
            {
                "model.diffusion_model.input_blocks.0.0.weight": tensor(320, 4, 3, 3),
                "conditioner.embedders.1.model.ln_final.bias": tensor(1280),
            },
            "an SDXL checkpoint",
        ),
        (
            {
                "model.diffusion_model.input_blocks.0.0.weight": tensor(320, 4, 3, 3),
                "cond_stage_model.transformer.text_model.final_layer_norm.bias": tensor(768),
                "first_stage_model.decoder.up.0.block.0.conv1.weight": tensor(128, 128, 3, 3),
            },
            "a Stable Diffusion 1 or 2 checkpoint",
        ),
        ({"double_blocks.0.img_attn.qkv.weight": tensor(9, 3)}, "a Flux"),
        (
            {"down_blocks.0.motion_modules.0.temporal_transformer.norm.bias": tensor(320)},
            "an AnimateDiff motion module",
        ),
        ({"first_stage_model.decoder.up.0.block.0.conv1.weight": tensor(128, 128, 3, 3)}, "an autoencoder (VAE) alone"),
        ({"vision_model.encoder.layers.0.layer_norm1.weight": tensor(8)}, "a picture encoder (CLIP) alone"),
        (
            {
                "first_stage_model.decoder.up.0.block.0.conv1.weight": tensor(128, 128, 3, 3),
                "first_stage_model.decoder.up.0.block.0.time_stack.in_layers.2.weight": tensor(128, 128, 3, 1, 1),
            },
            "an autoencoder (VAE) alone",
        ),
        (
            {
                "model_ema.diffusion_modelinput_blocks00weight": tensor(320, 8, 3, 3),
                "first_stage_model.decoder.up.0.block.0.conv1.weight": tensor(128, 128, 3, 3),
            },
            "the averaged copy of a U-Net",
        ),
        ({"weird": tensor(1)}, "holds no Stable Video Diffusion checkpoint"),
        ({}, "holds no Stable Video Diffusion checkpoint"),
    ],
)
def test_what_is_something_else_is_called_by_its_name(header: Header, says: str) -> None:
    assert kind_of(header, "it.safetensors").what in ("lora", "other")
    assert told(header).startswith("it.safetensors ")
    assert says in told(header)


@pytest.mark.parametrize("numbers", [256, 1280])
def test_models_that_orbit_are_told_apart_by_what_goes_in_beside_the_picture(numbers: int) -> None:
    """SV3D_u takes noise alone, SV3D_p two angles as well."""
    header = changed(lambda name, entry: tensor(1280, numbers) if name.endswith("label_emb.0.0.weight") else entry)
    assert "SV3D" in told(header)


def test_numbers_that_cannot_be_computed_with_are_refused() -> None:
    header = changed(lambda name, entry: {**entry, "dtype": "F8_E4M3"} if name.endswith("to_q.weight") else entry)
    assert "F8_E4M3" in told(header)
    assert "fp16" in told(header)
