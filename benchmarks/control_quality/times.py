"""End frames, loops and longer clips: where a clip ends, how it closes, how it goes on."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image

from benchmarks.nano_quality.checkpoint import Clip, Photo
from benchmarks.nano_quality.looks import psnr, sharpness
from benchmarks.nano_quality.tracks import Frames

from .case import STEP_RATE, Case
from .figures import across, jump, palindrome, seam, sharp, speed, steps

LONGER, LATE = 8, 4
"""How many times as long, and how many frames of its second half are looked at closely."""
RELATED = 1.12, 3.0, (0.04, 0.03)
"""How much larger, how many degrees turned and by which shares of the frame shifted the end of a pair is."""


def related(photo: Photo, share: float) -> Frames:
    """Another crop of the photograph, ``share`` of the way from its still to the end of the pair."""
    height, width = photo.still.shape[:2]
    larger, turned, shift = RELATED
    scale = larger**share / min(photo.shape[0] / height, photo.shape[1] / width)
    middle = (photo.shape[1] / 2 - 0.5, photo.shape[0] / 2 - 0.5)
    matrix = cv2.getRotationMatrix2D(middle, share * turned, scale)
    matrix[:, 2] += np.array([width / 2 - 0.5, height / 2 - 0.5]) - middle
    matrix[:, 2] += share * np.array(shift) * (width, height)
    pixels = np.asarray(photo.picture)
    found = cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8)


def end_frame(case: Case, other: Photo) -> None:
    """A pair from one photograph, with a third still between them, and a pair of two photographs."""
    photo = case.labelled.photo
    middle, end = related(photo, 0.5), related(photo, 1.0)
    last = {"kind": "end_frame", "image": case.keep(Image.fromarray(end))}
    clip = case.clip(last, STEP_RATE)
    _ends(case, "end", clip.frames, case.still, end)
    dissolve = dissolved(case.still, end, len(clip.frames))
    case.note("end: dissolve's jump", jump(dissolve))
    case.note("end: dissolve's sharpness", _mid(dissolve))
    keyed = case.clip(last | {"keys": f"0.5={case.keep(Image.fromarray(middle))}"}, STEP_RATE).frames
    _ends(case, "keys", keyed, case.still, end)
    case.note("keys: middle", max(psnr(one, middle) for one in keyed))
    strange = case.clip(last | {"image": case.keep(Image.fromarray(other.still))}, STEP_RATE)
    _ends(case, "unrelated", strange.frames, case.still, other.still)
    case.note("unrelated: said", 100.0 * _said(strange))
    case.note("end: taken for unrelated", 100.0 * _said(clip))
    case.show("end_frame", clip.frames, end)
    case.show("end_frame", strange.frames, other.still)


def _said(clip: Clip) -> bool:
    assert clip.decoder is not None
    return any(note.code == "stills_unrelated" for note in clip.decoder.stage.choreography.notes)


def _ends(case: Case, name: str, frames: Frames, first: Frames, last: Frames) -> None:
    case.note(f"{name}: stills", min(psnr(frames[0], first), psnr(frames[-1], last)))
    case.note(f"{name}: jump", jump(frames))
    case.note(f"{name}: sharpness", _mid(frames))


def _mid(frames: Frames) -> float:
    return sharpness(frames[len(frames) // 2]) / ((sharpness(frames[0]) + sharpness(frames[-1])) / 2)


def dissolved(first: Frames, last: Frames, count: int) -> Frames:
    """What any editor does between two stills."""
    shares = np.linspace(0, 1, count)[:, None, None, None]
    return np.asarray((first + shares * (last.astype(np.float32) - first)).round(), np.uint8)


def loop(case: Case) -> None:
    """As the method goes by itself."""
    clip = case.clip({"kind": "loop"}, STEP_RATE)
    frames = clip.frames
    case.note("loop: seam", seam(frames))
    case.note("loop: seam, plain", seam(case.plain.frames))
    closed = np.concatenate([frames, frames[:1]])
    case.note("loop: jump", float(steps(closed).max() / max(float(np.median(steps(closed))), 1e-6)))
    case.note("loop: palindrome", palindrome(frames))
    there_and_back = np.concatenate([case.plain.frames, case.plain.frames[-2:0:-1]])
    case.note("loop: palindrome, there and back", palindrome(there_and_back))
    going, free = speed(clip.compared), speed(case.plain.compared)
    if going is not None and free:
        case.note("loop: flow", 100 * going / free)
    case.note("loop: sharpness", sharp(frames, sharpness(case.still)))
    case.show("loop", frames)


def extend(case: Case) -> None:
    """``LONGER`` times the checkpoint's own length, and the naive way: another clip that begins with the last frame."""
    own = case.plain.spec
    seconds = LONGER * own.num_frames / own.fps
    clip = case.clip({"kind": "extend", "seconds": seconds})
    case.note("extend: calls", float(case.calls[0]))
    case.note("extend: length", len(clip.scene) / own.num_frames)
    frames, each = clip.frames, (own.num_frames - 1) * clip.fps / own.fps
    for number in range(1, LONGER):
        _seam(case, "extend", frames, round(number * each))
    last = case.plain.frames[-1]
    whole = Photo(Image.fromarray(last), last)
    then = case.nano.animate(whole, case.seed + 1, output_fps=round(clip.fps)).frames
    _seam(case, "naive", np.concatenate([case.plain.frames, then[1:]]), len(case.plain.frames) - 1)
    assert clip.decoder is not None
    late = torch.linspace(len(frames) // 2, len(frames) - 1, LATE).round().long()
    looked = clip.decoder.canvas(clip.directed).look(clip.directed.at(late).places(*case.still.shape[:2]))
    for at, one in zip(late.tolist(), looked, strict=True):
        expected = ((one.permute(1, 2, 0) + 1) * 127.5).round().numpy().astype(np.uint8)
        case.note("extend: sharpness", sharpness(frames[at]) / sharpness(expected))
    case.note("naive: sharpness", sharpness(then[-1]) / sharpness(case.still))
    case.note("extend: sharpness of the still", sharpness(frames[-1]) / sharpness(case.still))
    case.show("extend", frames)


def _seam(case: Case, name: str, frames: Frames, at: int) -> None:
    found = across(frames[at - 1 : at + 2])
    if found is not None:
        case.note(f"{name}: cosine", found[0])
        case.note(f"{name}: speed", found[1])
