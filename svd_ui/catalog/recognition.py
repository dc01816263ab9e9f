"""Which checkpoint of the catalogue a folder or a file is, or is most like: by its name, and by what its configuration says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..notes import Note
from .checkpoint import ANIMATE_LCM, STABILITY_ROWS, CheckpointRow

SVD, SVD_XT, SVD_XT_1_1 = STABILITY_ROWS
_NAMES = re.compile(
    r"(stabilityai|wangfuyun)?(?P<lcm>animatelcm)?(svd|stablevideodiffusion)(img2vid)?(xt)?(v?1[01])?"
    r"((fp|bf|f)(16|32)|half|full|pruned|noema|ema|diffusers|comfyui|comfy|safetensors|unet)*"
)
"""A name, without what stands between its words, that says which it is and nothing else: those of the repositories and of the
files in them, and what people append. ``svd_xt_1_1.fp16``, ``stableVideoDiffusion_img2vidXt11``, ``AnimateLCM-SVD-xt``."""
_LIKE = re.compile(r"svd|stablevideo|img2vid|animatelcm")
_XT = re.compile(r"\b(svd|vid)?xt\b")
_NEW = re.compile(r"(xt|svd|diffusion|vid) (v )?1 ?1\b")
_AMBIGUOUS = "svd"
"""As the name of a folder with files in it: people keep every one of the family there."""


@dataclass(frozen=True)
class Likeness:
    """``row`` is that of the catalogue; ``certain`` where it is this very checkpoint and not one like it.

    ``note`` says what was taken for granted.
    """

    row: CheckpointRow
    certain: bool
    num_frames: int
    note: Note | None = None


def likeness(own: str, around: Sequence[str], num_frames: int | None, only_unet: bool) -> Likeness:
    """``own`` is the name of the file or folder, ``around`` what else may tell; ``num_frames`` is its configuration's."""
    exact = _NAMES.fullmatch(_squeezed(own))
    if exact is not None and (only_unet or exact["lcm"] is None):
        row = _row(own, num_frames)
        if row == _row(own, None):
            note = None if num_frames else Note.of("frames_by_name", num_frames=row.num_frames)
            return Likeness(row, True, num_frames or row.num_frames, note)
    for name in (own, *(name for name in around if _squeezed(name) != _AMBIGUOUS)):
        if is_named_like_ours(name):
            row = _row(name, num_frames)
            frames = num_frames or row.num_frames
            return Likeness(row, False, frames, Note.of("like_by_name", title=short_title(row), num_frames=frames))
    row = SVD if num_frames == SVD.num_frames else SVD_XT
    told = {"title": short_title(row), "num_frames": num_frames or row.num_frames}
    note = Note.of("like_by_frames", **told) if num_frames == row.num_frames else Note.of("like_by_guess", **told)
    return Likeness(row, False, num_frames or row.num_frames, note)


def is_named_like_ours(name: str) -> bool:
    """Also of a file that cannot be read, or is something else: it was meant for this app."""
    return bool(_LIKE.search(_squeezed(name)))


def short_title(row: CheckpointRow) -> str:
    """``SVD-XT (25 frames)`` => ``SVD-XT``."""
    return row.title.split(" (")[0]


def _row(name: str, num_frames: int | None) -> CheckpointRow:
    """What ``name`` says, or of SVD and SVD-XT the one whose frames the configuration has."""
    words = _words(name)
    if "animatelcm" in _squeezed(name):
        return ANIMATE_LCM
    has_xt = {SVD.num_frames: False, SVD_XT.num_frames: True}.get(num_frames or 0, bool(_XT.search(words)))
    is_new = bool(_NEW.search(words)) and num_frames != SVD.num_frames
    return SVD_XT_1_1 if is_new else SVD_XT if has_xt else SVD


def _words(name: str) -> str:
    """``stableVideoDiffusion_img2vidXt11 (1)`` => ``stable video diffusion img 2 vid xt 11``."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", re.sub(r"\s*\(\d+\)$", "", name))
    return " ".join(re.findall(r"[a-z]+|\d+", name.lower()))


def _squeezed(name: str) -> str:
    return _words(name).replace(" ", "")
