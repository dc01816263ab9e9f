"""Every program's names come down to the same layers; what is no LoRA of this family is refused with its reason."""

from __future__ import annotations

import pytest

from svd_ui.errors import BadInput
from svd_ui.loras.layouts import pairs

LAYER = "down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize(
    ("down", "up"),
    [
        ("{0}.lora_A.weight", "{0}.lora_B.weight"),
        ("{0}.lora_A.default.weight", "{0}.lora_B.default.weight"),
        ("base_model.model.{0}.lora_A.weight", "base_model.model.{0}.lora_B.weight"),
        ("unet.{0}.lora_A.weight", "unet.{0}.lora_B.weight"),
        ("unet.{0}.lora_A.my-adapter_2.weight", "unet.{0}.lora_B.my-adapter_2.weight"),
        ("{0}.lora_down.weight", "{0}.lora_up.weight"),
        ("unet.{0}.lora.down.weight", "unet.{0}.lora.up.weight"),
    ],
)
def test_layouts_with_dots_name_the_layer(down: str, up: str) -> None:
    names = [down.format(LAYER), up.format(LAYER)]
    (pair,) = pairs(names, "x").items()
    assert pair[0] == LAYER
    assert (pair[1].down, pair[1].up) == (names[0], names[1])


def test_kohya_names_keep_their_underscores_and_bring_alpha() -> None:
    base = "lora_unet_down_blocks_0_attentions_0_proj_in"
    found = pairs([f"{base}.lora_down.weight", f"{base}.lora_up.weight", f"{base}.alpha"], "x")
    assert found["down_blocks_0_attentions_0_proj_in"].alpha == f"{base}.alpha"


def test_attention_processor_layout_of_older_diffusers() -> None:
    base = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor."
    found = pairs([f"{base}to_out_lora.down.weight", f"{base}to_out_lora.up.weight"], "x")
    assert list(found) == ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["down_blocks.0.motion_modules.0.x.lora_A.weight"], "AnimateDiff"),
        (["lora_unet_x.hada_w1_a"], "LoHa"),
        (["lora_unet_x.lokr_w1"], "LoKr"),
        (["x.lora_A.weight", "x.lora_B.weight", "x.dora_scale"], "DoRA"),
        (["lora_te_text_model_x.lora_down.weight"], "text-to-image"),
        (["transformer.blocks.0.attn.lora_A.weight"], "transformer video model"),
        (["down_blocks.0.resnets.0.conv1.weight"], "another kind"),
        (["x.lora_A.weight"], "missing"),
        ([], "no LoRA tensors"),
    ],
)
def test_other_files_are_refused_with_their_reason(names: list[str], reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        pairs(names, "some file")
    assert caught.value.field == "loras"
    assert "some file" in caught.value.message
