"""An autoencoder of linear patches with the interface of ``AutoencoderKLTemporalDecoder``.

Every 8x8 patch of a frame is projected on a few principal components of photographs; two more
channels hold the patch's position in the picture. A patch is painted from itself and its neighbours in
space and time, so that patch edges neither show nor flicker: a linear map plus one small hidden layer.
A clip takes milliseconds, and a small U-Net learns camera motion sooner when it is told where it looks.
"""

from __future__ import annotations

from collections.abc import Iterator
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

    ``analysis`` [components 3 8 8] makes the latents, ``synthesis`` [3*64 components 3 3 3] paints a patch
    from the 3x3x3 patches around it (frame, row, column), corrected by ``hidden`` units between the layers
    ``inner`` and ``outer`` (0: none); ``mean`` [3] is the mean colour in [-1, 1].
    Components are half-whitened: divided by the fourth root of their variance, so that detail is
    neither drowned nor blown up. Arithmetic is float32 whatever the dtype: half precision lacks the padding on a CPU.
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
        hidden: int = 0,
    ) -> None:
        super().__init__()
        if latent_channels != components + 2:
            raise ValueError("latent_channels must be components + 2: the last two hold the position")
        if patch_size != 2 ** (len(block_out_channels) - 1):
            raise ValueError("the pipeline reads the patch size from len(block_out_channels)")
        self.register_buffer("analysis", torch.zeros(components, 3, patch_size, patch_size))
        self.register_buffer("synthesis", torch.zeros(3 * patch_size**2, components, 3, 3, 3))
        self.register_buffer("mean", torch.zeros(3))
        self.inner = torch.nn.Conv3d(components, hidden, 3) if hidden else None
        self.outer = torch.nn.Conv3d(hidden, 3 * patch_size**2, (1, 3, 3)) if hidden else None
        if self.outer is not None:
            torch.nn.init.zeros_(self.outer.weight)
            torch.nn.init.zeros_(self.outer.bias)  # type: ignore[arg-type]
        self.requires_grad_(False)
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
        centred = x.float() - self.mean.float()[:, None, None]
        z = functional.conv2d(centred, self.analysis.float(), stride=self.patch_size)
        z = torch.cat([z, positions(z)], dim=1).to(x.dtype)
        posterior = LatentMode(z)
        return SimpleNamespace(latent_dist=posterior) if return_dict else (posterior,)

    def encode_noise(self, noise: Tensor) -> Tensor:
        """What pixel noise [N 3 H W] adds to the latents: [N C h w], zero in the position channels."""
        z = functional.conv2d(noise.float(), self.analysis.float(), stride=self.patch_size)
        return torch.cat([z, torch.zeros_like(z[:, :2])], dim=1).to(noise.dtype)

    def decode(self, z: Tensor, num_frames: int = 1, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Latents [N C h w], clips of ``num_frames`` in a row => frames [N 3 8h 8w].

        The position channels are ignored; at the edges of the clip and the picture the last patch repeats.
        """
        frames = self.paint(z, num_frames).to(z.dtype)
        return DecoderOutput(sample=frames) if return_dict else (frames,)

    def paint(self, z: Tensor, num_frames: int) -> Tensor:
        """[N C h w] => [N 3 8h 8w] in float32."""
        parts = z[:, : self.components].float()
        clips = parts.reshape(-1, num_frames, *parts.shape[1:]).transpose(1, 2)
        patches = self._patches(clips).transpose(1, 2).flatten(0, 1)
        frames: Tensor = functional.pixel_shuffle(patches, self.patch_size) + self.mean.float()[:, None, None]
        return frames

    def painting_parameters(self) -> Iterator[Tensor]:
        """What ``paint`` can learn, asking for gradients."""
        self.requires_grad_(True)
        self.synthesis.requires_grad_(True)
        yield self.synthesis
        yield from self.parameters()

    def _patches(self, clips: Tensor) -> Tensor:
        """Components [B C F h w] => centred patches [B 3*64 F h w]."""
        padded = functional.pad(clips, (2, 2, 2, 2, 1, 1), mode="replicate")
        patches = functional.conv3d(padded[..., 1:-1, 1:-1], self.synthesis.float())
        if self.inner is None or self.outer is None:
            return patches
        units = functional.silu(functional.conv3d(padded, self.inner.weight.float(), bias(self.inner)))
        return patches + functional.conv3d(units, self.outer.weight.float(), bias(self.outer))

    def forward(self, sample: Tensor, num_frames: int = 1, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Encode and decode [N 3 H W]; diffusers looks for ``num_frames`` in this signature."""
        posterior = self.encode(sample, return_dict=False)[0]  # type: ignore[index]
        return self.decode(posterior.mode(), num_frames=num_frames, return_dict=return_dict)


def bias(layer: torch.nn.Conv3d) -> Tensor | None:
    return None if layer.bias is None else layer.bias.float()


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
    model.synthesis[:, :, 1, 1, 1] = (basis / gain).float()
    model.mean.copy_(mean)
    return model


class Painter:
    """Least squares for ``synthesis``: collects latents with the frames they should become.

    Given latents as a U-Net leaves them, beside clean ones, the fit also learns which detail to trust.
    """

    def __init__(self, model: PatchAutoencoder) -> None:
        self._model = model
        size = model.components * 27
        self._square = torch.zeros(size, size, dtype=torch.float64)
        self._product = torch.zeros(size, 3 * model.patch_size**2, dtype=torch.float64)

    def add(self, z: Tensor, frames: Tensor, weight: float = 1.0) -> None:
        """One clip: unscaled latents [F C h w], frames [F 3 8h 8w] in [-1, 1]."""
        parts = z[:, : self._model.components].transpose(0, 1)[None]
        padded = functional.pad(parts, (1,) * 6, mode="replicate")[0]
        windows = padded.unfold(1, 3, 1).unfold(2, 3, 1).unfold(3, 3, 1)  # [C F h w 3 3 3]
        known = windows.permute(1, 2, 3, 0, 4, 5, 6).reshape(-1, len(self._square)).double()
        centred = functional.pixel_unshuffle(frames - self._model.mean[:, None, None], self._model.patch_size)
        wanted = centred.permute(0, 2, 3, 1).reshape(len(known), -1).double()
        self._square += weight * known.T @ known
        self._product += weight * known.T @ wanted

    def solve(self, ridge: float = 1e-4) -> None:
        """Write the best ``synthesis`` into the model."""
        size = len(self._square)
        level = ridge * self._square.diagonal().mean()
        weights = torch.linalg.solve(self._square + level * torch.eye(size, dtype=torch.float64), self._product)
        self._model.synthesis.copy_(weights.T.reshape(self._model.synthesis.shape))


def preview_matrix(model: PatchAutoencoder) -> tuple[Tensor, Tensor]:
    """Latent -> RGB in [0, 1]: matrix [C 3] (mean colour of each component) and bias [3]."""
    basis = torch.linalg.pinv(model.analysis.float().flatten(1))
    colours = basis.reshape(3, -1, model.components).mean(dim=1).T / 2
    matrix = torch.cat([colours, torch.zeros(2, 3, dtype=colours.dtype)])
    return matrix / model.config.scaling_factor, (model.mean.float() + 1) / 2
