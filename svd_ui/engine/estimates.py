"""What a clip will need before it is made: memory, seconds, what would fit instead; and where it may disappoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..catalog.costs import clip_flops, cost_ratio, peak_bytes
from ..catalog.profiles import PROFILES, SHARED, ProfileRow, placed, profile_for, room
from ..clip import ClipSpec
from ..errors import SvdUiError
from ..hub import Hub
from ..hub.selection import Checkpoints
from ..media.image import crop_of, cropped
from ..notes import Note
from ..request import GenerationRequest
from ..settings import Settings
from . import Device, Estimate, Remedy

GPU_SHARE = 0.4
"""Of the device's rate of plain matrix products, what a whole clip reaches. The published 39.9 s of diffusers with
torch 2.2 on an A100 for SVD-XT's 4,174 TFLOP (25 steps) are 105 TFLOP/s, 0.4 of the 260 that large fp16 products
reach there: much of a step is memory traffic."""
CPU_SHARE = 0.5
"""The same on a CPU: nano's U-Net in float32 ran at 0.5 to 0.6 of the rate of 1536-wide products on the same core in
the same process, and a clip is not its U-Net alone."""


def estimate(settings: Settings, hub: Hub, request: GenerationRequest, device: Device | None) -> Estimate:
    """Cost of ``request`` on ``device``; what is not known stays None."""
    if device is None:
        return Estimate()
    try:
        row = Checkpoints(settings, hub).resolve(request.checkpoint, device)
    except SvdUiError:
        return Estimate()
    clip = ClipSpec.of(request, row)
    profile = profile_of(settings, device, clip)
    seconds = _seconds(clip, device, splits(device, profile))
    known = Estimate(
        seconds=seconds,
        basis=None if seconds is None else "computed",
        profile=profile.id,
        cost_ratio=cost_ratio(clip),
    )
    needed = _peak(clip, profile, device)
    space = room(device.kind, device.total_bytes, _free(device))
    if needed is None or space is None:
        return known.model_copy(update={"peak_bytes": needed})
    fits = needed <= space

    def fitting(changed: GenerationRequest) -> bool:
        again = ClipSpec.of(changed, row)
        peak = _peak(again, profile_of(settings, device, again), device)
        return peak is not None and peak <= space

    way_out = None if fits else remedy(request, clip, profile, fitting, device.kind)
    return known.model_copy(update={"peak_bytes": needed, "fits": fits, "remedy": way_out})


def profile_of(settings: Settings, device: Device, clip: ClipSpec) -> ProfileRow:
    """The profile ``clip`` will run under: its request's, the installation's, else what fits."""
    wanted = clip.request.profile if clip.request.profile != "auto" else settings.profile
    if device.kind == "cpu":
        return PROFILES["cpu"] if wanted not in PROFILES else placed(PROFILES[wanted], "cpu")
    if wanted in PROFILES:
        return PROFILES[wanted]
    return profile_for(device.kind, device.total_bytes, _free(device), clip, _value_bytes(device))[0]


def _free(device: Device) -> int | None:
    """What others left; not known once our own weights are among what is taken."""
    return device.free_bytes if device.loaded_checkpoint is None else None


def _peak(clip: ClipSpec, profile: ProfileRow, device: Device) -> int | None:
    """On a CPU in the formats it computes in, whatever the profile is called."""
    if device.kind == "cpu" or profile.id == "cpu":
        on_cpu = profile.model_copy(update={"id": "cpu"})
        return peak_bytes(clip, on_cpu, 2 if device.dtype == "bfloat16" else 4)
    return peak_bytes(clip, placed(profile, device.kind), _value_bytes(device))


def _value_bytes(device: Device) -> int | None:
    return 4 if device.dtype == "float32" else None


def splits(device: Device, profile: ProfileRow) -> bool:
    """Whether a second device makes half of the guided steps: as ``Plan.splits`` has it."""
    return device.second is not None and placed(profile, device.kind).offload != "group"


def _seconds(clip: ClipSpec, device: Device, split: bool) -> float | None:
    """From counted operations and the device's measured rate; None where either is not known."""
    operations = clip_flops(clip, split)
    if operations is None or not device.flops_per_second:
        return None
    share = CPU_SHARE if device.kind == "cpu" else GPU_SHARE
    return operations / (device.flops_per_second * share)


CHUNKS = (8, 4, 2, 1)
SMALLEST_AREA = 0.25
"""Of the checkpoint's own: below it pictures fall apart, so frames go first."""

Values = dict[str, Any]
Fits = Callable[[GenerationRequest], bool]


