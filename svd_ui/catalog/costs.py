"""What a clip costs before it is made: operations and memory, from coefficients that were counted; no torch here.

Everything takes a resolved request, and answers None for a checkpoint of another architecture: never a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .architectures import Architecture, Mode, architecture_of
from .noise import guided_steps, whole_steps

if TYPE_CHECKING:
    from ..request import GenerationRequest
    from .checkpoint import CheckpointRow
    from .profiles import ProfileRow

REFERENCE_STEPS = 25
"""What few-step weights are compared with: this many guided steps of the model they were distilled from."""


def step_flops(row: CheckpointRow, request: GenerationRequest) -> float | None:
    """Operations of the average step: skipped layers and unguided steps counted for what they are."""
    steps = request.num_inference_steps or row.num_inference_steps
    total = denoising_flops(row, request)
    return None if total is None else total / steps


def denoising_flops(row: CheckpointRow, request: GenerationRequest) -> float | None:
    """Operations of all steps together."""
    known = architecture_of(row)
    if known is None:
        return None
    size, frames = _size(row, known, request)
    whole, reusing = known.unet.flops(size, frames), known.reusing.flops(size, frames)
    steps = zip(guided_steps(row, request), whole_steps(row, request), strict=True)
    return sum((2 if guided else 1) * (whole if all_layers else reusing) for guided, all_layers in steps)


def around_flops(row: CheckpointRow, request: GenerationRequest) -> tuple[float, float] | None:
    """Operations (before the steps, after them): reading the still, decoding the frames."""
    known = architecture_of(row)
    if known is None:
        return None
    size, frames = _size(row, known, request)
    return known.embed + known.encode.flops(size, 1), known.decode.flops(size, frames)


def clip_flops(row: CheckpointRow, request: GenerationRequest) -> float | None:
    """Operations of the whole clip, a wall's tiles all together. Making a still from a prompt is not in it."""
    around, steps = around_flops(row, request), denoising_flops(row, request)
    if around is None or steps is None:
        return None
    before, after = around
    return before + tiles(request) * (steps + after)


def cost_ratio(row: CheckpointRow, request: GenerationRequest) -> float | None:
    """Share of the exact clip's operations: the same size, frames and tiles, with the checkpoint's own steps and guidance.

    1.0 is exact. Few-step weights are compared with ``REFERENCE_STEPS`` guided steps of the model behind them.
    """
    own = row.defaults("exact")
    names = ("num_inference_steps", "min_guidance_scale", "max_guidance_scale", "schedule", "cache_interval")
    exact = {name: own[name] for name in names} | {"guidance_sigma_min": None, "guidance_sigma_max": None}
    if row.sampler == "consistency":
        exact |= {"num_inference_steps": REFERENCE_STEPS, "min_guidance_scale": 1.0, "max_guidance_scale": 3.0}
    cost, full = clip_flops(row, request), clip_flops(row, request.model_copy(update=exact))
    return None if cost is None or full is None else cost / full


def peak_bytes(
    row: CheckpointRow, profile: ProfileRow, request: GenerationRequest, unet_value_bytes: int | None = None
) -> int | None:
    """The most device memory at any moment: weights that are there plus activations. Not the driver's own.

    ``unet_value_bytes`` is the size of the U-Net's numbers: two, unless the profile is the CPU's, which computes in
    float32 (its other modules always do). A wall's tiles count as one at a time: more go together only where they fit.
    """
    known = architecture_of(row)
    if known is None:
        return None
    narrow = 4 if profile.id == "cpu" else 2
    return int(max(_moments(row, known, profile, request, unet_value_bytes or narrow, narrow)))


def _moments(
    row: CheckpointRow, known: Architecture, profile: ProfileRow, request: GenerationRequest, unet: int, other: int
) -> list[float]:
    """Bytes while encoding the still, embedding it, denoising, decoding."""
    size, frames = _size(row, known, request)
    chunk = min(request.decode_chunk_size or profile.decode_chunk_size, frames)
    weights = {name: count * (unet if name == "unet" else other) for name, count in known.parameters.items()}
    there = _present(known, profile, weights, unet)
    # In half precision encoding overflows: a copy of the autoencoder in float32 lies beside its master.
    upcast = known.upcasts and other == 2
    encoder = 2 * weights["vae"] if upcast else 0.0
    if profile.offload != "none" and upcast:
        encoder -= weights["vae"]  # the master stays on the host
    return [
        there["vae"] + encoder + known.encoding * size,
        there["image_encoder"],
        there["unet"] + _activations(row, known, profile, request, unet),
        there["vae"] + known.decoding.bytes(size * chunk, other),
    ]


def _present(known: Architecture, profile: ProfileRow, weights: dict[str, int], value_bytes: int) -> dict[str, float]:
    """Bytes of weights on the device while a module runs, by its name."""
    if profile.offload == "none":
        return dict.fromkeys(weights, float(sum(weights.values())))
    if profile.offload == "model":
        return {name: float(size) for name, size in weights.items()}
    streamed = float(known.streamed * value_bytes)
    return {"vae": float(weights["vae"]), "image_encoder": streamed, "unet": streamed}


def _activations(
    row: CheckpointRow, known: Architecture, profile: ProfileRow, request: GenerationRequest, value_bytes: int
) -> float:
    size, frames = _size(row, known, request)
    guided = any(guided_steps(row, request))
    together = guided and not profile.guidance_in_turn
    peak = known.denoising[_mode(together, profile.forward_chunking)].bytes(size * frames, value_bytes)
    if (request.cache_interval or 1) > 1:
        peak += (2 if guided else 1) * known.kept * value_bytes / 2 * size * frames
    return peak


def _mode(together: bool, chunked: bool) -> Mode:
    if chunked:
        return "two chunked" if together else "one chunked"
    return "two" if together else "one"


def tiles(request: GenerationRequest) -> int:
    """Clips that a request makes."""
    return 1 if request.wall is None else request.wall.seeds * len(request.wall.motion_bucket_ids)


def _size(row: CheckpointRow, known: Architecture, request: GenerationRequest) -> tuple[int, int]:
    """(latent cells of a frame, frames)."""
    width, height = request.width or row.width, request.height or row.height
    return known.cells(width, height), request.num_frames or row.num_frames
