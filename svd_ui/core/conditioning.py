"""A still => what the U-Net is told about it.

The picture comes in at exactly the clip's size: cropping happens once, before, and the autoencoder and
CLIP see the same picture, CLIP squashed to its square.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ..clip import ClipSpec
from ..errors import BadInput, NotFinite
from .runtime import Runtime
from .sampling.denoiser import Conditioning
from .sampling.samplers import Generators, gaussian


@torch.no_grad()
def condition(
    runtime: Runtime,
    image: Image.Image | Sequence[Image.Image],
    clip: ClipSpec,
    generator: Generators,
) -> Conditioning:
    """Encode ``image`` (RGB, one per clip, at the clip's size) for ``clip``.

    The noise augmentation takes the first numbers of ``generator``, at strength 0 too; the caller draws
    the latents from what follows. Raises BadInput when the size does not fit latent cells, NotFinite when an encoder overflows.

    What the encoders made is kept by the very pixels they saw (the augmented ones for the autoencoder, so strength
    and seed are part of that), one picture at a time: a clip comes out the same to the bit, kept or not.
    """
    images = [image] if isinstance(image, Image.Image) else list(image)
    if any(side % runtime.patch for one in images for side in one.size):
        raise BadInput(f"Width and height must be multiples of {runtime.patch}.", field="width")
    pixels = to_pixels(images)
    augmented = pixels + clip.noise_aug_strength * gaussian(pixels.shape, generator)
    micro = [clip.fps - 1, clip.motion_bucket_id, clip.noise_aug_strength]
    latents = _cached(runtime, encode, augmented)
    return Conditioning(
        image_embeds=_cached(runtime, embed, pixels),
        image_latents=latents[:, None].expand(-1, clip.num_frames, -1, -1, -1),
        added_time_ids=torch.tensor([micro] * len(images), dtype=torch.float32, device=runtime.device),
    )


def _cached(runtime: Runtime, encoder: Callable[[Runtime, Tensor], Tensor], pixels: Tensor) -> Tensor:
    """``encoder`` of each picture of ``pixels`` [B 3 H W], from memory where it saw that before with these weights."""
    found = [
        runtime.encoder_cache.get_or_encode(
            (encoder.__name__, runtime.weights, digest(one)), partial(_finite, encoder, runtime, one)
        )
        for one in (pixels[place : place + 1] for place in range(len(pixels)))
    ]
    return torch.cat(found).to(runtime.device)


def _finite(encoder: Callable[[Runtime, Tensor], Tensor], runtime: Runtime, pixels: Tensor) -> Tensor:
    """What ``encoder`` makes of ``pixels``, in host memory. Raises NotFinite where that holds no numbers."""
    encoded = encoder(runtime, pixels).cpu()
    if not bool(encoded.isfinite().all()):
        raise NotFinite(doing="reading the picture")
    return encoded


def digest(tensor: Tensor) -> str:
    """The content of a tensor in host memory: equal numbers of one shape and dtype, equal digest."""
    array = tensor.contiguous().numpy()
    return hashlib.blake2b(f"{array.dtype} {array.shape}".encode() + array.tobytes(), digest_size=16).hexdigest()


def to_pixels(images: Sequence[Image.Image]) -> Tensor:
    """RGB pictures of one size => ``[B 3 H W]`` in [-1, 1], float32."""
    arrays = np.stack([np.asarray(image.convert("RGB"), dtype=np.float32) for image in images])
    return torch.from_numpy(arrays / 255.0).permute(0, 3, 1, 2) * 2 - 1


def encode(runtime: Runtime, pixels: Tensor) -> Tensor:
    """``[N 3 H W]`` in [-1, 1] => **unscaled** latents ``[N C h w]``, the mode, float32.

    In half precision the encoder overflows, so it runs in float32 where the checkpoint says so.
    """
    upcast = runtime.vae.dtype == torch.float16 and runtime.vae.config.force_upcast
    with runtime.use("vae", torch.float32 if upcast else None) as vae:
        latents: Tensor = vae.encode(pixels.to(runtime.device, vae.dtype)).latent_dist.mode()
    return latents.float()


def embed(runtime: Runtime, pixels: Tensor) -> Tensor:
    """``[B 3 H W]`` in [-1, 1] => CLIP embeddings ``[B 1 D]``, float32."""
    side = int(runtime.image_encoder.config.image_size)
    squashed = resize_antialiased(pixels, (side, side))
    normalised = runtime.feature_extractor((squashed + 1) / 2)
    with runtime.use("image_encoder") as clip:
        embeds: Tensor = clip(normalised.to(runtime.device, clip.dtype)).image_embeds
    return embeds[:, None].float()


def resize_antialiased(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Blur by half the excess of the shrink factor, then sample bicubically: the resize SVD's CLIP was fed with.

    ``[B 3 H W]`` => ``[B 3 *size]``, size being (height, width).
    """
    for axis, target in ((-2, size[0]), (-1, size[1])):
        pixels = _blur(pixels, axis, max((pixels.shape[axis] / target - 1) / 2, 0.001))
    return functional.interpolate(pixels, size=size, mode="bicubic", align_corners=True)


def _blur(pixels: Tensor, axis: int, sigma: float) -> Tensor:
    """Gaussian blur along one axis, two sigmas wide, mirrored at the edges."""
    width = int(max(4 * sigma, 3)) | 1
    x = torch.arange(width, dtype=pixels.dtype) - width // 2
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view((1, 1, width, 1) if axis == -2 else (1, 1, 1, width))
    half = width // 2
    padded = functional.pad(pixels, (0, 0, half, half) if axis == -2 else (half, half, 0, 0), mode="reflect")
    return functional.conv2d(padded, kernel.expand(pixels.shape[1], -1, -1, -1), groups=pixels.shape[1])
