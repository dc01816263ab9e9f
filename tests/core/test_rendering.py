"""Frames that are rendered: at any time and size from the same latents, a few at a time, the first of them the still."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from svd_ui.catalog import folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import to_pixels
from svd_ui.core.decode import decode, decoder_of
from svd_ui.core.families.canvas import Canvas
from svd_ui.core.families.scene import Scene
from svd_ui.core.runtime import Runtime
from svd_ui.errors import Cancelled
from svd_ui.events import never
from svd_ui.media.image import fit
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import REPOSITORY
from tests.core.conftest import CPU_PLAN
from tests.tiny import save_tiny_warp

PHOTO = REPOSITORY / "benchmarks" / "data" / "pagoda.jpg"
WIDTH, HEIGHT = 512, 288
FRAMES, FPS = 14, 5


@pytest.fixture(scope="module")
def warp(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = save_tiny_warp(tmp_path_factory.mktemp("models") / "warp")
    return Runtime(folder_row(folder), folder, CPU_PLAN)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(PHOTO).convert("RGB")


def asked(runtime: Runtime, **values: Any) -> ClipSpec:
    values = {"width": WIDTH, "height": HEIGHT, "num_frames": FRAMES, "fps": FPS} | values
    return ClipSpec.of(GenerationRequest(**values), runtime.row)


def camera(times: Tensor) -> Scene:
    """A push with a pan, slow at first, as at key frame ``times``: [F] => a scene of as many frames."""
    share = times / (FRAMES - 1)
    gone = share * share * (3 - 2 * share)
    pose = torch.stack([0.08 * gone, 0.03 * gone, 0.15 * gone, 0.02 * gone, 0 * gone], dim=1)
    return Scene(pose, torch.zeros(HEIGHT // 16, WIDTH // 16), torch.zeros(len(times), 2, HEIGHT // 16, WIDTH // 16))


def latents(runtime: Runtime, still: Image.Image) -> Tensor:
    """[1 F C h w]"""
    scene = camera(torch.arange(FRAMES, dtype=torch.float32))
    return runtime.vae.encode_scene(to_pixels([still]), scene, torch.zeros_like(scene.nearness))[None]


def chunks(
    runtime: Runtime, photo: Image.Image, clip: ClipSpec, chunk: int = 14, start: int = 0
) -> Iterator[np.ndarray]:
    still = fit(photo, WIDTH, HEIGHT)
    return decode(decoder_of(runtime, still, clip, photo), latents(runtime, still), chunk, never(), start)


def rendered(runtime: Runtime, photo: Image.Image, clip: ClipSpec, chunk: int = 14, start: int = 0) -> np.ndarray:
    return np.concatenate(list(chunks(runtime, photo, clip, chunk, start)))


@pytest.fixture(scope="module")
def film(warp: Runtime, photo: Image.Image) -> np.ndarray:
    """The plain clip, all of its frames."""
    return rendered(warp, photo, asked(warp))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b.astype(float)).mean()))


def test_a_clip_is_written_at_24_frames_a_second_for_as_long_as_its_key_frames_last(
    warp: Runtime, photo: Image.Image, film: np.ndarray
) -> None:
    clip, frames = asked(warp), film
    assert (clip.shape.num_frames, clip.shape.fps) == (63, 24)
    assert frames.shape == (63, HEIGHT, WIDTH, 3)
    again = rendered(warp, photo, asked(warp, output_fps=FPS))
    assert len(again) == FRAMES
    # Every fifth key frame falls on a frame of 24 a second.
    assert np.abs(frames[::24].astype(int) - again[::5]).max() <= 1


def test_the_first_frame_is_the_still(warp: Runtime, photo: Image.Image) -> None:
    for values in ({}, {"render_height": 720}):
        clip = asked(warp, **values)
        first = next(chunks(warp, photo, clip, 1))[0]
        assert psnr(first, np.asarray(fit(photo, *clip.frame_size))) >= 46


def test_frames_between_key_frames_are_those_of_their_own_time(
    warp: Runtime, photo: Image.Image, film: np.ndarray
) -> None:
    clip, frames = asked(warp), film
    still = fit(photo, WIDTH, HEIGHT)
    exact = decoder_of(warp, still, clip, photo).frames_of(latents(warp, still)[0])
    exact._scene = camera(torch.tensor(clip.frame_times))  # type: ignore[attr-defined]
    exact._times = torch.arange(len(frames), dtype=torch.float32)  # type: ignore[attr-defined]
    own = exact.pixels(0, len(frames)).permute(0, 2, 3, 1).add(1).mul(127.5).round().numpy()
    assert min(psnr(a, b) for a, b in zip(frames, own, strict=True)) >= 45


def test_a_larger_frame_has_the_detail_of_the_picture(warp: Runtime, photo: Image.Image, film: np.ndarray) -> None:
    clip = asked(warp, render_height=576)
    assert clip.frame_size == (1024, 576)
    large = next(chunks(warp, photo, clip, 1, start=24))[0]
    from_small = np.asarray(Image.fromarray(film[24]).resize((1024, 576)))
    detail = [np.abs(np.diff(frame.astype(float), axis=1)).mean() for frame in (large, from_small)]
    assert detail[0] > 1.2 * detail[1]
    assert psnr(large, from_small) > 24  # and shows the same


@pytest.mark.parametrize("chunk", [1, 4, 63])
def test_chunks_do_not_show_and_a_clip_goes_on_from_any_frame(
    warp: Runtime, photo: Image.Image, film: np.ndarray, chunk: int
) -> None:
    assert np.abs(rendered(warp, photo, asked(warp), chunk, start=40).astype(int) - film[40:]).max() <= 1


def test_it_stops_between_chunks(warp: Runtime, photo: Image.Image) -> None:
    seen: list[int] = []

    class Cancel:
        def is_set(self) -> bool:
            return bool(seen)

    still = fit(photo, WIDTH, HEIGHT)
    frames = decode(decoder_of(warp, still, asked(warp), photo), latents(warp, still), 4, Cancel())
    seen.append(len(next(frames)))
    with pytest.raises(Cancelled):
        next(frames)


def test_memory_does_not_grow_with_the_clip(warp: Runtime, photo: Image.Image) -> None:
    """Counted where torch asks for it: of long clips only a few frames are there at once."""
    peaks = []
    for fps in (12, 48):
        clip = asked(warp, output_fps=fps, render_height=360)
        chunk = clip.frames_at_once(CPU_PLAN.profile)
        still = fit(photo, WIDTH, HEIGHT)
        most = 0
        tracemalloc.start()
        for frames in decode(decoder_of(warp, still, clip, photo), latents(warp, still), chunk, never()):
            most = max(most, frames.nbytes)
        peaks.append((most, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    assert peaks[0][0] == peaks[1][0] <= 3 * 1920 * 1080
    assert peaks[1][1] < 1.1 * peaks[0][1]


def test_of_a_large_frame_one_is_made_at_a_time_and_of_a_small_one_many(warp: Runtime) -> None:
    assert asked(warp, render_height=1080).frames_at_once(CPU_PLAN.profile) == 1
    assert asked(warp).frames_at_once(CPU_PLAN.profile) == 14
    assert asked(warp, render_height=1080, decode_chunk_size=3).frames_at_once(CPU_PLAN.profile) == 3


def test_a_walls_tiles_are_rendered_small_and_smooth(warp: Runtime, photo: Image.Image) -> None:
    clip = asked(warp, wall=Wall(seeds=1, motion_bucket_ids=(40, 80)), render_height=1080)
    assert (clip.frame_size, clip.shape.fps) == ((256, 144), 24)
    assert rendered(warp, photo, clip, 63).shape == (63, 144, 256, 3)


def test_without_a_clip_the_latents_frames_are_decoded(warp: Runtime, photo: Image.Image) -> None:
    still = fit(photo, WIDTH, HEIGHT)
    parts: Iterator[np.ndarray] = decode(decoder_of(warp, still), latents(warp, still), 14, never())
    assert np.concatenate(list(parts)).shape == (FRAMES, HEIGHT, WIDTH, 3)


def test_what_lies_around_a_still_is_painted_once_for_all_its_clips(
    warp: Runtime, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted: list[Any] = []
    paint = Canvas.of

    def counted(*args: Any) -> Canvas:
        painted.append(args)
        return paint(*args)

    monkeypatch.setattr(Canvas, "of", counted)
    warp.encoder_cache.clear()
    clips = [rendered(warp, photo, asked(warp, seed=seed, output_fps=5)) for seed in (1, 2)]
    assert len(painted) == 1
    assert np.array_equal(*clips)
    rendered(warp, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), asked(warp, output_fps=5))
    assert len(painted) == 2
