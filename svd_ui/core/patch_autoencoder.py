"""A fixed linear autoencoder with the interface of ``AutoencoderKLTemporalDecoder``.

Every 8x8 patch of a frame is projected on a few principal components of photographs; two more
channels hold the patch's position in the picture. There is nothing to train, a clip takes
milliseconds, and a small U-Net learns camera motion far sooner when it is told where it looks.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as functional
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor


class LatentMode:
    """Stands in for diffusers' Gaussian posterior: a linear transform has one value, its mode."""

    def __init__(self, value: Tensor) -> None:
        self._value = value

    def mode(self) -> Tensor:
        """[N C h w]"""
        return self._value

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """[N C h w], the same as the mode."""
        return self._value


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Patches [3 8 8] <-> ``components`` principal components + x and y of the patch.

    ``analysis`` [components 3 8 8] and ``synthesis`` [3*64 components] are each other's
    pseudo-inverse; ``mean`` [3] is the mean colour in [-1, 1]. Components are half-whitened: divided
    by the fourth root of their variance, so that detail is neither drowned nor blown up.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: int = 8,
        components: int = 14,
        latent_channels: int = 16,
        scaling_factor: float = 1.0,
        force_upcast: bool = False,
        block_out_channels: tuple[int, ...] = (16, 16, 16, 16),
    ) -> None:
        super().__init__()
        if latent_channels != components + 2:
            raise ValueError("latent_channels must be components + 2: the last two hold the position")
        if patch_size != 2 ** (len(block_out_channels) - 1):
            raise ValueError("the pipeline reads the patch size from len(block_out_channels)")
        self.register_buffer("analysis", torch.zeros(components, 3, patch_size, patch_size))
        self.register_buffer("synthesis", torch.zeros(3 * patch_size**2, components))
        self.register_buffer("mean", torch.zeros(3))
        self.patch_size = patch_size
        self.components = components

    @property
    def dtype(self) -> torch.dtype:
        """Buffers only, so diffusers' search over parameters would find none."""
        return self.analysis.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return self.analysis.device  # type: ignore[no-any-return]

    def encode(self, x: Tensor, return_dict: bool = True) -> SimpleNamespace | tuple[LatentMode]:
        """Frames [N 3 H W] in [-1, 1] => an object whose ``latent_dist.mode()`` is [N C H/8 W/8]."""
        centred = x.to(self.dtype) - self.mean[:, None, None]
        z = functional.conv2d(centred, self.analysis, stride=self.patch_size)
        z = torch.cat([z, positions(z)], dim=1).to(x.dtype)
        posterior = LatentMode(z)
        return SimpleNamespace(latent_dist=posterior) if return_dict else (posterior,)

    def encode_noise(self, noise: Tensor) -> Tensor:
        """What pixel noise [N 3 H W] adds to the latents: [N C h w], zero in the position channels."""
        z = functional.conv2d(noise.to(self.dtype), self.analysis, stride=self.patch_size)
        return torch.cat([z, torch.zeros_like(z[:, :2])], dim=1).to(noise.dtype)

    def decode(self, z: Tensor, num_frames: int = 1, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Latents [N C h w] => frames [N 3 8h 8w]; the position channels are ignored."""
        parts = z[:, : self.components].to(self.dtype)
        patches = torch.einsum("pc,nchw->nphw", self.synthesis, parts)
        frames = functional.pixel_shuffle(patches, self.patch_size) + self.mean[:, None, None]
        frames = frames.to(z.dtype)
        return DecoderOutput(sample=frames) if return_dict else (frames,)

    def forward(self, sample: Tensor, num_frames: int = 1, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Encode and decode [N 3 H W]; diffusers looks for ``num_frames`` in this signature."""
        posterior = self.encode(sample, return_dict=False)[0]  # type: ignore[index]
        return self.decode(posterior.mode(), num_frames=num_frames, return_dict=return_dict)


def latents_of(model: PatchAutoencoder, frames: Tensor) -> Tensor:
    """Frames [N 3 H W] in [-1, 1] => unscaled latents [N C h w]."""
    (posterior,) = model.encode(frames, return_dict=False)  # type: ignore[attr-defined]
    return posterior.mode()


def positions(z: Tensor) -> Tensor:
    """Patch centres [N 2 h w], x then y, measured from the middle in halves of the longer side."""
    n, _, h, w = z.shape
    half = max(h, w) / 2
    x = (torch.arange(w, device=z.device, dtype=z.dtype) + 0.5 - w / 2) / half
    y = (torch.arange(h, device=z.device, dtype=z.dtype) + 0.5 - h / 2) / half
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)]).expand(n, 2, h, w)


def fit(pictures: Tensor, components: int = 14, patch_size: int = 8) -> PatchAutoencoder:
    """Principal components of all patches of ``pictures`` [N 3 H W] in [-1, 1] => a filled autoencoder.

    Scaled so that the components of these pictures have unit mean power.
    """
    pictures = pictures.double()
    mean = pictures.mean(dim=(0, 2, 3))
    patches = functional.pixel_unshuffle(pictures - mean[:, None, None], patch_size)
    flat = patches.permute(0, 2, 3, 1).reshape(-1, patches.shape[1])
    variance, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
    variance = variance.flip(0)[:components]
    basis = vectors.flip(1)[:, :components]
    basis = basis * basis.sum(0).sign().where(basis.sum(0) != 0, torch.ones(components).double())
    gain = variance.pow(-0.25)
    gain = gain / (gain.square() * variance).mean().sqrt()
    model: PatchAutoencoder = PatchAutoencoder(patch_size, components, components + 2)
    model.analysis.copy_((basis * gain).T.reshape(components, 3, patch_size, patch_size))
    model.synthesis.copy_(basis / gain)
    model.mean.copy_(mean)
    return model


def preview_matrix(model: PatchAutoencoder) -> tuple[Tensor, Tensor]:
    """Latent -> RGB in [0, 1]: matrix [C 3] (mean colour of each component) and bias [3]."""
    colours = model.synthesis.reshape(3, -1, model.components).mean(dim=1).T / 2
    matrix = torch.cat([colours, torch.zeros(2, 3, dtype=colours.dtype)])
    return matrix / model.config.scaling_factor, (model.mean + 1) / 2
