"""An autoencoder for moving stills, with the interface of ``AutoencoderKLTemporalDecoder``.

A frame is the still, moved: every cell of its latents holds how far what it shows has moved since the frame before (x
and y), beside the principal components of the still. The decoder moves the still's own pixels, so a small model that knows
where things go gives sharp frames, the first of which is the still itself; nothing is invented. Steps from frame to
frame are alike all through a clip, which a small model learns soon. Decoders
that look at the still they animate: DynamiCrafter (arXiv 2310.12190), ToonCrafter (arXiv 2405.17933), and diffusers'
``AsymmetricAutoencoderKL``; animating by displacement fields: Generative Image Dynamics (arXiv 2309.07906).
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as functional
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from ..optical_flow import displacements, upsample
from .scene import Scene


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


class WarpAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Cells of [3 p p] pixels <-> ``components`` principal components + x and y of the cell's place and motion.

    ``analysis`` [components 3 p p] and ``synthesis``, its pseudo-inverse of the same shape, are the linear part; ``mean``
    [3] is the mean colour in [-1, 1]. Components are half-whitened: divided by the fourth root of their variance, so that
    detail is neither drowned nor blown up. The last two channels of a still are each cell's place, in halves of the longer
    side from the middle; a frame's have the change of where the cell looks in the still added, in the same unit times
    ``motion_gain``, which brings it to the size of the other channels. Arithmetic is float32 whatever the dtype.
    """

    inference_dtype = torch.float32
    """Whatever the U-Net runs in: rounded motion adds up over a clip."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: int = 16,
        components: int = 30,
        latent_channels: int = 32,
        motion_gain: float = 48.0,
        scaling_factor: float = 1.0,
        force_upcast: bool = False,
        block_out_channels: tuple[int, ...] = (16, 16, 16, 16, 16),
    ) -> None:
        super().__init__()
        if latent_channels != components + 2:
            raise ValueError("latent_channels must be components + 2: the last two hold the position")
        if patch_size != 2 ** (len(block_out_channels) - 1):
            raise ValueError("the pipeline reads the patch size from len(block_out_channels)")
        self.register_buffer("analysis", torch.zeros(components, 3, patch_size, patch_size))
        self.register_buffer("synthesis", torch.zeros(components, 3, patch_size, patch_size))
        self.register_buffer("mean", torch.zeros(3))
        self.patch_size, self.components, self.motion_gain = patch_size, components, motion_gain

    @property
    def dtype(self) -> torch.dtype:
        """Buffers only, so diffusers' search over parameters would find none."""
        return self.analysis.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return self.analysis.device  # type: ignore[no-any-return]

    def encode(self, x: Tensor, return_dict: bool = True) -> SimpleNamespace | tuple[LatentMode]:
        """Stills [N 3 H W] in [-1, 1] => an object whose ``latent_dist.mode()`` is [N C H/p W/p]: nothing has moved."""
        parts = self._components(x.float() - self.mean.float()[:, None, None])
        posterior = LatentMode(torch.cat([parts, positions(parts)], dim=1).to(x.dtype))
        return SimpleNamespace(latent_dist=posterior) if return_dict else (posterior,)

    def encode_clip(self, frames: Tensor) -> Tensor:
        """Consecutive frames [F 3 H W] in [-1, 1], the first being the still => latents [F C H/p W/p].

        How far each cell has moved is measured (``optical_flow.py``).
        """
        return self.encode_flow(frames[:1], displacements(frames, self.patch_size))

    def encode_flow(self, still: Tensor, flow: Tensor) -> Tensor:
        """``still`` [1 3 H W] and where each cell looks in it, less its own place, in pixels [F 2 h w] => [F C h w]."""
        z = self.encode(still).latent_dist.mode().float()  # type: ignore[union-attr]
        parts = z[:, :-2].expand(len(flow), -1, -1, -1)
        return torch.cat([parts, z[:, -2:] + self.steps(flow)], dim=1).to(still.dtype)

    def decode(
        self, z: Tensor, num_frames: int = 1, return_dict: bool = True, still: Tensor | None = None, first: int = 0
    ) -> DecoderOutput | tuple[Tensor]:
        """Latents of one clip from its beginning [N C h w] => its frames from the one numbered ``first`` on [N - first 3 H W].

        ``still`` [1 3 H W] in [-1, 1] is moved; beyond its edges it is mirrored. Without it the components alone are decoded:
        blurred pictures that do not move. ``num_frames`` is diffusers'.
        """
        if still is None:
            frames = self._reconstruct(z[first:])
        else:
            frames = warp(still.to(z.device).float(), self.displacement(z)[first:])
        frames = frames.to(z.dtype)
        return DecoderOutput(sample=frames) if return_dict else (frames,)

    def displacement(self, z: Tensor) -> Tensor:
        """Latents of a clip [F C h w] => where each cell looks in the still, less its own place, in pixels [F 2 h w]."""
        steps = (z[:, -2:].float() - positions(z)) / self.motion_gain
        return steps.cumsum(dim=0) * (max(z.shape[-2:]) * self.patch_size / 2)

    def scene(self, z: Tensor) -> Scene:
        """Latents of a clip [F C h w] => what moves in it."""
        return Scene(self.displacement(z) * (2 / (max(z.shape[-2:]) * self.patch_size)))

    def steps(self, flow: Tensor) -> Tensor:
        """The inverse, less the cells' places: displacements of a whole frame's cells, in pixels => [F 2 h w]."""
        steps = torch.cat([flow[:1], flow.diff(dim=0)])
        return steps * (2 * self.motion_gain / (max(flow.shape[-2:]) * self.patch_size))

    def forward(
        self, sample: Tensor, num_frames: int = 1, return_dict: bool = True, still: Tensor | None = None
    ) -> DecoderOutput | tuple[Tensor]:
        """Encode and decode [N 3 H W]; diffusers looks for ``num_frames`` in this signature."""
        (posterior,) = self.encode(sample, return_dict=False)  # type: ignore[attr-defined]
        return self.decode(posterior.mode(), num_frames=num_frames, return_dict=return_dict, still=still)

    def _components(self, centred: Tensor) -> Tensor:
        return functional.conv2d(centred, self.analysis.float(), stride=self.patch_size)

    def _reconstruct(self, z: Tensor) -> Tensor:
        parts = functional.conv_transpose2d(z[:, :-2].float(), self.synthesis.float(), stride=self.patch_size)
        frames: Tensor = parts + self.mean.float()[:, None, None]
        return frames


