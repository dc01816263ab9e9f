"""One checkpoint at a time, and nothing of it left afterwards."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from svd_ui.catalog import PROFILES, folder_row
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Models, Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.errors import BadInput, WeightsMissing
from svd_ui.notes import Note
from tests.stability import save_single_file
from tests.tiny import save_tiny_svd

from .conftest import CPU_PLAN, prepared, request


def references(runtime: Runtime) -> list[weakref.ref[object]]:
    modules = (runtime.unet, runtime.vae, runtime.image_encoder)
    return [weakref.ref(tensor) for module in modules for tensor in (*module.parameters(), *module.buffers())]


def test_switching_leaves_no_parameter_of_the_previous_checkpoint(tiny_folder: Path, tmp_path: Path) -> None:
    other = save_tiny_svd(tmp_path / "other", seed=1)
    models = Models()
    first = models.get(folder_row(tiny_folder), tiny_folder, CPU_PLAN)  # held on purpose, as a careless caller would
    parameters = references(first)
    assert len(parameters) > 100
    models.get(folder_row(other), other, CPU_PLAN)
    gc.collect()
    assert not [ref for ref in parameters if ref() is not None]
    assert models.loaded == "local:other"


def test_a_folder_with_half_precision_alone_loads(tmp_path: Path) -> None:
    """What Stability's page offers, and what most people have."""
    folder = save_tiny_svd(tmp_path / "half")
    for weights in folder.glob("*/*.safetensors"):
        weights.rename(weights.with_name(f"{weights.stem}.fp16.safetensors"))
    runtime = Models().get(folder_row(folder), folder, CPU_PLAN)
    assert runtime.unet.dtype == CPU_PLAN.dtype
    assert list(sample(prepared(runtime, request()))), "it can be used"


@pytest.mark.parametrize("profile", ["cpu", "8gb", "4gb"])
def test_release_frees_under_every_kind_of_placement(tiny_folder: Path, profile: str) -> None:
    models = Models()
    plan = Plan(CPU_PLAN.device, PROFILES[profile], CPU_PLAN.dtype, "sdpa")
    parameters = references(models.get(folder_row(tiny_folder), tiny_folder, plan))
    models.release()
    assert models.loaded is None
    assert not [ref for ref in parameters if ref() is not None]


def test_a_loaded_checkpoint_is_kept_between_clips_and_takes_a_new_profile(tiny_folder: Path) -> None:
    models = Models()
    first = models.get(folder_row(tiny_folder), tiny_folder, CPU_PLAN)
    plan = Plan(CPU_PLAN.device, PROFILES["12gb"], CPU_PLAN.dtype, "sdpa", {"profile": Note.of("chosen")})
    assert models.get(folder_row(tiny_folder), tiny_folder, plan) is first
    assert first.profile.id == "12gb"
    assert first.plan.reasons == {"profile": Note.of("chosen")}


@pytest.mark.parametrize("layout", ["folder", "file"])
def test_what_was_put_in_the_place_of_a_loaded_checkpoint_is_loaded(layout: str, tmp_path: Path) -> None:
    one, other = (save_tiny_svd(tmp_path / str(seed), seed=seed) for seed in (0, 1))
    source, files = one, [folder / "unet" / "diffusion_pytorch_model.safetensors" for folder in (one, other)]
    if layout == "file":
        files = [save_single_file(folder, folder / "svd.safetensors") for folder in (one, other)]
        source = files[0]
    models, row = Models(), folder_row(one)
    before = models.get(row, source, CPU_PLAN).unet.conv_in.weight.clone()
    os.replace(files[1], files[0])
    assert not torch.equal(models.get(row, source, CPU_PLAN).unet.conv_in.weight, before)


def test_pickled_weights_are_not_read(tiny_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for part in tiny_folder.iterdir():
        (copy / part.name).symlink_to(part)
    (copy / "unet").unlink()
    (copy / "unet").mkdir()
    (copy / "unet" / "config.json").write_bytes((tiny_folder / "unet" / "config.json").read_bytes())
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"not a tensor")
    with pytest.raises(WeightsMissing, match="safetensors"):
        Runtime(folder_row(copy), copy, CPU_PLAN)


def test_a_folder_cannot_name_a_class_of_its_own(tiny_folder: Path, tmp_path: Path) -> None:
    for part in tiny_folder.iterdir():
        if part.name != "model_index.json":
            (tmp_path / part.name).symlink_to(part)
    index = json.loads((tiny_folder / "model_index.json").read_text())
    index["unet"] = ["os", "system"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(BadInput, match="UNetSpatioTemporalConditionModel"):
        Runtime(folder_row(tmp_path), tmp_path, CPU_PLAN)


def test_an_empty_folder_is_missing_weights(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing):
        Runtime(folder_row(tiny_folder), tmp_path, CPU_PLAN)


def test_importing_the_runtime_does_not_import_what_only_loading_needs() -> None:
    code = (
        "import sys, svd_ui.core.runtime, svd_ui.core.conditioning, svd_ui.core.sampling.context\n"
        "print(*{m.split('.')[0] for m in sys.modules} & {'diffusers', 'transformers', 'accelerate', 'xformers'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.slow
def test_memory_is_flat_over_twenty_switches() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "switching.py"
    done = subprocess.run([sys.executable, script, "--json"], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["model_mb"] >= 200
    assert report["growth_mb"] < 0.05 * report["model_mb"]


def test_exact_mode_lasts_as_long_as_the_runtime_and_can_be_left_out(tiny_folder: Path) -> None:
    models, row = Models(), folder_row(tiny_folder)
    plain = models.get(row, tiny_folder, replace(CPU_PLAN, exact=False))
    unet, stock = plain.unet, type(plain.unet)
    assert stock.__module__.startswith("diffusers")
    runtime = models.get(row, tiny_folder, CPU_PLAN)
    assert runtime is not plain
    unet, vae = runtime.unet, runtime.vae
    assert type(unet) is not stock
    models.release()
    assert type(unet) is stock
    assert all(
        type(module).__module__.startswith(("diffusers", "torch")) for module in (*unet.modules(), *vae.modules())
    )


@pytest.mark.parametrize("profile", ["24gb", "4gb"])
def test_cross_attention_is_left_out_of_every_step(tiny_folder: Path, profile: str) -> None:
    """Its outputs are computed once per conditioning, and then its weights may as well be gone."""
    asked = request(num_inference_steps=2)

    def clip(runtime: Runtime, *, spoil: bool) -> torch.Tensor:
        context = prepared(runtime, asked)
        steps = sample(context)
        next(steps)
        for block in runtime.unet.modules() if spoil else ():
            if hasattr(block, "attn2"):
                block.attn2.register_forward_pre_hook(unexpected)
                block.attn2.to_v.register_forward_pre_hook(unexpected)
                for parameter in block.attn2.parameters():
                    parameter.data = torch.full_like(parameter, torch.nan)
        return next(steps).latents

    def unexpected(*_: object) -> None:
        raise AssertionError("cross-attention ran in a step")

    plans = (replace(CPU_PLAN, exact=False), replace(CPU_PLAN, profile=PROFILES[profile]))
    expected, got = (clip(Runtime(folder_row(tiny_folder), tiny_folder, plan), spoil=plan.exact) for plan in plans)
    torch.testing.assert_close(got, expected, atol=1e-5 * expected.abs().max().item(), rtol=0)
