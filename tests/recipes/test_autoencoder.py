"""What the recipe finds in pictures for its autoencoder, and what noise becomes in it."""

from __future__ import annotations

import torch
from PIL import Image

from recipes.nano.autoencoder import encode_noise, fit, preview_matrix
from svd_ui.catalog import NANO
from svd_ui.core.conditioning import to_pixels
from svd_ui.core.families.warp_autoencoder import WarpAutoencoder
from svd_ui.media.image import fit as cropped
from svd_ui.settings import REPOSITORY


def encoded(model: WarpAutoencoder, x: torch.Tensor) -> torch.Tensor:
    return model.encode(x).latent_dist.mode()  # type: ignore[union-attr]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_noise_on_pixels_is_noise_on_components() -> None:
    model = fit(noise(4, 3, 48, 64).cumsum(-1).sin(), components=14, patch_size=8)
    x, extra = noise(1, 3, 32, 48), noise(1, 3, 32, 48, seed=1)
    added = encoded(model, x + extra) - encoded(model, x)
    torch.testing.assert_close(encode_noise(model, extra), added, atol=1e-4, rtol=0)


def test_preview_matrix_paints_the_mean_colour_of_each_cell() -> None:
    shipped = WarpAutoencoder.from_pretrained(NANO / "vae").float()
    photo = min((REPOSITORY / "benchmarks/data").glob("*.jpg"))
    x = to_pixels([cropped(Image.open(photo).convert("RGB"), 512, 288)])
    matrix, bias = preview_matrix(shipped)
    painted = torch.einsum("nchw,cr->nrhw", encoded(shipped, x), matrix) + bias[:, None, None]
    wanted = (torch.nn.functional.avg_pool2d(x, 16) + 1) / 2
    assert (painted - wanted).abs().mean() < 0.02
