"""Lock, drag and brush: what is told to stay stays, what is told to move does."""

from __future__ import annotations

import numpy as np

from benchmarks.nano_quality.labels import inner, outside
from benchmarks.nano_quality.looks import psnr
from svd_ui.steering import cutout

from .camera import asked, end_of
from .case import STEP_RATE, Case
from .figures import grown, jump, off, seam, speed, way

CLEAR = 64
"""Pixels around a subject that it may come over."""
DEEP = 8
PAN = "pan right*0.5"
EFFECTS = {"water": "water", "liquid": "water", "clouds": "clouds", "hair": "leaves", "foliage": "leaves", "grass": "leaves", "cloth": "leaves"}  # fmt: skip
"""Of what stirs in a photograph; anything else goes like smoke."""


def lock(case: Case) -> None:
    """The method's own idea of what stands out, nothing painted."""
    clip, plain = case.clip({"kind": "lock"}), case.plain.compared
    assert clip.decoder is not None and clip.decoder.stage.choreography.hold is not None
    subject = ((1 - clip.decoder.stage.choreography.hold) * 255).round().astype(np.uint8)
    subject = np.where(subject > 127, 255, 0).astype(np.uint8)
    frames = clip.compared
    case.note("lock: background", speed(frames, outside(subject)))
    case.note("lock: background, plain", speed(plain, outside(subject)))
    case.note("lock: untouched", off(frames, case.still, grown(subject, CLEAR) == 0))
    case.note("lock: first", psnr(frames[0], case.still))
    inside, free = speed(frames, inner(subject)), speed(plain, inner(subject))
    if inside is not None and free:
        case.note("lock: subject", 100 * inside / free)
    shown = case.still.copy()
    shown[subject == 0] //= 3
    case.show("lock", frames, shown)


def drag(case: Case) -> None:
    """One arrow from a thing, nothing painted; then the same while the camera pans."""
    photo = case.labelled.photo
    height, width = case.still.shape[:2]
    span = min(photo.shape[0] / height, photo.shape[1] / width)
    shares = np.array(case.labelled.labels.drag)
    start, end = (shares - 0.5) * photo.shape[::-1] / span / (width, height) + 0.5
    thing = (cutout.at_place(case.still, (float(start[0]), float(start[1]))) > 0.5).astype(np.uint8) * 255
    case.note("drag: size", 100 * float((thing > 0).mean()))
    arrow = (end - start) * (width, height)
    text = ">".join(f"{x:g},{y:g}" for x, y in shares)
    went = way(case.plain.compared, thing)
    case.note("drag: plain", None if went is None else float(np.linalg.norm(went - arrow)))
    for camera, name in (("", "drag: still"), (PAN, "drag: panning")):
        frames = case.clip({"kind": "drag", "arrows": text, "camera": camera}).compared
        came = way(frames, thing)
        pan = asked(end_of(camera), (height, width)).shift
        case.note(name, None if came is None else float(np.linalg.norm(came - arrow - pan)))
        case.note("drag: first", psnr(frames[0], case.still))
        case.show("drag", frames)


def brush(case: Case) -> None:
    """What stirs by the labels is painted: free, and in whole cycles."""
    kind, polygons = case.alive
    ref, area = case.painted(polygons)
    unpainted, deep = area == 0, grown(area, DEEP) == 0
    frames, plain = case.clip({"kind": "brush", "mask": ref}).compared, case.plain.compared
    case.note("brush: static", off(frames, case.still, unpainted))
    case.note("brush: static, plain", off(plain, case.still, unpainted))
    case.note("brush: deep", off(frames, case.still, deep))
    inside, free = speed(frames, inner(area)), speed(plain, inner(area))
    if inside is not None and free:
        case.note("brush: inside", 100 * inside / free)
    flowing = case.clip({"kind": "brush", "mask": ref, "effect": EFFECTS.get(kind, "smoke")}, STEP_RATE).frames
    case.note("brush: seam", seam(flowing))
    case.note("brush: jump", jump(np.concatenate([flowing, flowing[:1]])))
    case.note("brush: seam, plain", seam(case.plain.frames))
    case.note("brush: unbrushed", off(flowing, case.still, unpainted))
    case.note("brush: flow", speed(flowing[::2], inner(area)))
    case.show("brush", frames)
    case.show("brush", flowing)
