"""What a clip costs before it is made: operations and memory, from coefficients that were counted; no torch here.

Answers are None for a checkpoint of another architecture: never a guess.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .architectures import Architecture, Mode, architecture_of

if TYPE_CHECKING:
    from ..clip import ClipSpec
    from .profiles import ProfileRow


COPIES = 2
"""Of a convolution's input and result, which cuDNN takes beside them to put their numbers in its own order: with those the
peaks of the autoencoder are within 4 % of the ones measured on an H200 (benchmarks/results/gpu-nvidia-h200.json)."""


def step_flops(clip: ClipSpec, split: bool = False) -> float | None:
    """Operations of the average step: skipped layers and unguided steps counted for what they are; as ``denoising_flops``."""
    total = denoising_flops(clip, split)
    return None if total is None else total / clip.num_inference_steps


def denoising_flops(clip: ClipSpec, split: bool = False) -> float | None:
    """Operations of all steps together, as the clip's method takes them.

    ``split``: those of one device, where a second makes the other half of guidance.
    """
    known = architecture_of(clip.row)
    if known is None:
        return None
    size, frames = known.cells(clip.width, clip.height), clip.num_frames
    whole, reusing = known.unet.flops(size, frames), known.reusing.flops(size, frames)
    steps = zip(clip.guided_steps, clip.whole_steps, strict=True)
    plain = sum((2 if guided and not split else 1) * (whole if all_layers else reusing) for guided, all_layers in steps)
    return plain * clip.request.method.relative_cost(clip)


def around_flops(clip: ClipSpec) -> tuple[float, float] | None:
    """Operations (before the steps, after them): reading the still; decoding the frames, and the post steps."""
    known = architecture_of(clip.row)
    if known is None:
        return None
    shape = clip.shape
    after = known.decode.flops(known.cells(shape.width, shape.height), shape.num_frames)
    after += clip.row.facts.rendering_flops(clip)
    for step in clip.request.post:
        after, shape = after + step.flops(shape), step.changes(shape)
    return known.embed + known.encode.flops(known.cells(clip.width, clip.height), 1), after


def clip_flops(clip: ClipSpec, split: bool = False) -> float | None:
    """Operations of the whole clip, a wall's tiles all together; as ``denoising_flops``. Without making a still from a prompt."""
    around, steps = around_flops(clip), denoising_flops(clip, split)
    if around is None or steps is None:
        return None
    before, after = around
    return before + clip.tiles * (steps + after)


def cost_ratio(clip: ClipSpec) -> float | None:
    """Share of the exact clip's operations: the same size, frames and tiles, with the checkpoint's own steps and guidance.

    1.0 is exact. Few-step weights are compared with the model behind them.
    """
    cost, full = clip_flops(clip), clip_flops(replace(clip, **clip.row.facts.reference(clip.row)))
    return None if cost is None or full is None else cost / full


def peak_bytes(clip: ClipSpec, profile: ProfileRow, unet_value_bytes: int | None = None) -> int | None:
    """The most device memory at any moment: weights that are there plus activations. Not the driver's own.

    ``unet_value_bytes`` is the size of the U-Net's numbers: two, unless the profile is the CPU's, which computes in
    float32 (its other modules always do). A GPU's other modules have its U-Net's format. A wall's tiles count as one at a time: more go together only where they fit.
    """
    known = architecture_of(clip.row)
    if known is None:
        return None
    narrow = 4 if profile.id == "cpu" or unet_value_bytes == 4 else 2
    return int(max(_moments(clip, known, profile, unet_value_bytes or narrow, narrow)))


def _moments(clip: ClipSpec, known: Architecture, profile: ProfileRow, unet: int, other: int) -> list[float]:
    """Bytes while encoding the still, embedding it, denoising, decoding."""
    size, shape = known.cells(clip.width, clip.height), clip.shape
    decoded = known.cells(shape.width, shape.height) * clip.frames_at_once(profile)
    weights = {name: count * (unet if name == "unet" else other) for name, count in known.parameters.items()}
    there = _present(known, profile, weights, unet)
    # In half precision encoding overflows: a copy of the autoencoder in float32 lies beside its master.
    upcast = known.upcasts and other == 2
    encoder = 2 * weights["vae"] if upcast else 0.0
    if profile.offload != "none" and upcast:
        encoder -= weights["vae"]  # the master stays on the host
    wide, copied = 4 if upcast else other, 0 if profile.id == "cpu" else COPIES * known.widest
    return [
        there["vae"] + encoder + (known.encoding + copied * wide) * size,
        there["image_encoder"],
        there["unet"] + _activations(clip, known, profile, unet),
        there["vae"] + known.decoding.bytes(decoded, other) + copied * other * decoded,
    ]


def _present(known: Architecture, profile: ProfileRow, weights: dict[str, int], value_bytes: int) -> dict[str, float]:
    """Bytes of weights on the device while a module runs, by its name."""
    if profile.offload == "none":
        return dict.fromkeys(weights, float(sum(weights.values())))
    if profile.offload == "model":
        return {name: float(size) for name, size in weights.items()}
    streamed = float(known.streamed * value_bytes)
    return {"vae": float(weights["vae"]), "image_encoder": streamed, "unet": streamed}


def _activations(clip: ClipSpec, known: Architecture, profile: ProfileRow, value_bytes: int) -> float:
    size, frames = known.cells(clip.width, clip.height), clip.num_frames
    guided = any(clip.guided_steps)
    together = guided and not profile.guidance_in_turn
    peak = known.denoising[_mode(together, profile.forward_chunking)].bytes(size * frames, value_bytes)
    if clip.cache_interval > 1:
        peak += (2 if guided else 1) * known.kept * value_bytes / 2 * size * frames
    return peak


def _mode(together: bool, chunked: bool) -> Mode:
    if chunked:
        return "two chunked" if together else "one chunked"
    return "two" if together else "one"
