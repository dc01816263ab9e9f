"""The folder of LoRAs: what is listed and found by name, how every program's names are read, what is refused and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from svd_ui import loras
from svd_ui.errors import BadInput
from svd_ui.loras import layers
from svd_ui.request import LoraRef
from svd_ui.settings import Settings

LAYER = "down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn1.to_q"
NAMES = ("mid_block.x.to_q.lora_A.weight", "mid_block.x.to_q.lora_B.weight")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "models" / "loras").mkdir(parents=True)
    return Settings(data_dir=tmp_path)


def write(settings: Settings, name: str, tensors: dict[str, np.ndarray], **metadata: str) -> Path:
    path = settings.models_dir / "loras" / f"{name}.safetensors"
    save_file(tensors, path, metadata=metadata)
    return path


def good(rank: int = 4, fill: float = 0.0) -> dict[str, np.ndarray]:
    shapes = ((rank, 8), (8, rank))
    return {name: np.full(shape, fill, np.float32) for name, shape in zip(NAMES, shapes, strict=True)}


def test_a_file_tells_its_rank_and_where_it_comes_from(settings: Settings) -> None:
    write(settings, "pans-left", good(rank=4), base="nano", licence="CC0-1.0", title="Pans left")
    found = loras.find(settings, LoraRef(name="pans-left"))
    assert (found.rank, found.base, found.licence, found.title) == (4, "nano", "CC0-1.0", "Pans left")


def test_an_unknown_name_lists_the_known_ones(settings: Settings) -> None:
    write(settings, "one", good())
    with pytest.raises(BadInput, match="Known: one") as caught:
        loras.find(settings, LoraRef(name="two"))
    assert caught.value.field == "loras"


def test_names_cannot_leave_the_folder() -> None:
    for name in ("../secret", "/etc/passwd", "a/../b", "a//b", ".", ""):
        with pytest.raises(ValueError, match="LoraRef"):
            LoraRef(name=name)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x05\0\0\0\0\0\0\0[1,2]", b"\x02\0\0\0\0\0\0\0{]"])
def test_damaged_files_are_listed_with_their_trouble(settings: Settings, content: bytes) -> None:
    (settings.models_dir / "loras" / "broken.safetensors").write_bytes(content)
    assert "damaged" in loras.loras(settings)["broken"].trouble
    with pytest.raises(BadInput, match="damaged"):
        loras.find(settings, LoraRef(name="broken"))


def test_a_file_written_anew_has_another_digest(settings: Settings) -> None:
    write(settings, "one", good())
    first = loras.digest(loras.find(settings, LoraRef(name="one")), 1.0)
    assert loras.digest(loras.find(settings, LoraRef(name="one")), 0.5) != first
    write(settings, "one", good(fill=1.0))
    assert loras.digest(loras.find(settings, LoraRef(name="one")), 1.0) != first


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
    (pair,) = layers(names, "x").items()
    assert pair[0] == LAYER
    assert (pair[1].down, pair[1].up) == (names[0], names[1])


def test_kohya_names_keep_their_underscores_and_bring_alpha() -> None:
    base = "lora_unet_down_blocks_0_attentions_0_proj_in"
    found = layers([f"{base}.lora_down.weight", f"{base}.lora_up.weight", f"{base}.alpha"], "x")
    assert found["down_blocks_0_attentions_0_proj_in"].alpha == f"{base}.alpha"


def test_attention_processor_layout_of_older_diffusers() -> None:
    base = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor."
    found = layers([f"{base}to_out_lora.down.weight", f"{base}to_out_lora.up.weight"], "x")
    assert list(found) == ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["down_blocks.0.motion_modules.0.x.lora_A.weight"], "AnimateDiff"),
        (["lora_unet_x.hada_w1_a"], "LoHa"),
        (["lora_unet_x.lokr_w1"], "LoKr"),
        (["x.lora_down.weight", "x.lora_up.weight", "x.lora_mid.weight"], "Tucker"),
        (["x.lora_A.one.weight", "x.lora_A.two.weight"], "several LoRAs"),
        (["lora_te_text_model_x.lora_down.weight"], "text-to-image"),
        (["transformer.blocks.0.attn.lora_A.weight"], "transformer video model"),
        (["down_blocks.0.resnets.0.conv1.weight"], "another kind"),
        (["x.lora_A.weight"], "missing"),
        ([], "no LoRA tensors"),
    ],
)
def test_other_files_are_refused_with_their_reason(names: list[str], reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        layers(names, "some file")
    assert caught.value.field == "loras"
    assert "some file" in caught.value.message
