"""Whole clips on a GPU that is not there: an operation that mixes devices or number formats fails here, on any machine.

Requests go through the real engine, the device is that of ``tests/pretended.py``. Weights are tiny and random, and the numbers
are real: what comes out is compared with the CPU's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from svd_ui.assets import Assets
from svd_ui.catalog import PROFILES, folder_row
from svd_ui.core import offload
from svd_ui.core.exact import constants, models, resnets
from svd_ui.core.families import svd
from svd_ui.core.sampling import denoiser
from svd_ui.engine import never
from svd_ui.engine.local import LocalEngine
from svd_ui.engine.stages import Stages
from svd_ui.events import Finished, Result
from svd_ui.request import GenerationRequest, LoraRef
from svd_ui.settings import Settings
from tests.pretended import CPU, Mixed, PretendedDevice, Unsupported
from tests.tiny import save_tiny_svd, save_tiny_warp

from .conftest import photo

pytestmark = pytest.mark.usefixtures("read_once")

ON_A_GPU = [id for id in PROFILES if id != "cpu"]
PREVIEW = {"preview": np.eye(4, 3).tolist(), "preview_bias": [0.5, 0.5, 0.5]}
LAYER = "mid_block.attentions.0.temporal_transformer_blocks.0.attn1.to_v"
HALF = 0.06
"""How far float16 may be from float32, of the largest latent, after two steps of random weights."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation with a checkpoint of every family, and a LoRA."""
    models = tmp_path_factory.mktemp("models")
    save_tiny_svd(models / "svd", svd_ui=PREVIEW)
    save_tiny_svd(models / "few", svd_ui={"family": "consistency", "max_guidance_scale": 1.0})
    about = save_tiny_warp(models / "warp") / "svd_ui.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"family": "warp"}))
    families = {name: folder_row(models / name).family for name in ("svd", "few", "warp")}
    assert families == {"svd": "svd", "few": "consistency", "warp": "warp"}
    settings = Settings(_env_file=None, data_dir=models / "data", devices="auto", checkpoint_dirs=str(models))
    (settings.models_dir / "loras").mkdir(parents=True)
    pair = {f"{LAYER}.lora_A.weight": torch.full((4, 64), 0.01), f"{LAYER}.lora_B.weight": torch.full((64, 4), 0.01)}
    save_file(pair, settings.models_dir / "loras" / "style.safetensors")
    return settings


Make = Callable[..., tuple[Result, np.ndarray]]


@pytest.fixture
def make(here: Settings, tmp_path: Path) -> Make:
    image = Assets.of(here).keep(photo())

    def made(checkpoint: str = "svd", *, exact: bool = True, stages: Any = Stages, **values: Any) -> Any:
        defaults = {
            "seed": 7,
            "num_frames": 3,
            "num_inference_steps": 2,
            "max_guidance_scale": 2.0,
            "decode_chunk_size": 2,
        }
        request = GenerationRequest(image=image, checkpoint=f"local:{checkpoint}", **defaults | values)
        settings = here.model_copy(update={"exact": exact})
        engine = LocalEngine(settings, stages=stages(settings))
        try:
            *_, last = engine.generate(request, tmp_path, never())
        finally:
            engine.close()
        assert isinstance(last, Finished)
        latents = load_file(tmp_path / last.result.latents)["latents"] if last.result.latents else None
        return last.result, latents

    return made


def left_on(gpu: PretendedDevice) -> int:
    """Bytes, less a few previews' matrices: each is kept once for the whole process."""
    svd._preview_of.cache_clear()
    return gpu.bytes


def close(one: np.ndarray, two: np.ndarray) -> bool:
    return bool(np.isfinite(one).all() and np.abs(one - two).max() < HALF * np.abs(two).max())


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """Clips as they come out of the CPU, each made once, and what the device was found to hold."""
    return {}


@pytest.fixture
def expected(make: Make, known: dict[str, Any]) -> Callable[..., np.ndarray]:
    """The latents of the same clip from the CPU."""

    def latents(checkpoint: str = "svd", **values: Any) -> np.ndarray:
        values.pop("profile", None)
        name = f"{checkpoint} {values}"
        if name not in known:
            known[name] = make(checkpoint, **values)[1]
        return known[name]  # type: ignore[no-any-return]

    return latents


EVERYTHING: dict[str, Any] = {"loras": (LoraRef(name="style"),), "cache_interval": 2, "num_inference_steps": 3}


@pytest.mark.parametrize("profile", ON_A_GPU)
def test_every_profile_makes_the_whole_clip_and_gives_the_device_back(
    make: Make, expected: Callable[..., np.ndarray], profile: str
) -> None:
    """With guidance, a LoRA and features reused."""
    with PretendedDevice("cuda:0") as gpu:
        result, latents = make(profile=profile, **EVERYTHING)
    assert result.effective is not None
    assert (result.effective.profile, result.effective.dtype) == (profile, "float16")
    assert close(latents, expected(**EVERYTHING))
    assert left_on(gpu) == 0, "tensors are left on the device"
    assert gpu.operators["convolution", torch.float16, 5] > 50
    assert gpu.operators["convolution", torch.float16, 4] > 50


