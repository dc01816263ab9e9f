"""Asked camera paths against those that points in the clip went."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch

from benchmarks.nano_quality.checkpoint import Clip
from benchmarks.nano_quality.edges import POINTS
from benchmarks.nano_quality.rubber import rubber
from benchmarks.nano_quality.tracks import LEAST_POINTS, Similarity, Tracks, camera, track
from svd_ui.steering.camera import REST, Pose, read

from .case import Case

FLAT = ("push in", "pull out", "pan left", "pan right", "tilt up", "roll right",
        "push in,pan left*0.5,roll=3", "pull out,tilt up*0.7")  # fmt: skip
"""Asked without parallax: a similarity of the whole frame."""
DEEP = ("dolly in", "arc left", "push in,pan right*0.5")
"""Asked with parallax: every point goes where the plan says for its depth."""
TURNS = 3
MOST_PIXELS, MOST_PERCENT = 0.5, 2.0


def asked(pose: Pose, size: tuple[int, int]) -> Similarity:
    """Where a camera at ``pose`` shows places of the still, for a frame of ``size`` (height, width)."""
    height, width = size
    turn, middle = math.radians(pose.roll), (np.array([width, height]) - 1) / 2
    turned = pose.zoom * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    went = np.array([pose.pan * width, -pose.tilt * height])
    return Similarity(np.concatenate([turned, (middle - turned @ (middle + went))[:, None]], axis=1), size)


def end_of(path: str) -> Pose:
    """Where a ``path`` in words ends."""
    keys = read(path).keys
    return keys[-1][1] if keys else REST


def measure(case: Case, index: int, seeds: int) -> None:
    """A part of the paths: over three seeds a photograph sees all of them."""
    turns = max(seeds, TURNS)
    for path in (FLAT + DEEP)[(index + case.turn) % turns :: turns]:
        flat = path in FLAT
        clip = case.clip({"kind": "camera", "camera": path, **({"parallax": 0.0} if flat else {})})
        tracks = track(clip.compared)
        off, far = _flat(path, tracks) if flat else _deep(clip, tracks)
        if off is not None:
            case.note(f"camera {path}: px", off)
            case.note(f"camera {path}: %", 100 * off / far)
            case.note(f"camera {path}", min(off / MOST_PIXELS, 100 * off / far / MOST_PERCENT))
        if flat:
            plain, _ = _flat(path, track(case.plain.compared))
            case.note(f"camera {path}: plain", plain)
        case.note("camera: rubber", rubber(tracks))
        case.note("camera: beyond", _beyond(clip))
        case.show("camera", clip.frames)
    case.note("camera: plain's rubber", rubber(track(case.plain.compared)))


def _flat(path: str, tracks: Tracks) -> tuple[float, float]:
    wanted = asked(end_of(path), tracks.size)
    return wanted.distance(camera(tracks)), wanted.path


def _deep(clip: Clip, tracks: Tracks) -> tuple[float | None, float]:
    """Median distance of points from where the plan has them, and how far they went; None with too few of them."""
    if tracks.places.shape[1] < LEAST_POINTS:
        return None, 1.0
    height, width = tracks.size
    last = clip.directed.at(torch.tensor([len(clip.frames) - 1]))
    looks = np.ascontiguousarray(last.places(height, width)[0].permute(1, 2, 0).numpy()) * (max(height, width) / 2)
    ends = tracks.places[-1].astype(np.float32)
    came = (
        cv2.remap(looks, ends[:, 0], ends[:, 1], cv2.INTER_LINEAR).reshape(-1, 2) + np.array([width, height]) / 2 - 0.5
    )
    off = np.linalg.norm(came - tracks.first, axis=-1)
    return float(np.median(off)), max(float(np.linalg.norm(tracks.moved, axis=-1).mean()), 1e-6)


def _beyond(clip: Clip) -> float:
    """Share of looks beyond what was painted around the still, %."""
    assert clip.decoder is not None
    height, width = clip.frames.shape[1:3]
    scale = POINTS / max(height, width)
    shown = clip.directed
    places = shown.places(round(height * scale), round(width * scale))
    return 100 * clip.decoder.canvas(shown).outside(places) / places[:, 0].numel()
