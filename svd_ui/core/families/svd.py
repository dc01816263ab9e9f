"""Stable Video Diffusion in torch, and the base of every family: what others do differently they override."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..conditioning import encode
from ..sampling import samplers
from ..sampling.denoiser import Conditioning, Denoiser, edm_skip, svd_denoiser
from ..sampling.samplers import down_to_zero
from ..staging import Stage
from .scene import flat

if TYPE_CHECKING:
    from PIL import Image

    from ...catalog import CheckpointRow
    from ...clip import ClipSpec
    from ...steering.choreography import Choreography
    from ..runtime import Runtime

ENCODED_AT_ONCE = 4

Floats = NDArray[np.float32]
Rows = tuple[tuple[float, float, float], ...]


class Decoder:
    """Latents of one clip => pixels; made once per clip, it holds what decoding needs beside the latents.

    ``stage`` is where the clip's plan is played, None where it has none. ``may_be_flat``: frames of a single colour are believed. ``overflowed``: some had to be decoded in float32.
    """

    def __init__(self, runtime: Runtime, stage: Stage | None = None) -> None:
        self.runtime = runtime
        self.stage: Stage | None = stage
        self.may_be_flat = self.overflowed = False

    def pixels(self, latents: Tensor, first: int = 0, dtype: torch.dtype | None = None) -> Tensor:
        """Scaled latents of a clip from its beginning ``[N C h w]`` => its frames from the one numbered ``first`` on.

        ``[N - first 3 H W]`` around [-1, 1], float32; computed in ``dtype`` where given.
        """
        raw = latents[first:].float() / self.runtime.scaling_factor
        with self.runtime.use("vae", dtype) as vae:
            pixels: Tensor = vae.decode(raw.to(self.runtime.device, vae.dtype), num_frames=len(raw)).sample
        return pixels.float()

    def frames_of(self, latents: Tensor) -> ClipFrames:
        """The frames that a clip ``[F C h w]`` is written as."""
        return ClipFrames(self, latents)


class ClipFrames:
    """The frames of one clip, made when they are asked for: here one for each frame of the latents ``[F C h w]``."""

    def __init__(self, decoder: Decoder, latents: Tensor) -> None:
        self._decoder, self._latents = decoder, latents

    def __len__(self) -> int:
        return len(self._latents)

    def pixels(self, first: int, last: int, dtype: torch.dtype | None = None) -> Tensor:
        """Those from ``first`` to before ``last``, as ``Decoder.pixels`` gives them."""
        return self._decoder.pixels(self._latents[:last], first, dtype)


class FamilyVerbs:
    """What the stages of a clip ask of a checkpoint's family. Outside, latents are scaled ones; sigmas are the scheduler's."""

    def sigmas(self, runtime: Runtime, clip: ClipSpec) -> Tensor:
        """Where the steps lie, ``[num_inference_steps + 1]``, the last one 0; on the CPU."""
        return down_to_zero(clip.sigmas) if clip.schedule == "ays" else runtime.sigmas(clip.num_inference_steps)

    def start(
        self,
        runtime: Runtime,
        sigmas: Tensor,
        cond: Conditioning,
        noise: Tensor,
        seeds: Sequence[int],
    ) -> Tensor:
        """Unit ``noise`` ``[B F C h w]`` on the CPU => the latents that a walk down ``sigmas`` begins with, on the device.

        ``seeds`` are what ``noise`` was drawn from, one for each clip, for families that spread something over consecutive
        ones.
        """
        return (noise * runtime.initial_scale(sigmas)).to(runtime.device)

    def unconditional(self, cond: Conditioning) -> Conditioning:
        """What stands for "no still" in guidance."""
        return cond.unconditional()

    def denoiser(self, runtime: Runtime, unet: Callable[..., Any], cond: Conditioning) -> Denoiser:
        """``unet``, which is called like the runtime's, as ``(x, sigma) -> x0``."""
        shown, skip = partial(self.shown, runtime.row), partial(self.skip, runtime.row)
        return svd_denoiser(unet, cond, runtime.plan.dtype, shown, skip)

    def walk(
        self, denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: Callable[[], Tensor], first: int
    ) -> Iterator[samplers.Step]:
        """The steps from ``x`` down ``sigmas`` after the ``first``; ``noise`` gives unit noise shaped like ``x``."""
        return samplers.euler(denoiser, x, sigmas, first)

    def decoder(
        self,
        runtime: Runtime,
        still: Tensor,
        clip: ClipSpec | None = None,
        picture: Image.Image | None = None,
        choreography: Choreography | None = None,
    ) -> Decoder:
        """For one clip of ``still`` ``[1 3 H W]`` in [-1, 1].

        A family that renders also needs ``clip``, which says when and how large the frames are, and the ``picture`` that
        the still was cut from; without them frames are those of the latents. ``choreography`` is the clip's plan.
        """
        if clip is None or choreography is None:
            return Decoder(runtime)
        return Decoder(runtime, Stage(runtime, still, clip, picture, choreography, (clip.width, clip.height)))

    def reference(self, stage: Stage, clip: ClipSpec, still: Tensor) -> tuple[Tensor, Tensor]:
        """What a clip's plan is in latents, and where it counts: ``[1 F C h w]``, and 0 to 1 in ``[1 F 1 h w]``.

        ``still`` is the still's scaled latents in every frame ``[1 F C h w]``.
        """
        frames, (height, width) = still.shape[1], still.shape[-2:]
        shares = torch.arange(frames, device=still.device) / stage.span
        parts = (shares[at : at + ENCODED_AT_ONCE] for at in range(0, frames, ENCODED_AT_ONCE))
        latents = [encode(stage.runtime, stage.frames(flat(len(part), still.device), part)) for part in parts]
        kept = stage.followed(shares, height, width).to(still.device)
        return torch.cat(latents)[None] * stage.runtime.scaling_factor, kept

    def colours(self, row: CheckpointRow, latents: Tensor, frames: slice) -> Tensor:
        """``frames`` of a clip's estimate ``[F C h w]`` as small colours ``[N h w 3]``, float32, 0 to 1 where all is well.

        On the device of the latents, or where they were fetched from it: fetching the bytes of a picture takes a fifth of
        the time that reckoning beside the device does.
        """
        some = latents[frames].float()
        if some.device.type == "cpu":
            return torch.from_numpy(linear_colours(row, some.numpy()))
        return colours_on_device(row, some)

    def encode_clip(self, runtime: Runtime, frames: Tensor) -> Tensor:
        """Consecutive frames ``[F 3 H W]`` in [-1, 1], the first being the still => **unscaled** latents ``[F C h w]``.

        Float32, a few frames at a time.
        """
        return torch.cat([encode(runtime, part) for part in frames.split(ENCODED_AT_ONCE)])  # type: ignore[no-untyped-call]

    def prolonged(self, latents: Tensor, length: int) -> Tensor:
        """A clip's latents ``[1 F C h w]`` made ``length`` frames long without a model; only where ``plays_plans``."""
        raise NotImplementedError

    # What is diffused, for the denoiser and for what fine-tuning minimises.

    keeps_still = False
    """The latents of the still are never taken away in training: the estimate is added to them."""

    def diffused(self, row: CheckpointRow, latents: Tensor, still: Tensor, time_ids: Tensor) -> Tensor:
        """Of scaled ``latents`` and those of the still, what the U-Net diffuses; ``time_ids`` [B 3] as ``Conditioning``'s."""
        return latents

    def noise(self, row: CheckpointRow, noise: Tensor) -> Tensor:
        """Unit noise ``[B F C h w]`` as this kind of checkpoint is diffused with."""
        return noise

    def shown(self, row: CheckpointRow, values: Tensor) -> Tensor:
        """Of what is diffused, with noise ``[B F C h w]``, what the U-Net gets to see."""
        return values

    def skip(self, row: CheckpointRow, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """(guess, trust): the estimate of what ``x`` was before noise is guess + trust times the U-Net's raw output.

        EDM's c_skip x and c_out, unless more is known. ``sigma`` is [] or as long as ``x``.
        """
        return edm_skip(x, sigma)

    def coherent(self, row: CheckpointRow, values: Tensor) -> Tensor:
        """``values`` [B F C h w] with what is one number for several cells or frames made one."""
        return values

    def held(self, row: CheckpointRow, channels: int) -> int:
        """How many of the latent ``channels``, the first, stay the still's in every frame."""
        return 0


def colours_on_device(row: CheckpointRow, frames: Tensor) -> Tensor:
    """The same as ``linear_colours`` where ``frames`` are."""
    matrix, bias = _preview_of(row.preview, row.preview_bias, frames.device)
    colours: Tensor = torch.tensordot(frames, matrix, dims=([1], [0])) + bias
    return colours


@lru_cache(maxsize=4)
def _preview_of(matrix: Rows, bias: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Copied once: a copy of its own at every step would be another wait for the device."""
    return torch.tensor(matrix, device=device), torch.tensor(bias, device=device)


def linear_colours(row: CheckpointRow, frames: Floats) -> Floats:
    """Latents ``[N C h w]`` => colours ``[N h w 3]`` by the row's matrix."""
    count, channels, height, width = frames.shape
    cells = frames.reshape(count, channels, -1).swapaxes(1, 2)
    colours: Floats = cells @ np.asarray(row.preview, np.float32)
    colours += np.asarray(row.preview_bias, np.float32)
    return colours.reshape(count, height, width, 3)
