"""Frames come out whole, once, and the autoencoder is fetched once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from svd_ui.catalog import folder_row
from svd_ui.core.conditioning import encode, to_pixels
from svd_ui.core.decode import _fetched, decode, decode_pixels, decoder_of, to_frames
from svd_ui.core.devices import Plan
from svd_ui.core.families.warp_autoencoder import SCENE_CHANNELS, coherent
from svd_ui.core.runtime import Runtime
from svd_ui.errors import Cancelled
from svd_ui.events import never
from tests.core.conftest import CPU_PLAN, picture
from tests.tiny import save_tiny_svd, save_tiny_warp

STILL = picture(64, 64)


def latents(frames: int = 5) -> torch.Tensor:
    return torch.randn(1, frames, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_autoencoder_is_placed_once_for_all_chunks(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    depth, arrivals, use = [0], [], runtime.use

    @contextmanager
    def watched(name: str, dtype: torch.dtype | None = None) -> Iterator[Any]:
        if depth[0] == 0:
            arrivals.append(name)
        depth[0] += 1
        try:
            with use(name, dtype) as module:
                yield module
        finally:
            depth[0] -= 1

    monkeypatch.setattr(runtime, "use", watched)
    chunks = list(decode(decoder_of(runtime, STILL), latents(), 2, never()))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    assert arrivals == ["vae"]
    assert depth == [0]


def test_a_decode_that_stops_gives_the_autoencoder_back(runtime: Runtime) -> None:
    before = [parameter.data_ptr() for parameter in runtime.vae.parameters()]
    cancelled: list[bool] = []

    class Cancel:
        def is_set(self) -> bool:
            return bool(cancelled)

    frames = decode(decoder_of(runtime, STILL), latents(), 2, Cancel())
    next(frames)
    cancelled.append(True)
    with pytest.raises(Cancelled):
        next(frames)
    assert [parameter.data_ptr() for parameter in runtime.vae.parameters()] == before


def test_going_on_after_a_smaller_chunk_skips_what_is_there(runtime: Runtime) -> None:
    expected = np.concatenate(list(decode(decoder_of(runtime, STILL), latents(), 1, never())))
    rest = np.concatenate(list(decode(decoder_of(runtime, STILL), latents(), 1, never(), start=3)))
    assert np.array_equal(rest, expected[3:])


class GpuLike(Plan):
    """A plan that keeps every module in the U-Net's dtype, as plans for GPUs do."""

    def module_dtype(self, name: str) -> torch.dtype:
        return self.dtype


def test_half_precision_that_overflows_is_decoded_again_in_float32(tmp_path: Path) -> None:
    folder = save_tiny_svd(tmp_path / "half", dtype=torch.float16, variant="fp16")
    runtime = Runtime(folder_row(folder), folder, GpuLike(CPU_PLAN.device, CPU_PLAN.profile, torch.float16, "sdpa"))
    seen: list[torch.dtype] = []

    def overflowing(_: object, __: object, out: torch.Tensor) -> None:
        seen.append(out.dtype)
        if out.dtype == torch.float16 and len(seen) == 1:
            out[0, 0, 0, 0] = float("inf")

    runtime.vae.decoder.register_forward_hook(overflowing)
    chunks = list(decode(decoder_of(runtime, STILL), latents(4), 2, never()))
    assert seen == [torch.float16, torch.float32, torch.float16]
    with torch.no_grad():
        again = to_frames(decode_pixels(decoder_of(runtime, STILL), latents(4)[0, 2:]))
    assert np.array_equal(chunks[1], again)
    assert runtime.vae.dtype == torch.float16


def test_half_precision_leaves_an_autoencoder_that_looks_at_the_still_exact(tmp_path: Path) -> None:
    """The rounding of motion would add up over a clip."""
    folder = save_tiny_warp(tmp_path / "warp")
    plan = GpuLike(CPU_PLAN.device, CPU_PLAN.profile, torch.float16, "sdpa")
    runtime, detailed = Runtime(folder_row(folder), folder, plan), noisy(208, 64)
    with torch.no_grad():
        scaled = encode(runtime, to_pixels([detailed])) * runtime.scaling_factor
    frames = np.concatenate(
        list(decode(decoder_of(runtime, detailed), scaled[None].expand(1, 3, -1, -1, -1), 2, never()))
    )
    assert (runtime.unet.dtype, runtime.vae.dtype) == (torch.float16, torch.float32)
    assert np.abs(frames.astype(int) - np.asarray(detailed)).max() <= 1


def test_motion_adds_up_over_chunks(tmp_path: Path) -> None:
    folder = save_tiny_warp(tmp_path / "warp")
    runtime, detailed = Runtime(folder_row(folder), folder, CPU_PLAN), noisy(128, 64)
    clip = torch.randn(1, 5, runtime.latent_channels, 4, 8, generator=torch.Generator().manual_seed(0))
    clip[:, :, -SCENE_CHANNELS:] = coherent(clip[:, :, -SCENE_CHANNELS:])  # as a clip's latents are
    whole = np.concatenate(list(decode(decoder_of(runtime, detailed), clip, 5, never())))
    for start in (0, 3):
        chunks = list(decode(decoder_of(runtime, detailed), clip, 2, never(), start=start))
        assert np.abs(np.concatenate(chunks).astype(int) - whole[start:]).max() <= 1
    with torch.no_grad():
        pixels = decode_pixels(decoder_of(runtime, detailed), clip[0])
    assert np.abs(to_frames(pixels).astype(int) - whole).max() <= 1


def noisy(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_levels_are_rounded_and_clamped_and_the_pixels_untouched() -> None:
    pixels = torch.tensor([-3.0, -1.0, -0.999, 0.0, 0.5, 1.0, 7.0]).expand(1, 3, 2, 7)
    before = pixels.clone()
    frames = to_frames(pixels)
    assert frames.dtype == np.uint8
    assert frames.shape == (1, 2, 7, 3)
    assert frames.flags.c_contiguous
    assert frames[0, 0, :, 0].tolist() == [0, 0, 0, 128, 191, 255, 255]
    assert torch.equal(pixels, before)


class OnCard:
    """Frames on a card, of which only what a fetch without page-locked memory needs is there."""

    device = torch.device("cuda")

    def numel(self) -> int:
        return 6

    def cpu(self) -> torch.Tensor:
        return torch.arange(6)


def test_where_no_pages_can_be_locked_frames_come_through_ordinary_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed request for page-locked memory says "out of memory" and is no reason to step down."""
    asked: list[int] = []
    monkeypatch.setattr("svd_ui.core.decode.allocate_pinned", lambda nbytes, device: asked.append(nbytes))
    assert _fetched(OnCard()).tolist() == list(range(6))  # type: ignore[arg-type]
    assert asked == [6]
