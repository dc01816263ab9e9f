"""LoRAs from request to clip: in force for that clip alone, under every kind of offload, and refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from svd_ui.catalog import PROFILES
from svd_ui.core.lora import Lora, fuse_loras
from svd_ui.core.offload import Placement
from svd_ui.engine import never
from svd_ui.engine.local import LocalEngine
from svd_ui.errors import BadInput
from svd_ui.events import Finished
from svd_ui.loras import LoraFile
from svd_ui.request import GenerationRequest, LoraRef
from svd_ui.settings import Settings
from svd_ui.settings_tag import open_settings

LAYER = "mid_block.attentions.0.temporal_transformer_blocks.0.attn1.to_v"


def write_lora(settings: Settings, name: str = "style", seed: int = 0, size: int = 64) -> Path:
    path = settings.models_dir / "loras" / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(seed)
    shapes = {f"{LAYER}.lora_A.weight": (4, size), f"{LAYER}.lora_B.weight": (size, 4)}
    save_file({key: torch.randn(shape, generator=draw) for key, shape in shapes.items()}, path)
    return path


def latents(engine: LocalEngine, image: str, out: Path, **values: Any) -> np.ndarray:
    request = GenerationRequest(image=image, checkpoint="local:tiny", seed=7, **values)
    *_, last = engine.generate(request, out, never())
    assert isinstance(last, Finished)
    return load_file(out / str(last.result.latents))["latents"]


@pytest.fixture
def engine(settings: Settings, tiny: Path) -> LocalEngine:
    return LocalEngine(settings.model_copy(update={"checkpoint_dirs": str(tiny)}), "cpu")


def test_a_lora_changes_its_clip_and_no_other(
    engine: LocalEngine, settings: Settings, image: str, tmp_path: Path
) -> None:
    write_lora(settings)
    before = latents(engine, image, tmp_path / "a")
    changed = latents(engine, image, tmp_path / "b", loras=(LoraRef(name="style", weight=0.5),))
    nothing = latents(engine, image, tmp_path / "c", loras=(LoraRef(name="style", weight=0.0),))
    after = latents(engine, image, tmp_path / "d")
    assert np.abs(changed - before).max() > 1e-3
    assert np.array_equal(nothing, before)
    assert np.array_equal(after, before)


def test_a_clip_says_that_the_strength_of_its_lora_is_not_known(
    engine: LocalEngine, settings: Settings, image: str, tmp_path: Path
) -> None:
    write_lora(settings, "style/slow, (1)")
    request = GenerationRequest(
        image=image, checkpoint="local:tiny", seed=7, loras=(LoraRef(name="style/slow, (1)", weight=0.5),)
    )
    *_, last = engine.generate(request, tmp_path / "a", never())
    assert isinstance(last, Finished)
    assert [note.code for note in last.result.notes if "lora" in note.code] == ["lora_alpha_assumed"]
    assert open_settings(tmp_path / "a" / str(last.result.video)).request.loras == request.loras


def test_a_lora_for_another_model_leaves_the_weights_alone(
    engine: LocalEngine, settings: Settings, image: str, tmp_path: Path
) -> None:
    write_lora(settings, size=32)
    before = latents(engine, image, tmp_path / "a")
    with pytest.raises(BadInput, match="another size") as caught:
        latents(engine, image, tmp_path / "b", loras=(LoraRef(name="style"),))
    assert caught.value.field == "loras"
    assert np.array_equal(latents(engine, image, tmp_path / "c"), before)


@pytest.mark.parametrize("profile", ["24gb", "8gb", "4gb"])
def test_offloaded_weights_take_part_and_come_back_to_the_bit(profile: str, tmp_path: Path) -> None:
    """Resident, moved in turn, and streamed: the copies that reach the device are made of the changed weights."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 8)
    model = torch.nn.Module()
    model.add_module("layer", layer)
    draw = {"layer.lora_A.weight": torch.randn(2, 8), "layer.lora_B.weight": torch.randn(8, 2)}
    save_file(draw, tmp_path / "x.safetensors")
    lora = Lora(LoraFile(name="x", path=tmp_path / "x.safetensors", bytes=1))
    original, x = layer.weight.detach().clone(), torch.randn(3, 8)
    wanted = torch.nn.functional.linear(
        x, original + draw["layer.lora_B.weight"] @ draw["layer.lora_A.weight"], layer.bias
    )
    placement = Placement({"unet": model}, torch.device("cpu"), PROFILES[profile])
    with fuse_loras(model, [lora], "model"), placement.use("unet"):
        torch.testing.assert_close(layer(x), wanted, atol=1e-5, rtol=1e-5)
    with placement.use("unet"):
        assert torch.equal(layer(x), torch.nn.functional.linear(x, original, layer.bias))
    assert torch.equal(layer.weight, original)
