"""Latents => frames, a few at a time; and a glimpse of them while they form."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..catalog import CheckpointRow
from ..clip import ClipSpec
from ..errors import Cancelled, NotFinite
from ..events import CancelToken, Preview
from ..steering.choreography import Choreography
from .conditioning import to_pixels
from .families import verbs_of
from .families.svd import ClipFrames, Decoder
from .interruptible import cells_of, interruptible
from .offload.pinned_memory import allocate_pinned
from .runtime import Runtime


@torch.no_grad()
def decode(
    decoder: Decoder, latents: Tensor, decode_chunk_size: int, cancel: CancelToken, start: int = 0
) -> Iterator[np.ndarray]:
    """Scaled latents ``[1 F C h w]`` => the clip's uint8 frames ``[f H W 3]``, at most ``decode_chunk_size`` at once.

    ``start`` skips frames already decoded: after ``torch.OutOfMemoryError`` go on there with a smaller chunk.
    Raises Cancelled between chunks, and within those that take long. Frames of one chunk are decoded together in time, so chunk 1 can flicker.
    The autoencoder stays on the device for the whole clip.
    """
    with decoder.runtime.use("vae"):
        clip = decoder.frames_of(latents[0])
        for first in range(start, len(clip), decode_chunk_size):
            if cancel.is_set():
                raise Cancelled()
            last = min(first + decode_chunk_size, len(clip))
            with interruptible(decoder.runtime, {"vae": cells_of(latents[0, first:last])}, cancel):
                frames = _chunk(decoder, clip, first, last)
            yield frames


def decoder_of(
    runtime: Runtime,
    still: Image.Image,
    clip: ClipSpec | None = None,
    picture: Image.Image | None = None,
    choreography: Choreography | None = None,
) -> Decoder:
    """For the clips of ``still``, the picture that conditions them: RGB at the clip's size, cut from ``picture``.

    Frames are those of the latents unless ``clip`` has others rendered. ``choreography`` is the clip's plan, where it has one.
    """
    decoder = verbs_of(runtime.row).decoder(runtime, to_pixels([still]), clip, picture, choreography)
    decoder.may_be_flat = is_flat(np.asarray(still.convert("RGB"))[None])
    return decoder


def decode_pixels(decoder: Decoder, latents: Tensor) -> Tensor:
    """Scaled latents of a clip's first frames ``[N C h w]`` => pixels ``[N 3 H W]`` around [-1, 1], float32.

    Half precision that overflowed would give black frames; then the same frames are decoded in float32. Raises NotFinite
    where they are no numbers in that either.
    """
    pixels = decoder.pixels(latents)
    if not bool(is_finite(pixels)):
        pixels = decoder.pixels(latents, dtype=_wider(decoder))
        if not bool(is_finite(pixels)):
            raise NotFinite(doing="decoding")
    return pixels


def _chunk(decoder: Decoder, clip: ClipFrames, first: int, last: int, dtype: torch.dtype | None = None) -> np.ndarray:
    """The frames of ``clip`` from ``first`` to before ``last``, with one wait for the device: the verdict arrives with them.

    Frames of a single colour are no picture either: some kernels turn what is not a number into 0. They pass where the still
    is such a picture, or where the clip began with others.
    """
    pixels = clip.pixels(first, last, dtype)
    finite = is_finite(pixels)
    frames = to_frames(pixels)
    del pixels
    flat = not decoder.may_be_flat and is_flat(frames)
    if bool(finite) and not flat:
        return frames
    if dtype is None and decoder.runtime.vae.dtype != torch.float32:
        return _chunk(decoder, clip, first, last, _wider(decoder))
    if bool(finite) and first:
        return frames
    raise NotFinite(doing="decoding")


def _wider(decoder: Decoder) -> torch.dtype:
    """The format to decode in where the autoencoder's own overflowed. Raises NotFinite where there is none."""
    if decoder.runtime.vae.dtype == torch.float32:
        raise NotFinite(doing="decoding")
    decoder.overflowed = True
    return torch.float32


