"""The words for every ``Note``: the one table that another language replaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .notes import Note

SENTENCES: dict[str, str | tuple[str, str]] = {
    "text": "{text}",
    # What came of a request
    "smaller_profile": "Memory ran out while {doing}: going on with the memory profile {profile}.",
    "smaller_decode_chunk": (
        "Memory ran out while decoding: going on with 1 frame at a time.",
        "Memory ran out while decoding: going on with {count} frames at a time.",
    ),
    "fewer_tiles": (
        "Memory ran out while denoising: going on with 1 tile at a time.",
        "Memory ran out while denoising: going on with {count} tiles at a time.",
    ),
    "step_left_out": "Memory ran out in {name}: the clip is kept without it.",
    "loading_model": "loading the model",
    "reading_still": "reading the still",
    "denoising": "denoising",
    "decoding": "decoding",
    "settings_left_out": "Not known to this release, left out: {names}.",
    "wall_drafts": "These tiles are drafts, approximate: render one in full to see it as it will be.",
    "wall_format": "Tiles are small mp4 files: the chosen format is kept for the clip in full.",
    "frames_untrained": "{title} was trained on {trained} frames: {num_frames} may drift or lose detail.",
    "size_not_a_multiple": "{title} is at its best where both sides are multiples of {multiple}.",
    "size_far_from_trained": "{width}x{height} is far from the {trained} of {title}: motion may suffer.",
    "picture_enlarged": "The picture is small ({given}) and was enlarged to {width}x{height}.",
    "more_steps_than_needed": "{title} is made for 1 to {most} steps: more take longer and add little.",
    # What a clip leaves out for speed; each of the facts is a note
    "own_sigmas_only": "Few-step weights know their own noise levels only: choose another method or checkpoint.",
    "approximate": "Approximate: {facts}. {cost}",
    "approximations": "{facts}. {cost}",
    "cost_share": "About {share:.0%} of the exact clip's work.",
    "few_step_weights": "few-step weights",
    "ays_schedule": "the AYS schedule in {steps} steps",
    "fewer_steps": "{steps} instead of {full} steps",
    "features_reused": "features reused, all layers computed at one step in {interval}",
    "unguided_above": "no guidance above sigma {sigma:g}",
    "unguided_below": "no guidance at sigma {sigma:g} and below",
    # Pictures on their way in
    "first_frame_only": "Only the first frame of the animation is used.",
    "first_page_only": "Only the first page of the file is used.",
    "picture_tiny": "The picture is only {width} x {height} pixels: the clip will be soft.",
    "picture_very_wide": "The picture is very wide: only a part of it fits into the clip.",
    "picture_very_tall": "The picture is very tall: only a part of it fits into the clip.",
    "background_filled": "Transparent parts are filled with {background}.",
    # Clips that are not trained on
    "scene_too_short": "the scene from frame {first} has {num_frames} frames, {needed} are needed",
    "nothing_moves": "nothing moves from frame {first} (motion {motion:.3f}, {needed:g} is needed)",
    "only_first_frames": "only its first {most} frames are used: cut it into parts",
    # Why the device is used as it is
    "profile": "profile {chosen}: {why}",
    "attention": "attention {chosen}: {why}",
    "compiled": "compiled: {why}",
    "not_compiled": "not compiled: {why}",
    "chosen": "chosen",
    "memory_ran_out": "memory ran out",
    "no_gpu": "no GPU in use",
    "memory_unknown": "memory of {device} is not known; not measured",
    "needs_unknown": "{total_gb:.0f} GB on the device; this model's needs are not known",
    "clip_needs": "this clip needs about {needed_gb:.1f} GB, {total_gb:.0f} GB on the device",
    "smallest_profile": "the smallest: {total_gb:.0f} GB on the device",
    "float16_on_gpu": "float16 on a GPU",
    "no_bfloat16_units": "float32: this CPU has no bfloat16 units",
    "bfloat16_wins": "bfloat16: this CPU's {units} win ({times})",
    "bfloat16_loses": "float32: this CPU's {units} do not win ({times})",
    "fastest_kernel": "the fastest of {kernels} for each shape, measured once",
    "kernels_absent": "{absent}",
    "other_kernels_need_cuda": "the others need a CUDA device",
    "kernel_needs_cuda": "{package} needs a CUDA device, this is {device}",
    "kernel_needs_ampere": "{package} needs an Ampere card or newer",
    "not_installed": "{package} is not installed",
    "weights_stay": "weights stay in place: {device} shares the memory they would be moved to",
    "device_not_measured": "{device} has not been measured with this release",
    "temporal_conv2d": "convolutions over time as Conv2d: this cuDNN has no Conv3d in half precision",
    "unlocked_pages": "weights travel from ordinary memory: the system did not lock enough pages, so offloading is slower",
    "weights_streamed": "the profile streams the weights",
    "forward_chunked": "the profile works in small parts",
    "no_gain_on": "it does not pay on {device}",
    "compiled_before": "it has been before",
    "clips_wait": "{count} more clips wait",
    "pays_over_several": "it pays over several clips",
    # What would make a clip fit, as parts of a button's text
    "use_profile": "use the {gigabytes} GB profile",
    "decode_fewer": ("decode 1 frame at a time", "decode {count} frames at a time"),
    "use_size": "make it {width}x{height}",
    "use_frames": "make {num_frames} frames",
}
"""By code; a pair is for a ``count`` of one and of more."""

REMEDIES = {
    "profile": "use_profile",
    "decode_chunk_size": "decode_fewer",
    "width": "use_size",
    "num_frames": "use_frames",
}
"""Request field => the part of a remedy that changes it."""


def sentence(note: Note | None) -> str:
    """``note`` in words. Never fails: one that is not known here shows the text it brings, or its code."""
    if note is None:
        return ""
    template = SENTENCES.get(note.code)
    if isinstance(template, tuple):
        template = template[note.params.get("count") != 1]
    try:
        if template is not None:
            return template.format_map(_Words({name: _word(value) for name, value in note.params.items()})).strip()
    except Exception:  # parameters of another release, or from anywhere: as many ways to fail as there are values
        pass
    return str(note.params.get("text") or note.code)


def remedy(values: Mapping[str, Any]) -> str:
    """The change of these request fields, for a button: "Use the 6 GB profile and decode 2 frames at a time"."""
    params = {
        **values,
        "gigabytes": str(values.get("profile")).removesuffix("gb"),
        "count": values.get("decode_chunk_size"),
    }
    parts = [sentence(Note(code=code, params=params)) for name, code in REMEDIES.items() if name in values]
    text = " and ".join(parts)
    return text[:1].upper() + text[1:]


class _Words(dict[str, Any]):
    """A parameter that is not there, such as a cost nobody knows, shows nothing."""

    def __missing__(self, name: str) -> str:
        return ""


def _word(value: Any) -> Any:
    """A note as its sentence, a list as its parts; anything else as it is, for the template to format."""
    if isinstance(value, list):
        separator = "; " if any(isinstance(part, dict) for part in value) else ", "
        return separator.join(str(_word(part)) for part in value)
    return sentence(Note.model_validate(value)) if isinstance(value, dict) else value