def test_smaller_profiles_hold_less(make: Make) -> None:
    peaks = []
    for profile in ("24gb", "8gb", "4gb"):
        with PretendedDevice("cuda:0") as gpu:
            make(profile=profile, num_inference_steps=1, max_guidance_scale=1.0, num_frames=2)
        peaks.append(gpu.peak)
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[2] < 0.6 * peaks[0]


@pytest.mark.parametrize(
    ("checkpoint", "values"),
    [
        ("warp", {"profile": "8gb"}),
        ("few", {"profile": "4gb"}),
        ("few", {"profile": "24gb"}),
        ("svd", {"exact": False, "profile": "4gb", "cache_interval": 2}),
        ("svd", {"method": {"kind": "motion_strength", "strength": 0.5}, "profile": "8gb"}),
        ("svd", {"num_frames": 7, "guidance_sigma_max": 20.0, "profile": "6gb"}),
    ],
    ids=str,
)
def test_every_family_and_whatever_else_a_clip_asks_for(
    make: Make, expected: Callable[..., np.ndarray], checkpoint: str, values: dict[str, Any]
) -> None:
    with PretendedDevice("cuda:0") as gpu:
        _, latents = make(checkpoint, **values)
    assert close(latents, expected(checkpoint, **values))
    assert left_on(gpu) == 0


def test_a_wall_of_drafts(make: Make) -> None:
    wall = {"seeds": 2, "motion_bucket_ids": (60, 200)}
    with PretendedDevice("cuda:0") as gpu:
        result, _ = make(wall=wall, num_inference_steps=1, profile="24gb")
    assert len(result.tiles) == 4
    assert left_on(gpu) == 0


class RunsOut(Stages):
    """A device that is full at the first step of every profile above the last."""

    def sample(self, decoder: Any, *args: Any) -> Any:
        if decoder.runtime.profile.id != "4gb":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().sample(decoder, *args)


def test_stepping_down_the_whole_ladder_on_the_way(make: Make, expected: Callable[..., np.ndarray]) -> None:
    with PretendedDevice("cuda:0") as gpu:
        result, latents = make(stages=RunsOut, profile="24gb")
    assert result.effective is not None
    assert result.effective.profile == "4gb"
    assert close(latents, expected())
    assert left_on(gpu) == 0


@pytest.mark.parametrize(("checkpoint", "exact"), [("svd", True), ("svd", False), ("warp", True)])
def test_apples_gpu_sees_no_float64_and_no_conv3d(
    make: Make, expected: Callable[..., np.ndarray], checkpoint: str, exact: bool
) -> None:
    """``Unsupported`` stops the clip at the operation; the counts show that something was looked at."""
    with PretendedDevice("mps:0") as gpu:
        _, latents = make(checkpoint, exact=exact)
    assert close(latents, expected(checkpoint))
    formats = {dtype for _, dtype, _ in gpu.operators}
    convolutions = {dimensions for name, _, dimensions in gpu.operators if name == "convolution"}
    assert torch.float16 in formats
    assert torch.float64 not in formats
    assert convolutions == {4}


# A fault that is planted is found: else the tests above would say nothing.


def test_a_constant_on_the_wrong_device_is_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    position = constants.position
    monkeypatch.setattr(constants, "position", lambda *args: position(*args).to(CPU))
    with PretendedDevice("cuda:0"), pytest.raises(Mixed, match="several devices"):
        make()


def test_guidance_left_on_the_host_is_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def guided(pair: Any, scale: torch.Tensor) -> Any:
        def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            c, u = pair(x, sigma)
            return u + scale[None, :, None, None, None] * (c - u)  # type: ignore[no-any-return]

        return denoise

    monkeypatch.setattr("svd_ui.core.sampling.context.guided", guided)
    with PretendedDevice("cuda:0"), pytest.raises(Mixed, match="several devices"):
        make()


def test_a_constant_in_the_wrong_format_is_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It widens what it touches, and the next layer has weights of another format."""

    embedding = models.UNetSpatioTemporalConditionModel._embedding

    def widened(self: Any, sample: torch.Tensor, *rest: Any) -> torch.Tensor:
        return embedding(self, sample, *rest) * torch.ones(1, device=sample.device)  # type: ignore[no-any-return]

    monkeypatch.setattr(models.UNetSpatioTemporalConditionModel, "_embedding", widened)
    with PretendedDevice("cuda:0"), pytest.raises(Mixed, match="number formats"):
        make()


def test_weights_that_stay_behind_are_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = offload.tensors_of

    def forgetful(module: torch.nn.Module, unused: Any = ()) -> list[torch.Tensor]:
        return everything(module, unused)[1 if type(module).__name__.startswith("UNet") else 0 :]

    monkeypatch.setattr(offload, "tensors_of", forgetful)
    with PretendedDevice("cuda:0"), pytest.raises(Mixed, match="several devices"):
        make(profile="8gb")


def test_float64_and_conv3d_on_apples_gpu_are_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(resnets.Conv3d, "_conv_forward", torch.nn.Conv3d._conv_forward)
        with PretendedDevice("mps:0"), pytest.raises(Unsupported, match="three dimensions"):
            make()
    at = denoiser.Preconditioning.at
    monkeypatch.setattr(denoiser.Preconditioning, "at", lambda sigma: at(sigma.to("mps:0", torch.float64)))
    with PretendedDevice("mps:0"), pytest.raises(Unsupported, match="float64"):
        make()
