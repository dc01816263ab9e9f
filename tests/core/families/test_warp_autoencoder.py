"""The autoencoder that moves the still: clips with known motion come back, and the interface is diffusers'."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from torch import Tensor

from recipes.nano.autoencoder import fit
from svd_ui.catalog import NANO
from svd_ui.core.families.scene import Scene, grid
from svd_ui.core.families.warp_autoencoder import (
    CAMERA,
    MOTION_GAIN,
    SCENE_CHANNELS,
    WarpAutoencoder,
    coherent,
    coherent_noise,
    parts_of,
)
from svd_ui.settings import REPOSITORY

PHOTOS = sorted((REPOSITORY / "benchmarks/data").glob("*.jpg"))
"""None of them was in the training set."""
WIDTH, HEIGHT = 512, 288
CHANNELS = 14 + SCENE_CHANNELS
CAMERA_AT = slice(14, 14 + CAMERA)
RELIEF_AT = slice(14 + CAMERA, -2)
MARGIN = 1.25
"""How much more than the frame a photograph shows, along each side."""


def photo(path: Path, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """[H W 3] in [-1, 1], antialiased and cropped to the middle."""
    image = cv2.imread(str(path))
    assert image is not None
    scale = max(width / image.shape[1], height / image.shape[0])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width, ::-1].astype(np.float32) / 127.5 - 1


def tensor(picture: np.ndarray) -> Tensor:
    """[1 3 H W]"""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]


def filmed(path: Path, zoom: float, pan: float, frames: int = 4) -> tuple[Tensor, Scene]:
    """A camera over a photograph => (frames [F 3 H W], the scene that they show).

    Frame f looks at the place p + pan f + (zoom^f - 1) (p - middle), the pan going right in pixels. Every frame is
    filmed at twice its size and then reduced, so that nothing but the camera makes it.
    """
    wide = photo(path, 2 * int(WIDTH * MARGIN), 2 * int(HEIGHT * MARGIN))
    taken, pose = [], []
    for frame in range(frames):
        factor = zoom**frame
        # In pixels of twice the size, whose centres are at halves: p => middle + factor (p - middle) + pan.
        shift = [wide.shape[1] / 2 - factor * WIDTH + 2 * pan * frame, wide.shape[0] / 2 - factor * HEIGHT]
        shift = [one + factor / 2 - 0.5 for one in shift]
        camera = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
        size = (2 * WIDTH, 2 * HEIGHT)
        large = cv2.warpAffine(wide, camera, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        taken.append(tensor(cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)))
        pose.append([pan * frame / (WIDTH / 2), 0.0, -math.log(factor), 0.0, 0.0])
    return torch.cat(taken), moving(torch.tensor(pose), (HEIGHT // 16, WIDTH // 16))


def moving(pose: Tensor, cells: tuple[int, int]) -> Scene:
    """A camera before something flat that is still."""
    return Scene(pose, torch.zeros(cells), torch.zeros(len(pose), 2, *cells))


def told(model: WarpAutoencoder, still: Tensor, scene: Scene, stirring: Tensor | None = None) -> Tensor:
    return model.encode_scene(still, scene, torch.zeros_like(scene.nearness) if stirring is None else stirring)


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * ((a - b) / 2).square().mean().log10())


def encoded(model: WarpAutoencoder, x: Tensor) -> Tensor:
    return model.encode(x).latent_dist.mode()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def shipped() -> WarpAutoencoder:
    return WarpAutoencoder.from_pretrained(NANO / "vae").float()


@pytest.fixture(scope="module")
def small() -> WarpAutoencoder:
    """Cells of 8 pixels, 14 components of waves."""
    pictures = torch.rand(4, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return fit(pictures.cumsum(-1).sin(), components=14, patch_size=8)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# What comes back


def test_a_still_comes_back_whole(shipped: WarpAutoencoder) -> None:
    for x in (tensor(photo(PHOTOS[0])), noise(1, 3, 64, 96)):
        frame = shipped.decode(encoded(shipped, x), still=x).sample
        torch.testing.assert_close(frame, x, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("zoom", "pan"), [(1.0, 3.4), (0.985, 0.0), (1.015, 0.0)], ids=["pan", "zoom in", "zoom out"])
def test_a_moved_photograph_comes_back(shipped: WarpAutoencoder, zoom: float, pan: float) -> None:
    """Away from the edges, where new things come into view; sharper than the components alone would paint it."""
    assert len(PHOTOS) == 10
    with_motion, painted = [], []
    for path in PHOTOS:
        frames, scene = filmed(path, zoom, pan)
        decoded = shipped.decode(told(shipped, frames[:1], scene), still=frames[:1]).sample
        blurred = shipped.decode(encoded(shipped, frames[1:])).sample
        seen = (..., slice(HEIGHT // 8, -HEIGHT // 8), slice(WIDTH // 8, -WIDTH // 8))
        with_motion.append(psnr(decoded[1:][seen], frames[1:][seen]))
        painted.append(psnr(blurred[seen], frames[1:][seen]))
    assert np.median(with_motion) > 36
    assert min(np.subtract(with_motion, painted)) > 5


def test_motion_is_found_where_nobody_tells_it(shipped: WarpAutoencoder) -> None:
    frames, scene = filmed(PHOTOS[0], 1.0, 3.4)
    known, found = (
        psnr(shipped.decode(z, still=frames[:1]).sample, frames)
        for z in (told(shipped, frames[:1], scene), shipped.encode_clip(frames))
    )
    assert found > known - 1


def test_beyond_its_edges_the_still_is_held(small: WarpAutoencoder) -> None:
    x, pan = noise(1, 3, 48, 64), -16 / 32  # 16 pixels in halves of the width
    z = told(small, x, moving(torch.tensor([[0.0] * 5, [pan, 0, 0, 0, 0]]), (6, 8)))
    frame = small.decode(z, still=x).sample[1:]
    torch.testing.assert_close(frame[..., 16:], x[..., :-16], atol=1e-4, rtol=0)
    torch.testing.assert_close(frame[..., :16], x[..., :1].expand(-1, -1, -1, 16), atol=1e-4, rtol=0)


def test_a_clip_is_decoded_from_any_frame_on(small: WarpAutoencoder) -> None:
    """Motion adds up from the first frame."""
    x, z = noise(1, 3, 32, 48), noise(6, CHANNELS, 4, 6, seed=3)
    whole = small.decode(z, num_frames=6, still=x).sample
    torch.testing.assert_close(small.decode(z, still=x, first=4).sample, whole[4:], atol=1e-5, rtol=0)
    other = z.clone()
    other[2, CAMERA_AT] += 1
    changed = (small.decode(other, still=x).sample - whole).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert changed.tolist() == [False, False, True, True, True, True]


def test_without_the_still_the_components_are_painted(shipped: WarpAutoencoder) -> None:
    values = [psnr(x, shipped.decode(encoded(shipped, x)).sample) for x in (tensor(photo(path)) for path in PHOTOS)]
    assert np.median(values) > 22


# What latents mean


def full_scene(frames: int = 5) -> Scene:
    """Everything at once, for 48 x 64 pixels in cells of 8."""
    rest = torch.randn(frames, 2, 6, 8, generator=torch.Generator().manual_seed(2)) * 0.02
    near = torch.where(torch.arange(8) < 3, 0.9, -0.1).expand(6, 8)  # two layers far apart: they stay as they are
    pose = torch.linspace(0, 1, frames)[:, None] ** 2 * torch.tensor([0.1, -0.05, 0.2, 0.04, 0.02])
    return Scene(pose, near - near.mean(), rest - rest[:1])


def test_a_scene_is_read_back_as_it_was_told(small: WarpAutoencoder) -> None:
    scene, x = full_scene(), noise(1, 3, 48, 64)
    stirring = torch.zeros(6, 8)
    stirring[:, :4] = 1
    z = told(small, x, scene, stirring)
    assert z.shape == (5, CHANNELS, 6, 8)
    found = small.scene(z)
    torch.testing.assert_close(found.pose, scene.pose, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.nearness, scene.nearness, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.drift, scene.drift * stirring, atol=1e-5, rtol=0)


def test_of_a_still_nothing_moves(small: WarpAutoencoder) -> None:
    z = encoded(small, noise(1, 3, 48, 64)).expand(4, -1, -1, -1)
    assert small.scene(z).displacement().abs().max() < 1e-6


def test_whatever_the_latents_say_the_first_frame_is_the_still(small: WarpAutoencoder) -> None:
    scene = small.scene(3 * noise(4, CHANNELS, 6, 8, seed=5))
    places = scene.places(48, 64)
    torch.testing.assert_close(places[0], grid(48, 64, places), atol=1e-5, rtol=0)
    assert (places[1:] - places[:1]).abs().amax(dim=(1, 2, 3)).min() > 1e-3


def test_what_is_one_number_is_the_mean_of_its_cells(small: WarpAutoencoder) -> None:
    """However cells and frames disagree about the camera and about what is near, the frame stays rigid."""
    z = told(small, noise(1, 3, 48, 64), full_scene(), torch.ones(6, 8))
    other = z.clone()
    uneven = noise(5, CAMERA, 6, 8, seed=4)
    other[:, CAMERA_AT] += uneven - uneven.mean(dim=(-2, -1), keepdim=True)
    trembling = noise(5, 2, 6, 8, seed=6)
    other[:, RELIEF_AT] += trembling - trembling.mean(dim=0)
    torch.testing.assert_close(small.scene(other).places(48, 64), small.scene(z).places(48, 64), atol=1e-4, rtol=0)
    other[3, CAMERA_AT.start] += MOTION_GAIN * 0.01  # a step to the right, seen from then on
    moved = (small.scene(other).pose - small.scene(z).pose)[:, 0]
    assert moved.tolist() == pytest.approx([0, 0, 0, 0.01, 0.01], abs=1e-6)


def test_what_does_not_stir_for_sure_is_still(small: WarpAutoencoder) -> None:
    stirring = torch.linspace(0, 1, 8).expand(6, 8)
    drift = 0.02 * torch.ones(2, 2, 6, 8) * torch.tensor([0.0, 1.0])[:, None, None, None]
    z = told(small, noise(1, 3, 48, 64), Scene(torch.zeros(2, 5), torch.zeros(6, 8), drift), stirring)
    seen = small.scene(z).drift[1, 0, 0] / 0.02
    assert seen[:5].abs().max() < 1e-4, "at half and below nothing stirs"
    assert 0 < seen[5] < 1
    assert seen[6:].tolist() == pytest.approx([1, 1], abs=1e-3)


def test_noise_of_what_is_one_number_is_one_number_of_unit_size() -> None:
    noise_of = coherent_noise(torch.randn(400, 6, SCENE_CHANNELS, 4, 5, generator=torch.Generator().manual_seed(0)))
    camera, relief, drift = parts_of(noise_of)
    assert camera.std(dim=(-2, -1)).max() < 1e-5
    assert relief.std(dim=1).max() < 1e-5
    for part in (camera, relief, drift):
        assert float(part.square().mean()) == pytest.approx(1, abs=0.05)
        assert float(part.mean()) == pytest.approx(0, abs=0.05)
    pairs = camera[:, :, :, 0, 0].flatten(1), relief[:, 0].flatten(1), drift.flatten(1)[:, :40]
    for part in pairs:  # and apart from that independent
        assert (torch.corrcoef(part.T) - torch.eye(part.shape[1])).abs().max() < 0.25
    torch.testing.assert_close(coherent(noise_of), noise_of)


def test_painting_inverts_the_analysis(small: WarpAutoencoder) -> None:
    z = noise(1, CHANNELS, 4, 6)
    z[:, -SCENE_CHANNELS:] = 0
    z[:, -2:] = grid(4, 6, z)
    torch.testing.assert_close(encoded(small, small.decode(z).sample), z, atol=1e-4, rtol=0)


# The class


def test_same_interface_as_the_diffusers_class(shipped: WarpAutoencoder) -> None:
    x = torch.zeros(2, 3, 64, 96)
    z = encoded(shipped, x)
    assert z.shape == (2, 32, 4, 6)
    assert shipped.decode(z, num_frames=2).sample.shape == x.shape
    assert shipped.decode(z, num_frames=2, return_dict=False)[0].shape == x.shape
    assert shipped(x, num_frames=2, still=x[:1]).sample.shape == x.shape
    assert "num_frames" in inspect.signature(shipped.forward).parameters
    assert 2 ** (len(shipped.config.block_out_channels) - 1) == 16
    assert shipped.config.force_upcast is False
    assert shipped.config.scaling_factor > 0
    assert next(iter(shipped.state_dict().values())).dtype == shipped.dtype


@pytest.mark.parametrize("given", [{"components": 31}, {"patch_size": 8}])
def test_sizes_that_do_not_fit_each_other_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"components \+ 9|patch size"):
        WarpAutoencoder(**given)


def test_half_precision_goes_in_and_out(small: WarpAutoencoder, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    model = WarpAutoencoder.from_pretrained(tmp_path).half()
    x = noise(2, 3, 32, 48).half()
    z = encoded(model, x)
    assert z.dtype == torch.float16
    frames = model.decode(z, num_frames=2, still=x[:1]).sample
    assert frames.dtype == torch.float16
    assert psnr(frames[:1].float(), x[:1].float()) > 35


def test_save_and_load(small: WarpAutoencoder, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    loaded = WarpAutoencoder.from_pretrained(tmp_path)
    assert (loaded.patch_size, loaded.components) == (8, 14)
    for name, value in small.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)


def test_pipeline_loads_the_shipped_folder() -> None:
    pipeline = StableVideoDiffusionPipeline.from_pretrained(NANO)
    assert isinstance(pipeline.vae, WarpAutoencoder)
    assert pipeline.vae_scale_factor == 16
    assert pipeline.unet.config.in_channels == 2 * pipeline.vae.config.latent_channels