def remedy(
    request: GenerationRequest,
    clip: ClipSpec,
    profile: ProfileRow,
    fits: Fits,
    kind: str,
) -> Remedy | None:
    """The first change of ``request`` that ``fits``: a smaller profile, decode chunk, size, then fewer frames.

    Each comes on top of those before it where they do not suffice; what turns out not to be needed is left out.
    ``clip`` is ``request`` resolved, ``profile`` what it would run under. None where nothing helps.
    """
    taken: Values = {}
    for ways in (
        _profiles(request, profile, kind),
        _chunks(clip, profile),
        _sizes(clip),
        _frames(clip),
    ):
        smallest: Values = {}
        for smallest in ways:
            if fits(_changed(request, taken | smallest)):
                return Remedy(values=_needed(request, taken | smallest, fits))
        taken |= smallest
    return None


def _profiles(request: GenerationRequest, profile: ProfileRow, kind: str) -> Iterator[Values]:
    """``auto`` has looked through them already; where memory is shared they all keep everything in place."""
    if request.profile == "auto" or kind in SHARED:
        return
    for row in PROFILES.values():
        if row.order > profile.order and row.id != "cpu":
            yield {"profile": row.id}


def _chunks(clip: ClipSpec, profile: ProfileRow) -> Iterator[Values]:
    now = clip.frames_at_once(profile)
    for chunk in CHUNKS:
        if chunk < now:
            yield {"decode_chunk_size": chunk}


def _sizes(clip: ClipSpec) -> Iterator[Values]:
    """Ever smaller, of the same aspect as nearly as ``size_multiple`` allows."""
    width, height, row = clip.width, clip.height, clip.row
    unit = row.size_multiple
    for wide in range((width - 1) // unit * unit, 63, -unit):
        high = max(round(wide * height / width / unit) * unit, unit)
        if high < 64 or wide * high < SMALLEST_AREA * row.width * row.height:
            return
        if high <= height:
            yield {"width": wide, "height": high}


def _frames(clip: ClipSpec) -> Iterator[Values]:
    for frames in range(clip.num_frames - 1, 1, -1):
        yield {"num_frames": frames}


def _needed(request: GenerationRequest, values: Values, fits: Fits) -> Values:
    """``values`` without the changes that are not needed, the first ones tried first."""
    for names in (("profile",), ("decode_chunk_size",), ("width", "height")):
        fewer = {name: value for name, value in values.items() if name not in names}
        if fewer != values and fewer and fits(_changed(request, fewer)):
            values = fewer
    return values


def _changed(request: GenerationRequest, values: Values) -> GenerationRequest:
    return request.model_copy(update=values)


def advice(clip: ClipSpec, picture: tuple[int, int] | None) -> list[Note]:
    """Notes on a clip that will run but may disappoint; shown with the result, never an obstacle.

    ``picture`` is the (width, height) of the still as it was given.
    """
    notes, row, title = approximate(clip), clip.row, clip.row.title
    frames, width, height = clip.num_frames, clip.width, clip.height
    if not 0.5 <= frames / row.num_frames <= 1.5:
        notes.append(Note.of("frames_untrained", title=title, trained=row.num_frames, num_frames=frames))
    if width % row.size_multiple or height % row.size_multiple:
        notes.append(Note.of("size_not_a_multiple", title=title, multiple=row.size_multiple))
    share = width * height / (row.width * row.height)
    if not 0.5 <= share <= 2.0:
        trained = f"{row.width}x{row.height}"
        notes.append(Note.of("size_far_from_trained", title=title, width=width, height=height, trained=trained))
    if picture is not None:
        shown = clip.of_picture(picture).render_height
        if shown != clip.render_height:
            notes.append(Note.of("render_height_limited", asked=clip.render_height, height=shown))
        left, top, right, bottom = crop_of(clip, picture)
        if right - left < width or bottom - top < height:
            given = f"{picture[0]}x{picture[1]}"
            notes.append(Note.of("picture_enlarged", given=given, width=width, height=height))
        notes += filter(None, [cropped(picture, width, height)])
    return notes


def approximate(clip: ClipSpec) -> list[Note]:
    """One note that names every approximation in force, and what the clip costs with them; none for an exact clip."""
    family, steps = clip.row.facts, clip.num_inference_steps
    found = family.approximations(clip)
    if clip.schedule == "ays":
        found.append(Note.of("ays_schedule", steps=steps))
    elif clip.request.speed != "exact" and steps < clip.row.num_inference_steps:
        found.append(Note.of("fewer_steps", steps=steps, full=clip.row.num_inference_steps))
    if clip.cache_interval > 1:
        found.append(Note.of("features_reused", interval=clip.cache_interval))
    if clip.guided:
        low, high = clip.guidance_sigma_min, clip.guidance_sigma_max
        found += [Note.of("unguided_above", sigma=high)] if high is not None else []
        found += [Note.of("unguided_below", sigma=low)] if low is not None else []
    if not found:
        return []
    ratio = cost_ratio(clip)
    cost = {} if ratio is None else {"cost": Note.of("cost_share", share=ratio)}
    return [Note.of("approximate", facts=found, **cost), *family.advice(clip)]
