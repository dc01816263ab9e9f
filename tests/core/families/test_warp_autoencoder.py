"""The autoencoder that moves the still: clips with known motion come back, and the interface is diffusers'."""

from __future__ import annotations

import inspect
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
from svd_ui.core.families.warp_autoencoder import WarpAutoencoder, positions
from svd_ui.settings import REPOSITORY

PHOTOS = sorted((REPOSITORY / "benchmarks/data").glob("*.jpg"))
"""None of them was in the training set."""
WIDTH, HEIGHT = 512, 288
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


def filmed(path: Path, zoom: float, pan: float, frames: int = 4) -> tuple[Tensor, Tensor]:
    """A camera over a photograph => (frames [F 3 H W], what is known of their motion [F 2 h w]).

    Frame f looks at the place p + pan f + (zoom^f - 1) (p - middle), the pan going right in pixels. Every frame is
    filmed at twice its size and then reduced, so that nothing but the camera makes it.
    """
    wide = photo(path, 2 * int(WIDTH * MARGIN), 2 * int(HEIGHT * MARGIN))
    taken, moved = [], []
    xs, ys = np.meshgrid(
        (np.arange(WIDTH // 16) + 0.5) * 16 - WIDTH / 2, (np.arange(HEIGHT // 16) + 0.5) * 16 - HEIGHT / 2
    )
    for frame in range(frames):
        factor = zoom**frame
        # In pixels of twice the size, whose centres are at halves: p => middle + factor (p - middle) + pan.
        shift = [wide.shape[1] / 2 - factor * WIDTH + 2 * pan * frame, wide.shape[0] / 2 - factor * HEIGHT]
        shift = [one + factor / 2 - 0.5 for one in shift]
        camera = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
        size = (2 * WIDTH, 2 * HEIGHT)
        large = cv2.warpAffine(wide, camera, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        taken.append(tensor(cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)))
        moved.append(np.stack([(factor - 1) * xs + pan * frame, (factor - 1) * ys]))
    return torch.cat(taken), torch.from_numpy(np.stack(moved)).float()


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
        frames, moved = filmed(path, zoom, pan)
        decoded = shipped.decode(shipped.encode_flow(frames[:1], moved), still=frames[:1]).sample
        blurred = shipped.decode(encoded(shipped, frames[1:])).sample
        seen = (..., slice(HEIGHT // 8, -HEIGHT // 8), slice(WIDTH // 8, -WIDTH // 8))
        with_motion.append(psnr(decoded[1:][seen], frames[1:][seen]))
        painted.append(psnr(blurred[seen], frames[1:][seen]))
    assert np.median(with_motion) > 36
    assert min(np.subtract(with_motion, painted)) > 5


def test_motion_is_found_where_nobody_tells_it(shipped: WarpAutoencoder) -> None:
    frames, moved = filmed(PHOTOS[0], 1.0, 3.4)
    told, found = (
        psnr(shipped.decode(z, still=frames[:1]).sample, frames)
        for z in (shipped.encode_flow(frames[:1], moved), shipped.encode_clip(frames))
    )
    assert found > told - 1


def test_beyond_its_edges_the_still_is_mirrored(small: WarpAutoencoder) -> None:
    x = noise(1, 3, 48, 64)
    z = small.encode_flow(x, torch.tensor([-16.0, 0.0])[:, None, None].expand(1, 2, 6, 8))
    frame = small.decode(z, still=x).sample
    torch.testing.assert_close(frame[..., 16:], x[..., :-16], atol=1e-4, rtol=0)
    torch.testing.assert_close(frame[..., :16], x[..., :16].flip(-1), atol=1e-4, rtol=0)


def test_a_clip_is_decoded_from_any_frame_on(small: WarpAutoencoder) -> None:
    """Motion adds up from the first frame."""
    x, z = noise(1, 3, 32, 48), noise(6, 16, 4, 6, seed=3)
    whole = small.decode(z, num_frames=6, still=x).sample
    torch.testing.assert_close(small.decode(z, still=x, first=4).sample, whole[4:], atol=1e-5, rtol=0)
    torch.testing.assert_close(small.decode(z[:3], still=x).sample, whole[:3], atol=1e-5, rtol=0)
    other = z.clone()
    other[2, -2:] += 1
    changed = (small.decode(other, still=x).sample - whole).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert changed.tolist() == [False, False, True, True, True, True]


def test_without_the_still_the_components_are_painted(shipped: WarpAutoencoder) -> None:
    values = [psnr(x, shipped.decode(encoded(shipped, x)).sample) for x in (tensor(photo(path)) for path in PHOTOS)]
    assert np.median(values) > 22


# What latents mean


def test_positions_are_centred_and_isotropic() -> None:
    p = positions(torch.zeros(1, 14, 18, 32))
    torch.testing.assert_close(p[0].mean(dim=(1, 2)), torch.zeros(2))
    assert p[0, 0, 0, -1] == pytest.approx(31 / 32)
    assert p[0, 1, -1, 0] == pytest.approx(17 / 32)


def test_displacements_are_read_back_from_the_position_channels(small: WarpAutoencoder) -> None:
    frames, moved = noise(3, 3, 48, 64), 40 * noise(3, 2, 6, 8, seed=1)
    z = small.encode_flow(frames[:1], moved)
    torch.testing.assert_close(small.displacement(z), moved, atol=1e-3, rtol=0)
    assert small.displacement(encoded(small, frames)).abs().max() < 1e-3
    away = encoded(small, frames[:1])
    away[:, -2] += small.config.motion_gain  # half of the longer side
    assert small.displacement(away)[:, 0] == pytest.approx(np.full((1, 6, 8), 32.0), abs=1e-3)


def test_painting_inverts_the_analysis(small: WarpAutoencoder) -> None:
    z = noise(1, 16, 4, 6)
    z[:, -2:] = positions(z)
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
    with pytest.raises(ValueError, match=r"components \+ 2|patch size"):
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
    assert (loaded.patch_size, loaded.components, loaded.motion_gain) == (8, 14, 48.0)
    for name, value in small.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)


def test_pipeline_loads_the_shipped_folder() -> None:
    pipeline = StableVideoDiffusionPipeline.from_pretrained(NANO)
    assert isinstance(pipeline.vae, WarpAutoencoder)
    assert pipeline.vae_scale_factor == 16
    assert pipeline.unet.config.in_channels == 2 * pipeline.vae.config.latent_channels