def is_finite(values: Tensor) -> Tensor:
    """Whether every value is a number, still on the device; a sum of clip size stays far from float32's end."""
    return values.sum(dtype=torch.float32).isfinite()


FLAT_LEVELS = 1
THIN = 8


def is_flat(frames: np.ndarray) -> bool:
    """Whether each of uint8 ``frames`` [N H W 3] is of one colour, to a level; most are told by a few of their pixels."""
    return _same(frames[:, ::THIN, ::THIN]) and _same(frames)


def _same(frames: np.ndarray) -> bool:
    ranges = frames.max(axis=(1, 2)).astype(np.int16) - frames.min(axis=(1, 2))
    return bool((ranges <= FLAT_LEVELS).all())


def to_frames(pixels: Tensor) -> np.ndarray:
    """``[N 3 H W]`` in [-1, 1] => uint8 ``[N H W 3]``, converted on the device, a quarter of the bytes to fetch."""
    levels = (pixels / 2).add_(0.5).clamp_(0, 1).mul_(255).round_()
    frames = levels.permute(0, 2, 3, 1).to(torch.uint8, memory_format=torch.contiguous_format)
    return _fetched(frames).numpy()


def _fetched(frames: Tensor) -> Tensor:
    """uint8 ``frames`` in host memory, on CUDA page-locked memory if there is any: the bus's full rate."""
    host = allocate_pinned(frames.numel(), frames.device) if frames.device.type == "cuda" else None
    if host is None:
        return frames.cpu()
    host = host.view(frames.shape)
    host.copy_(frames, non_blocking=True)
    torch.cuda.current_stream(frames.device).synchronize()
    return host


PREVIEW_SIDES = 64, 128
"""What the longer side of a preview's frames may measure; the browser draws them as large as the clip."""
PREVIEW_FRAMES = 14


def preview(row: CheckpointRow, denoised: Tensor) -> Preview | None:
    """Frames of ``denoised [1 F C h w]``, evenly spread, as one JPEG of a few KB; None where ``row`` has no matrix.

    An animated WebP of the same frames takes twelve to twenty times as long to write as this.
    """
    frames = preview_frames(row, denoised, PREVIEW_FRAMES)
    return None if frames is None else Preview(jpeg=as_jpeg(frames.reshape(-1, *frames.shape[2:])), frames=len(frames))


def preview_frames(row: CheckpointRow, denoised: Tensor, most: int) -> np.ndarray | None:
    """At most so many frames of ``denoised [1 F C h w]`` as uint8 ``[N H W 3]`` ; one is the middle one.

    A linear map from latents to colours, no decoder. It waits for the device once.
    """
    if not row.preview:
        return None
    total = denoised.shape[1]
    which = slice(total // 2, total // 2 + 1) if most == 1 else slice(0, total, -(-total // most))
    with np.errstate(all="ignore"):  # wild latents give a picture too
        levels = _levels(verbs_of(row).colours(row, denoised[0], which))
    height, width = levels.shape[1:3]
    side, (least, largest) = max(height, width), PREVIEW_SIDES
    scale = min(max(side, least), largest) / side
    if scale == 1:
        return levels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BILINEAR)) for one in levels])


def _levels(colours: Tensor) -> np.ndarray:
    """``[N h w 3]`` around 0 to 1 => uint8, in host memory.

    On a processor the arithmetic is numpy's: at this size torch would spend more on waking its threads than on the work.
    """
    if colours.device.type != "cpu":
        return _on_device(colours).cpu().numpy()
    values: np.ndarray = np.nan_to_num(colours.numpy(), copy=False, nan=0.5).clip(0, 1) * 255 + 0.5
    return values.astype(np.uint8)


def _on_device(colours: Tensor) -> Tensor:
    return (colours.nan_to_num(0.5).clamp_(0, 1) * 255 + 0.5).to(torch.uint8)


def as_jpeg(picture: np.ndarray) -> bytes:
    """uint8 ``[H W 3]`` as a small JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()
