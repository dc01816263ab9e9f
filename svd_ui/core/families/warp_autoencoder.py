"""An autoencoder for moving stills, with the interface of ``AutoencoderKLTemporalDecoder``.

Latents are the principal components of the still and, beside them, a scene (``scene.py``): the camera's steps, how near
each cell is, whether it stirs and how. The decoder moves the still's own pixels, so a small model that knows where
things go gives sharp frames, the first of which is the still itself; nothing is invented. What is one number for a
whole frame, or for a whole clip, is read as the mean of its cells, so it cannot differ between them. Decoders
that look at the still they animate: DynamiCrafter (arXiv 2310.12190), ToonCrafter (arXiv 2405.17933), and diffusers'
``AsymmetricAutoencoderKL``; animating by displacement fields: Generative Image Dynamics (arXiv 2309.07906); a camera,
layers and what is left, each by itself: Wang and Adelson 1994 (doi:10.1109/83.334981).
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as functional
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from ..optical_flow import displacements
from .prolonging import carried_on, whole_cycles
from .scene import Scene, bicubic, grid, in_layers
from .scene_fit import fitted

CAMERA, RELIEF, DRIFT = 5, 2, 2
"""Channels for the camera's step, for nearness and stirring, and for place and drift, in this order at the end."""
SCENE_CHANNELS = CAMERA + RELIEF + DRIFT
MOTION_GAIN = 48.0
"""Brings steps and drifts, in halves of the longer side, to the size of the other channels."""
STIRS = (0.6, 0.85)
"""Below the first a cell is still, above the second it stirs wholly."""


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
    """Cells of [3 p p] pixels <-> ``components`` principal components and ``SCENE_CHANNELS``.

    ``analysis`` [components 3 p p] and ``synthesis``, its pseudo-inverse of the same shape, are the linear part; ``mean``
    [3] is the mean colour in [-1, 1]. Components are half-whitened: divided by the fourth root of their variance, so that
    detail is neither drowned nor blown up. Of the scene's channels the last two hold each cell's place, in halves of the
    longer side from the middle, plus its drift times ``MOTION_GAIN``; the camera's hold its step since the frame before,
    times the same gain; nearness and stirring are as they are. Arithmetic is float32 whatever the dtype.
    """

    inference_dtype = torch.float32
    """Whatever the U-Net runs in: rounded motion adds up over a clip."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: int = 16,
        components: int = 23,
        latent_channels: int = 32,
        scaling_factor: float = 1.0,
        force_upcast: bool = False,
        block_out_channels: tuple[int, ...] = (16, 16, 16, 16, 16),
    ) -> None:
        super().__init__()
        if latent_channels != components + SCENE_CHANNELS:
            raise ValueError(f"latent_channels must be components + {SCENE_CHANNELS}: the last ones hold the scene")
        if patch_size != 2 ** (len(block_out_channels) - 1):
            raise ValueError("the pipeline reads the patch size from len(block_out_channels)")
        self.register_buffer("analysis", torch.zeros(components, 3, patch_size, patch_size))
        self.register_buffer("synthesis", torch.zeros(components, 3, patch_size, patch_size))
        self.register_buffer("mean", torch.zeros(3))
        self.patch_size, self.components = patch_size, components

    @property
    def dtype(self) -> torch.dtype:
        """Buffers only, so diffusers' search over parameters would find none."""
        return self.analysis.dtype  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return self.analysis.device  # type: ignore[no-any-return]

    def encode(self, x: Tensor, return_dict: bool = True) -> SimpleNamespace | tuple[LatentMode]:
        """Stills [N 3 H W] in [-1, 1] => an object whose ``latent_dist.mode()`` is [N C H/p W/p]: nothing moves."""
        parts = self._components(x.float() - self.mean.float()[:, None, None])
        height, width = parts.shape[-2:]
        rest = functional.pad(grid(height, width, parts), (0, 0, 0, 0, CAMERA + RELIEF, 0))
        latents = torch.cat([parts, rest.expand(len(parts), -1, -1, -1)], dim=1)
        posterior = LatentMode(latents.to(x.dtype))
        return SimpleNamespace(latent_dist=posterior) if return_dict else (posterior,)

    def encode_clip(self, frames: Tensor) -> Tensor:
        """Consecutive frames [F 3 H W] in [-1, 1], the first being the still => latents [F C H/p W/p].

        How far each cell has moved is measured (``optical_flow.py``) and told apart into a scene (``scene_fit.py``).
        """
        flow = displacements(frames, self.patch_size) * (2 / max(frames.shape[-2:]))
        return self.encode_scene(frames[:1], *fitted(flow))

    def encode_scene(self, still: Tensor, scene: Scene, stirring: Tensor) -> Tensor:
        """``still`` [1 3 H W] and what happens in front of it => [F C h w].

        ``stirring`` [h w] is 1 where the scene's drift, which may go on beside, is seen.
        """
        z = self.encode(still).latent_dist.mode().float()  # type: ignore[union-attr]
        cells = z.shape[-2:]
        steps = torch.cat([torch.zeros_like(scene.pose[:1]), scene.pose.diff(dim=0)]) * MOTION_GAIN
        told = [
            steps[:, :, None, None].expand(-1, -1, *cells),
            torch.stack([scene.nearness, stirring]).expand(len(scene), -1, -1, -1),
            scene.drift * MOTION_GAIN + z[:, -DRIFT:],
        ]
        parts = z[:, : self.components].expand(len(scene), -1, -1, -1)
        return torch.cat([parts, *told], dim=1).to(still.dtype)

    def scene(self, z: Tensor) -> Scene:
        """Latents of a clip [F C h w] => what happens in front of its still."""
        return scene_of(z)

    def decode(
        self, z: Tensor, num_frames: int = 1, return_dict: bool = True, still: Tensor | None = None, first: int = 0
    ) -> DecoderOutput | tuple[Tensor]:
        """Latents of one clip from its beginning [N C h w] => its frames from the one numbered ``first`` on [N - first 3 H W].

        ``still`` [1 3 H W] in [-1, 1] is moved; beyond its edges it is held. Without it the components alone are decoded:
        blurred pictures that do not move. ``num_frames`` is diffusers'.
        """
        if still is None:
            frames = self._reconstruct(z[first:])
        else:
            still = still.to(z.device).float()
            frames = moved(still, self.scene(z).places(*still.shape[-2:])[first:])
        frames = frames.to(z.dtype)
        return DecoderOutput(sample=frames) if return_dict else (frames,)

    def forward(
        self, sample: Tensor, num_frames: int = 1, return_dict: bool = True, still: Tensor | None = None
    ) -> DecoderOutput | tuple[Tensor]:
        """Encode and decode [N 3 H W]; diffusers looks for ``num_frames`` in this signature."""
        (posterior,) = self.encode(sample, return_dict=False)  # type: ignore[attr-defined]
        return self.decode(posterior.mode(), num_frames=num_frames, return_dict=return_dict, still=still)

    def _components(self, centred: Tensor) -> Tensor:
        parts: Tensor = functional.conv2d(centred, self.analysis.float(), stride=self.patch_size)
        return parts

    def _reconstruct(self, z: Tensor) -> Tensor:
        parts = z[:, : self.components].float()
        centred = functional.conv_transpose2d(parts, self.synthesis.float(), stride=self.patch_size)
        frames: Tensor = centred + self.mean.float()[:, None, None]
        return frames


