"""Operations, memory traffic and peak memory of SVD-XT at full size: stock diffusers beside ours, on the meta device.

    python -m benchmarks.counts [--json FILE] [--coefficients]

Nothing is computed and no weights are needed. A clip of 25 frames at 1024x576 in half precision, guided; *stock* is
what ``StableVideoDiffusionPipeline`` runs (both conditionings in one batch, its own attention processor), *ours* the
path of this project with the exact speed-ups. How is counted: ``benchmarks/counter.py``.

Traffic depends on one kernel: on CUDA, triton multiplies and activates a feed-forward layer's halves in one pass
(GEGLU: two reads, one write); without it torch takes two passes (three reads, two writes). Both figures are printed.
``--coefficients`` prints what ``svd_ui/catalog/architectures.json`` holds instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks import models
from benchmarks.coefficients import counted, table
from benchmarks.counter import Counter
from benchmarks.meta import CHUNKED, IN_TURN, IN_TURN_CHUNKED, RESIDENT, Ours
from benchmarks.report import Row, finish, parser
from svd_ui.catalog import PROFILES, STABILITY_ROWS
from svd_ui.catalog.architectures import ARCHITECTURES
from svd_ui.catalog.costs import clip_flops, cost_ratio, peak_bytes
from svd_ui.clip import ClipSpec
from svd_ui.core.sampling.feature_cache import FeatureCache
from svd_ui.request import GenerationRequest

GIB = 1024**3
FRAMES, HEIGHT, WIDTH = NATIVE = (25, 72, 128)
STEPS = 25
CHUNKS = (25, 14, 8, 5, 4, 2, 1)
XT = next(row for row in STABILITY_ROWS if row.id == "svd-xt")
FUSED, UNFUSED = 3, 5
"""Passes over half a feed-forward layer's hidden units that GEGLU takes, with triton and without."""


class Stock:
    """diffusers' models as its pipeline calls them."""

    def __init__(self) -> None:
        # Loaded weights ask for gradients, and torch.matmul looks at that when it chooses how to multiply.
        self.unet, self.vae = models.unet().requires_grad_(True), models.vae().requires_grad_(True)

    def step(self) -> Counter:
        """One turn of the pipeline's loop over its timesteps."""
        half = {"dtype": torch.float16, "device": models.META}
        latents = torch.empty(1, FRAMES, 4, HEIGHT, WIDTH, **half)
        still = torch.empty(2, FRAMES, 4, HEIGHT, WIDTH, **half)
        embeds, ids = torch.empty(2, 1, 1024, **half), torch.empty(2, 3, **half)
        scale, sigma = torch.empty(1, FRAMES, 1, 1, 1, **half), torch.ones((), device=models.META)
        with torch.no_grad(), Counter().know(self.unet) as counter:
            given = torch.cat([latents] * 2) / (sigma**2 + 1) ** 0.5
            given = torch.cat([given.half(), still], dim=2)
            (noise,) = self.unet(given, sigma, encoder_hidden_states=embeds, added_time_ids=ids, return_dict=False)
            without, with_still = noise.chunk(2)
            noise = without + scale * (with_still - without)
            sample = latents.float()
            denoised = noise * (-sigma / (sigma**2 + 1) ** 0.5) + sample / (sigma**2 + 1)
            (sample + (sample - denoised) / sigma * -sigma).half()
        return counter

    def decode(self, frames: int) -> Counter:
        latents = torch.empty(frames, 4, HEIGHT, WIDTH, dtype=torch.float16, device=models.META)
        with torch.no_grad(), Counter().know(self.vae) as counter:
            self.vae.decode(latents, num_frames=frames)
        return counter


def rows() -> list[Row]:
    stock, ours = Stock(), Ours()
    before = stock.step()
    decoded = {chunk: (stock.decode(chunk), ours.decode(chunk, HEIGHT, WIDTH)) for chunk in CHUNKS}
    return [
        *_step_rows(before, ours),
        *_decode_rows(decoded),
        *_clip_rows(before, stock.decode(FRAMES), ours),
        *_ladder_rows(),
    ]


