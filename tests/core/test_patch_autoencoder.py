"""The linear autoencoder: quality on held-out photographs, the interface, saving."""

from __future__ import annotations

import inspect
from pathlib import Path

import cv2
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from torch import Tensor

from svd_ui.core.patch_autoencoder import Painter, PatchAutoencoder, fit, latents_of, positions, preview_matrix

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "assets/nano/vae"


def photo(path: Path, width: int = 256, height: int = 144) -> Tensor:
    """[1 3 H W] in [-1, 1], antialiased and cropped to the middle."""
    image = cv2.imread(str(path))
    assert image is not None
    scale = max(width / image.shape[1], height / image.shape[0])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    image = image[top : top + height, left : left + width, ::-1].copy()
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * ((a - b) / 2).square().mean().log10())


@pytest.fixture(scope="module")
def shipped() -> PatchAutoencoder:
    return PatchAutoencoder.from_pretrained(SHIPPED)


@pytest.fixture(scope="module")
def noise_model() -> PatchAutoencoder:
    pictures = torch.rand(4, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return fit(pictures.cumsum(-1).sin(), components=14)


def test_held_out_photographs_come_back(shipped: PatchAutoencoder) -> None:
    paths = sorted((ROOT / "benchmarks/data").glob("*.jpg"))
    assert len(paths) == 10
    pictures = [photo(path) for path in paths]
    values = [psnr(x, shipped.decode(shipped.encode(x).latent_dist.mode()).sample) for x in pictures]
    assert torch.tensor(values).median() >= 26


def test_same_interface_as_the_diffusers_class(shipped: PatchAutoencoder) -> None:
    x = torch.zeros(2, 3, 64, 96)
    z = shipped.encode(x).latent_dist.mode()
    assert z.shape == (2, 16, 8, 12)
    assert shipped.decode(z, num_frames=2).sample.shape == x.shape
    assert shipped.decode(z, num_frames=2, return_dict=False)[0].shape == x.shape
    assert "num_frames" in inspect.signature(shipped.forward).parameters
    assert 2 ** (len(shipped.config.block_out_channels) - 1) == 8
    assert shipped.config.force_upcast is False
    assert shipped.config.scaling_factor > 0
    assert next(iter(shipped.state_dict().values())).dtype == shipped.dtype


def test_unfitted_painting_inverts_the_analysis(noise_model: PatchAutoencoder) -> None:
    z = torch.randn(1, 16, 4, 6, generator=torch.Generator().manual_seed(1))
    z[:, 14:] = positions(z)
    again = noise_model.encode(noise_model.decode(z).sample).latent_dist.mode()
    torch.testing.assert_close(again, z, atol=1e-4, rtol=0)


def test_positions_are_centred_and_isotropic() -> None:
    p = positions(torch.zeros(1, 14, 18, 32))
    torch.testing.assert_close(p[0].mean(dim=(1, 2)), torch.zeros(2))
    assert p[0, 0, 0, -1] == pytest.approx(31 / 32)
    assert p[0, 1, -1, 0] == pytest.approx(17 / 32)


def test_painting_from_neighbours_beats_patch_by_patch() -> None:
    pictures = torch.rand(6, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    pictures = torch.nn.functional.avg_pool2d(pictures, 9, 1, 4) * 8 - 4
    model = fit(pictures, components=8)
    z = latents_of(model, pictures)
    before = psnr(model.decode(z).sample, pictures)
    painter = Painter(model)
    for latents, picture in zip(z, pictures, strict=True):
        painter.add(latents[None], picture[None])
    painter.solve()
    assert psnr(model.decode(z).sample, pictures) > before + 0.3


def test_a_clip_is_painted_with_its_own_frames_only(shipped: PatchAutoencoder) -> None:
    z = torch.randn(6, 16, 4, 6, generator=torch.Generator().manual_seed(3))
    both = shipped.decode(z, num_frames=3).sample
    torch.testing.assert_close(both[:3], shipped.decode(z[:3], num_frames=3).sample, atol=1e-5, rtol=0)


def test_half_precision_runs_on_a_cpu() -> None:
    model = PatchAutoencoder.from_pretrained(SHIPPED).half()
    z = model.encode(torch.zeros(2, 3, 16, 16).half()).latent_dist.mode()
    assert z.dtype == torch.float16
    assert model.decode(z, num_frames=2).sample.dtype == torch.float16


def test_save_and_load(noise_model: PatchAutoencoder, tmp_path: Path) -> None:
    noise_model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    loaded = PatchAutoencoder.from_pretrained(tmp_path)
    for name, value in noise_model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)


def test_preview_matrix_paints_the_mean_colour_of_each_patch(shipped: PatchAutoencoder) -> None:
    x = photo(ROOT / "benchmarks/data/coffee.jpg")
    z = shipped.encode(x).latent_dist.mode()
    matrix, bias = preview_matrix(shipped)
    painted = torch.einsum("nchw,cr->nrhw", z, matrix) + bias[:, None, None]
    wanted = (torch.nn.functional.avg_pool2d(x, 8) + 1) / 2
    assert (painted - wanted).abs().mean() < 0.02


def test_pipeline_loads_the_shipped_folder() -> None:
    pipeline = StableVideoDiffusionPipeline.from_pretrained(ROOT / "assets/nano")
    assert isinstance(pipeline.vae, PatchAutoencoder)
    assert pipeline.vae_scale_factor == 8
    assert pipeline.unet.config.in_channels == 2 * pipeline.vae.config.latent_channels