def parts_of(told: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The scene's channels [B F 9 h w] => the camera's, nearness and stirring, place and drift."""
    camera, relief, drift = torch.split(told, [CAMERA, RELIEF, DRIFT], dim=2)
    return camera, relief, drift


def scene_of(z: Tensor) -> Scene:
    """Latents of a clip [F C h w] => what happens in front of its still; at its first frame nothing has yet."""
    camera, relief, drift = parts_of(coherent(z[None, :, -SCENE_CHANNELS:].float()))
    pose = (camera[0, :, :, 0, 0] / MOTION_GAIN).cumsum(dim=0)
    nearness, stirring = relief[0, 0]
    nearness = in_layers(nearness)
    share = ((stirring - STIRS[0]) / (STIRS[1] - STIRS[0])).clamp(0, 1)
    height, width = z.shape[-2:]
    moved = (drift[0] - grid(height, width, z)) / MOTION_GAIN
    return Scene(
        pose=pose - pose[:1],
        nearness=nearness - nearness.mean(),
        drift=(moved - moved[:1]) * (share * share * (3 - 2 * share)),
    )


def prolonged(z: Tensor, frames: int) -> Tensor:
    """Latents of a clip [F C h w] => of one that goes on: [frames C h w] (``prolonging.py``)."""
    camera, relief, drift = (part[0] for part in parts_of(coherent(z[None, :, -SCENE_CHANNELS:])))
    height, width = z.shape[-2:]
    here = grid(height, width, z)
    pose = carried_on(camera[:, :, 0, 0].cumsum(dim=0) / MOTION_GAIN, frames)
    steps = torch.cat([torch.zeros_like(pose[:1]), pose.diff(dim=0)]) * MOTION_GAIN
    swinging = whole_cycles(drift - here, len(z) - 1, frames) + here
    told = [steps[:, :, None, None].expand(-1, -1, *z.shape[-2:]), relief[:1].expand(frames, -1, -1, -1), swinging]
    return torch.cat([z[:1, :-SCENE_CHANNELS].expand(frames, -1, -1, -1), *told], dim=1)


def coherent(told: Tensor) -> Tensor:
    """The scene's channels [B F 9 h w] with what is one number for a frame, or for a clip, made one: the mean."""
    camera, relief, drift = parts_of(told)
    camera = camera.mean(dim=(-2, -1), keepdim=True).expand_as(camera)
    relief = relief.mean(dim=1, keepdim=True).expand_as(relief)
    return torch.cat([camera, relief, drift], dim=2)


def coherent_noise(noise: Tensor) -> Tensor:
    """Unit noise [B F 9 h w] => unit noise of the same kind as ``coherent``."""
    camera, relief, drift = parts_of(coherent(noise))
    frames, cells = noise.shape[1], noise.shape[-2] * noise.shape[-1]
    return torch.cat([camera * cells**0.5, relief * frames**0.5, drift], dim=2)


def moved(still: Tensor, places: Tensor) -> Tensor:
    """``still`` [1 3 H W] looked up bicubically at ``places`` [F 2 H W] (``scene.py``): [F 3 H W]; held beyond its edges."""
    height, width = still.shape[-2:]
    half = max(height, width)
    unit = torch.tensor([half / width, half / height], device=places.device)
    return bicubic(still.expand(len(places), -1, -1, -1), places.permute(0, 2, 3, 1) * unit)