def _step_rows(before: Counter, ours: Ours) -> Iterator[Row]:
    step = ours.step(*NATIVE, guided=True, profile=RESIDENT)
    yield Row("step, stock", before.flops / 1e12, "TFLOP")
    yield Row("step, ours", step.flops / 1e12, "TFLOP")
    yield Row("step, operations, ours : stock", step.flops / before.flops, "x", at_most=0.963)
    unfused = step.bytes + step.by_op["geglu_"] * (UNFUSED - FUSED) / FUSED
    yield Row("step, stock", before.bytes / 1e9, "GB moved")
    yield Row("step, ours", step.bytes / 1e9, "GB moved", note="GEGLU in one kernel, as on CUDA with triton")
    yield Row("step, traffic, ours : stock", step.bytes / before.bytes, "x", at_most=0.80, note="the same")
    yield Row("step, traffic, ours : stock", unfused / before.bytes, "x", note="GEGLU in two kernels, without triton")
    yield Row("U-Net peak, stock", before.peak / GIB, "GiB")
    modes = {"together": (RESIDENT, None), "together, chunked": (CHUNKED, None)}
    modes |= {"in turn": (IN_TURN, 0.48), "in turn, chunked": (IN_TURN_CHUNKED, 0.27)}
    for name, (profile, limit) in modes.items():
        peak = ours.step(*NATIVE, guided=True, profile=profile).peak
        note = f"{peak / GIB:.2f} GiB"
        yield Row(f"U-Net peak, {name}, ours : stock", peak / before.peak, "x", at_most=limit, note=note)


def _decode_rows(decoded: dict[int, tuple[Counter, Counter]]) -> Iterator[Row]:
    for chunk, (stock, ours) in decoded.items():
        note = f"{ours.peak / GIB:.2f} of {stock.peak / GIB:.2f} GiB"
        what = f"decode peak, {chunk} at a time, ours : stock"
        yield Row(what, ours.peak / stock.peak, "x", at_most=0.76, note=note)
    stock, ours = decoded[FRAMES]
    yield Row("decode, operations, ours : stock", ours.flops / stock.flops, "x")
    yield Row("decode, traffic, ours : stock", ours.bytes / stock.bytes, "x")


def _clip_rows(step: Counter, decode: Counter, ours: Ours) -> Iterator[Row]:
    """Whole clips, reading the still and decoding included, against the stock clip of 25 guided steps."""
    around = ours.encode(HEIGHT, WIDTH).flops + ours.embed().flops + decode.flops
    full = STEPS * step.flops + around
    one, other = (
        ours.step(*NATIVE, guided=False).flops,
        ours.step(*NATIVE, guided=False, reuse=FeatureCache(1000)).flops,
    )
    yield Row("clip, stock", full / 1e12, "TFLOP")
    yield Row("clip, exact, ours : stock", (STEPS * 2 * one + around) / full, "x")
    whole = -(-STEPS // 3)
    caching = 2 * (whole * one + (STEPS - whole) * other) + around
    yield Row("a step that reuses features, of a whole one", other / one, "x")
    yield Row("clip, features renewed every 3rd step", caching / full, "x", at_most=0.45)
    yield Row("clip, AYS in 10 steps", (10 * 2 * one + around) / full, "x", at_most=0.43)
    yield Row("clip, 4 steps of few-step weights, unguided", (4 * one + around) / full, "x", at_most=0.12)
    for speed in ("fast", "draft"):
        clip = ClipSpec.of(GenerationRequest(speed=speed), XT)
        steps = f"{clip.num_inference_steps} steps, {clip.schedule}, features every {clip.cache_interval}"
        yield Row(f"clip, speed {speed}, of SVD-XT's exact one", cost_ratio(clip), "x", note=steps)


def _ladder_rows() -> Iterator[Row]:
    """Device memory as ``catalog/costs.py`` predicts it for the clip above, weights included."""
    clip = ClipSpec.of(GenerationRequest(num_inference_steps=STEPS), XT)
    for profile in PROFILES.values():
        peak = peak_bytes(clip, profile)
        note = f"{profile.title}, decode {profile.decode_chunk_size}"
        yield Row(f"peak memory, profile {profile.id}", None if peak is None else peak / GIB, "GiB", note=note)
    flops = clip_flops(clip)
    yield Row("clip, as predicted", None if flops is None else flops / 1e12, "TFLOP")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--coefficients", action="store_true", help="print architectures.json instead")
    args = options.parse_args()
    if not args.coefficients:
        finish("counts", "meta", rows(), args.json)
        return
    print(table(known.model_copy(update=counted(Ours(id))) for id, known in ARCHITECTURES.items()), end="")


if __name__ == "__main__":
    main()