def positions(z: Tensor) -> Tensor:
    """The last two channels where nothing moves, for latents [N C h w]: cell centres [N 2 h w], x then y, float32.

    Measured from the middle in halves of the longer side.
    """
    n, _, h, w = z.shape
    half = max(h, w) / 2
    x = (torch.arange(w, device=z.device, dtype=torch.float32) + 0.5 - w / 2) / half
    y = (torch.arange(h, device=z.device, dtype=torch.float32) + 0.5 - h / 2) / half
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)]).expand(n, 2, h, w)


def warp(still: Tensor, flow: Tensor) -> Tensor:
    """``still`` [1 3 H W] looked up bicubically at each pixel's place plus ``flow`` [F 2 h w] (pixels): [F 3 H W].

    Displacements of cells go on evenly between their centres and beyond the outermost ones. The still is mirrored
    beyond its edges.
    """
    if still.device.type == "mps":  # its grid_sample knows no bicubic look-up
        return warp(still.cpu(), flow.cpu()).to(still.device)
    height, width = still.shape[-2:]
    pixel_flow = upsample(flow, height // flow.shape[-2])
    x = torch.arange(width, device=still.device) + 0.5 + pixel_flow[:, 0]
    y = (torch.arange(height, device=still.device) + 0.5)[:, None] + pixel_flow[:, 1]
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=-1)
    pixels = still.expand(len(flow), -1, -1, -1)
    return functional.grid_sample(pixels, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
