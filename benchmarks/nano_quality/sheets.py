"""Contact sheets: figures miss what an eye sees at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from . import moves
from .checkpoint import SEED, Nano, Photo
from .tracks import Frames, Tracks, track

SEEN = ("astronaut", "pagoda", "picosdeeuropa", "wine")
"""A person, straight lines, a landscape, a room."""
COLUMNS = 4
GAIN = 2.0
"""How much longer than they are the ways of points are drawn."""


def write(path: Path, strips: Sequence[Sequence[Frames]], scale: float = 0.5) -> None:
    """One row of pictures each, at ``scale``."""
    sheet = np.concatenate([np.concatenate(list(strip), axis=1) for strip in strips])
    small = cv2.resize(sheet, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def of_seeds(nano: Nano, paths: Sequence[Path], seeds: int, folder: Path) -> None:
    """Of four photographs: the last frame of every seed, with the ways its points went and what the move is called."""
    for path in paths:
        if path.stem in SEEN:
            photo = Photo.open(path, nano.size)
            ends = [_end(nano, photo, seed) for seed in range(SEED, SEED + seeds)]
            ends += [np.zeros_like(photo.still)] * (-len(ends) % COLUMNS)
            write(folder / f"{path.stem}.jpg", [ends[i : i + COLUMNS] for i in range(0, len(ends), COLUMNS)])


def _end(nano: Nano, photo: Photo, seed: int) -> Frames:
    frames = nano.animate(photo, seed).compared
    tracks = track(frames)
    end = _with_ways(frames[-1], tracks)
    text = f"{seed} {moves.kind(tracks)}"
    for colour, width in (((0, 0, 0), 5), ((255, 255, 255), 1)):
        cv2.putText(end, text, (10, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.8, colour, width, cv2.LINE_AA)
    return end


def _with_ways(frame: Frames, tracks: Tracks) -> Frames:
    """``frame`` with a line from where each point was, through where it is, drawn longer."""
    drawn = frame.copy()
    for begin, end in zip(tracks.first[::3], tracks.places[-1][::3], strict=True):
        a, b = ((int(x), int(y)) for x, y in (end - GAIN * (end - begin), end))
        cv2.line(drawn, a, b, (255, 230, 60), 1, cv2.LINE_AA)
        cv2.circle(drawn, b, 2, (255, 80, 40), -1, cv2.LINE_AA)
    return drawn
