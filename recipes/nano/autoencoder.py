"""The linear part of nano's autoencoder: found in pictures once, and what a recipe asks of it besides."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from svd_ui.core.families.warp_autoencoder import SCENE_CHANNELS, WarpAutoencoder


def fit(pictures: Tensor, components: int = 23, patch_size: int = 16) -> WarpAutoencoder:
    """Principal components of all cells of ``pictures`` [N 3 H W] in [-1, 1] => a filled autoencoder.

    Scaled so that the components of these pictures have unit mean power.
    """
    mean = pictures.double().mean(dim=(0, 2, 3))
    size = 3 * patch_size**2
    moments = torch.zeros(size, size, dtype=torch.float64)
    for picture in pictures:
        cells = functional.pixel_unshuffle(picture.double() - mean[:, None, None], patch_size).flatten(1)
        moments += cells @ cells.T / cells.shape[1] / len(pictures)
    variance, vectors = torch.linalg.eigh(moments)
    variance = variance.flip(0)[:components]
    basis = vectors.flip(1)[:, :components]
    basis = basis * basis.sum(0).sign().where(basis.sum(0) != 0, torch.ones(components).double())
    gain = variance.pow(-0.25)
    gain = gain / (gain.square() * variance).mean().sqrt()
    levels = len(f"{patch_size:b}")
    model: WarpAutoencoder = WarpAutoencoder(
        patch_size, components, components + SCENE_CHANNELS, block_out_channels=(patch_size,) * levels
    )
    model.analysis.copy_((basis * gain).T.reshape(model.analysis.shape))
    model.synthesis.copy_((basis / gain).T.reshape(model.synthesis.shape))
    model.mean.copy_(mean)
    return model


def preview_matrix(model: WarpAutoencoder) -> tuple[Tensor, Tensor]:
    """Latent -> RGB in [0, 1]: matrix [C 3] (mean colour of each component) and bias [3]."""
    colours = model.synthesis.float().mean(dim=(2, 3)) / 2
    matrix = torch.cat([colours, torch.zeros(SCENE_CHANNELS, 3)])
    return matrix / model.config.scaling_factor, (model.mean.float() + 1) / 2


def encode_noise(model: WarpAutoencoder, noise: Tensor) -> Tensor:
    """What pixel noise [N 3 H W] adds to the latents: [N C h w], zero in the scene's channels."""
    parts = functional.conv2d(noise.float(), model.analysis.float(), stride=model.patch_size)
    return functional.pad(parts, (0, 0, 0, 0, 0, SCENE_CHANNELS)).to(noise.dtype)
