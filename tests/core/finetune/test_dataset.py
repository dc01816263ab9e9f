"""Clips become latents by the checkpoint's own autoencoder, and are kept apart from another's."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recipes.nano.autoencoder import fit
from svd_ui import clips
from svd_ui.catalog import folder_row
from svd_ui.core.families.warp_autoencoder import SCENE_CHANNELS, WarpAutoencoder
from svd_ui.core.finetune.dataset import Dataset
from svd_ui.core.runtime import Runtime
from svd_ui.events import never
from tests.core.conftest import CPU_PLAN
from tests.tiny import save_tiny_svd

SIZE = (96, 64)
SPEED = 3
PHOTO = Path(__file__).resolve().parents[3] / "benchmarks/data/chelsea.jpg"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_svd(tmp_path_factory.mktemp("base") / "tiny-svd", channels=(32, 32))


@pytest.fixture(scope="module")
def stretches(tmp_path_factory: pytest.TempPathFactory) -> tuple[clips.Stretch, ...]:
    """A camera that moves left over a photograph: its content moves right by SPEED pixels a frame."""
    folder = tmp_path_factory.mktemp("clips")
    for index in range(4):
        left = 120 - SPEED * index
        with Image.open(PHOTO) as image:
            image.resize((300, 200)).crop((left, 60, left + SIZE[0], 60 + SIZE[1])).save(folder / f"{index}.png")
    return clips.scan(folder, width=SIZE[0], height=SIZE[1], num_frames=4).stretches


def around(base: Path, vae: WarpAutoencoder | None = None) -> Runtime:
    """The checkpoint, with another autoencoder, one that warps, where one is given."""
    runtime = Runtime(folder_row(base), base, CPU_PLAN)
    if vae is None:
        return runtime
    modules = {"unet": runtime.unet, "vae": vae.eval(), "image_encoder": runtime.image_encoder}
    row = runtime.row.model_copy(update={"family": "warp"})
    return Runtime.around(row, CPU_PLAN, modules, runtime.feature_extractor, runtime.scheduler)


def warping() -> WarpAutoencoder:
    with Image.open(PHOTO) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB").resize((192, 128)))).permute(2, 0, 1)
    return fit(pixels[None].float() / 127.5 - 1, components=6, patch_size=16)


def test_a_clip_that_moves_right_looks_ever_further_left(
    base: Path, stretches: tuple[clips.Stretch, ...], tmp_path: Path
) -> None:
    vae = warping()
    runtime = around(base, vae)
    examples = Dataset(tmp_path, stretches, SIZE, base, runtime.scaling_factor)
    examples.build(runtime, lambda done: None, never().is_set)
    latents = examples.batch([0], torch.device("cpu")).latents[0]
    assert latents.shape == (4, 6 + SCENE_CHANNELS, 4, 6)
    scene = vae.scene(latents)
    assert (scene.pose[:, 0] * SIZE[0] / 2).tolist() == pytest.approx([0, -3, -6, -9], abs=0.4)
    x, y = (scene.displacement() * SIZE[0] / 2).unbind(dim=1)
    assert x.flatten(1).median(dim=1).values.tolist() == pytest.approx([0, -3, -6, -9], abs=0.4)
    assert y.flatten(1).median(dim=1).values.tolist() == pytest.approx([0, 0, 0, 0], abs=0.4)


def test_any_other_autoencoder_sees_frame_by_frame(
    base: Path, stretches: tuple[clips.Stretch, ...], tmp_path: Path
) -> None:
    runtime = around(base)
    examples = Dataset(tmp_path, stretches, SIZE, base, 1.0)
    examples.build(runtime, lambda done: None, never().is_set)
    pixels = torch.from_numpy(clips.read(stretches[0], *SIZE)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        alone = runtime.vae.encode(pixels[2:3]).latent_dist.mode()
    torch.testing.assert_close(examples.batch([0], torch.device("cpu")).latents[0, 2:3], alone, atol=2e-3, rtol=2e-3)


def test_what_another_autoencoder_made_is_not_taken(stretches: tuple[clips.Stretch, ...], tmp_path: Path) -> None:
    base = save_tiny_svd(tmp_path / "tiny-svd", channels=(32, 32))
    folder, runtime = tmp_path / "encoded", around(base)
    Dataset(folder, stretches, SIZE, base, 1.0).build(runtime, lambda done: None, never().is_set)
    Dataset(folder, stretches, SIZE, base, 1.0).build(runtime, lambda done: None, never().is_set)
    assert len(list(folder.iterdir())) == 1
    weights = next((base / "vae").glob("*.safetensors"))
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    Dataset(folder, stretches, SIZE, base, 1.0).build(runtime, lambda done: None, never().is_set)
    assert len(list(folder.iterdir())) == 2
