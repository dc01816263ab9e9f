"""Figures of a clip's pixels: sharpness, what motion cannot explain, likeness."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from .tracks import Frames, grey


def psnr(a: Frames, b: Frames) -> float:
    error = np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2)
    return float(10 * np.log10(255**2 / max(float(error), 1e-3)))


def incoherence(clip: Frames) -> float:
    """The share of the difference between frames that optical flow (OpenCV's DIS) cannot explain."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    h, w = clip.shape[1:3]
    base = np.stack(np.meshgrid(np.arange(w), np.arange(h)), axis=-1).astype(np.float32)
    left, plain = [], []
    for a, b in itertools.pairwise(clip):
        flow = dis.calc(grey(b), grey(a), None)  # type: ignore[call-overload]
        compensated = cv2.remap(a, base + flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        left.append(np.abs(b.astype(np.float32) - compensated).mean())
        plain.append(np.abs(b.astype(np.float32) - a).mean())
    return float(np.mean(left) / max(float(np.mean(plain)), 1e-6))


def sharpness(frame: Frames) -> float:
    """Mean gradient length: grows with noise, shrinks with blur."""
    image = grey(frame).astype(np.float32)
    return float(np.hypot(np.diff(image, axis=1)[:-1], np.diff(image, axis=0)[:, :-1]).mean())
