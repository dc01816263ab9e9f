"""Facts about Stable Video Diffusion that are easy to get wrong; each number is that of the list in the design notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from svd_ui.catalog import folder_row
from svd_ui.core.conditioning import condition, embed, encode, resize_antialiased, to_pixels
from svd_ui.core.devices import Plan
from svd_ui.core.runtime import Runtime
from svd_ui.core.sampling.context import sample
from svd_ui.core.sampling.samplers import gaussian, seeded
from svd_ui.errors import BadInput
from tests.tiny import save_tiny_svd

from .conftest import CPU_PLAN, clip_of, picture, prepared, request


def test_1_time_ids_are_fps_minus_one_motion_and_noise(runtime: Runtime) -> None:
    clip = clip_of(runtime, fps=7, motion_bucket_id=180, noise_aug_strength=0.5)
    cond = condition(runtime, picture(64, 64), clip, seeded(0))
    torch.testing.assert_close(cond.added_time_ids, torch.tensor([[6.0, 180.0, 0.5]]))


def test_2_conditioning_latents_are_unscaled_and_the_scale_is_read(runtime: Runtime) -> None:
    context = prepared(runtime, request(noise_aug_strength=0.0))
    cond = context.conditioning
    with torch.no_grad():
        mode = runtime.vae.encode(to_pixels([picture(64, 64)])).latent_dist.mode()
    torch.testing.assert_close(cond.image_latents, mode[:, None].expand(-1, 4, -1, -1, -1))
    torch.testing.assert_close(context.still, cond.image_latents * runtime.vae.config.scaling_factor)


def test_2_the_number_of_latent_channels_is_read(tmp_path: Path) -> None:
    folder = save_tiny_svd(tmp_path / "sixteen", latent_channels=16)
    runtime = Runtime(folder_row(folder), folder, CPU_PLAN)
    assert next(sample(prepared(runtime, request()))).latents.shape == (1, 4, 16, 8, 8)


@pytest.mark.parametrize("strength", [0.0, 0.02])
def test_3_the_augmentation_is_drawn_before_the_latents_at_any_strength(runtime: Runtime, strength: float) -> None:
    generator, expected = seeded(5), seeded(5)
    condition(runtime, picture(64, 64), clip_of(runtime, noise_aug_strength=strength), generator)
    gaussian((1, 3, 64, 64), expected)
    torch.testing.assert_close(gaussian((1, 4, 4, 8, 8), generator), gaussian((1, 4, 4, 8, 8), expected))


def test_3_the_augmentation_is_added_in_pixels_and_clip_sees_the_clean_picture(runtime: Runtime) -> None:
    still = picture(64, 64)
    cond = condition(runtime, still, clip_of(runtime, noise_aug_strength=0.5), seeded(5))
    with torch.no_grad():
        noisy = to_pixels([still]) + 0.5 * gaussian((1, 3, 64, 64), seeded(5))
        torch.testing.assert_close(cond.image_latents[:, 0], encode(runtime, noisy))
        torch.testing.assert_close(cond.image_embeds, embed(runtime, to_pixels([still])))


def test_4_clip_sees_the_whole_picture_squashed_without_aliasing() -> None:
    stripes = torch.zeros(1, 3, 576, 1024)
    stripes[..., ::2] = 1  # one-pixel stripes must become grey, not beats
    squashed = resize_antialiased(stripes, (224, 224))
    assert squashed.shape == (1, 3, 224, 224)
    assert squashed[..., 8:-8].sub(0.5).abs().max() < 0.1
    left_half = torch.zeros(1, 3, 576, 1024)
    left_half[..., :512] = 1
    assert resize_antialiased(left_half, (224, 224)).mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("size", [(1024, 576), (96, 224), (64, 640)])
def test_4_the_resize_is_the_one_of_the_reference(size: tuple[int, int]) -> None:
    from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import _resize_with_antialiasing

    pixels = to_pixels([picture(*size)])
    torch.testing.assert_close(
        resize_antialiased(pixels, (224, 224)), _resize_with_antialiasing(pixels, (224, 224)), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("force_upcast", "expected"), [(True, torch.float32), (False, torch.float16)])
def test_5_the_encoder_upcasts_where_the_checkpoint_says_so(
    tmp_path: Path, force_upcast: bool, expected: torch.dtype
) -> None:
    folder = save_tiny_svd(tmp_path / "half", dtype=torch.float16, variant="fp16", force_upcast=force_upcast)
    half = GpuLike(CPU_PLAN.device, CPU_PLAN.profile, torch.float16, "sdpa")
    runtime = Runtime(folder_row(folder), folder, half)
    assert runtime.vae.dtype == torch.float16
    seen: list[torch.dtype] = []
    runtime.vae.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    before = [parameter.data_ptr() for parameter in runtime.vae.parameters()]
    encode(runtime, to_pixels([picture(64, 64)]))
    assert seen == [expected]
    assert runtime.vae.dtype == torch.float16
    assert [parameter.data_ptr() for parameter in runtime.vae.parameters()] == before


class GpuLike(Plan):
    """A plan that keeps every module in the U-Net's dtype, as plans for GPUs do."""

    def module_dtype(self, name: str) -> torch.dtype:
        return self.dtype


def test_5_half_precision_that_overflows_is_decoded_in_float32(tmp_path: Path) -> None:
    from svd_ui.core.decode import decode_pixels, decoder_of

    folder = save_tiny_svd(tmp_path / "half", dtype=torch.float16, variant="fp16")
    runtime = Runtime(folder_row(folder), folder, GpuLike(CPU_PLAN.device, CPU_PLAN.profile, torch.float16, "sdpa"))
    runtime.vae.decoder.register_forward_hook(
        lambda _, __, out: out.fill_(float("nan")) if out.dtype == torch.float16 else None
    )
    with torch.no_grad():
        assert decode_pixels(decoder_of(runtime, picture(64, 64)), torch.zeros(2, 4, 8, 8)).isfinite().all()
    assert runtime.vae.dtype == torch.float16


def test_7_multiples_of_8_run_and_others_name_the_field(runtime: Runtime) -> None:
    context = prepared(runtime, request(width=72, height=104))
    assert next(sample(context)).latents.shape[-2:] == (13, 9)
    with pytest.raises(BadInput) as caught:
        condition(runtime, picture(70, 64), context.clip, seeded(0))
    assert caught.value.field == "width"


def test_9_schedules_end_in_zero_and_start_at_the_initial_scale(runtime: Runtime) -> None:
    sigmas = runtime.sigmas(8)
    assert len(sigmas) == 9
    assert sigmas[-1] == 0
    runtime.scheduler.set_timesteps(8)
    torch.testing.assert_close(sigmas, runtime.scheduler.sigmas)
    torch.testing.assert_close(runtime.initial_scale(sigmas), torch.as_tensor(runtime.scheduler.init_noise_sigma))


def test_17_pixels_keep_their_values_through_the_tensor_form() -> None:
    from svd_ui.core.decode import to_frames

    still = Image.fromarray(np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3))
    pixels: Tensor = to_pixels([still])
    assert pixels.min() == -1
    assert pixels.max() == 1
    assert np.array_equal(to_frames(pixels)[0], np.asarray(still))


def test_weights_stored_in_half_precision_are_loaded_in_full_on_a_cpu(tmp_path: Path) -> None:
    folder = save_tiny_svd(tmp_path / "half", dtype=torch.float16, variant="fp16")
    runtime = Runtime(folder_row(folder), folder, CPU_PLAN)
    assert {module.dtype for module in (runtime.unet, runtime.vae, runtime.image_encoder)} == {torch.float32}
