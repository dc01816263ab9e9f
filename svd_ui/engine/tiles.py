"""The files of a draft wall: one small mp4 for each tile, and a sheet of them all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

from ..events import Tile
from ..media.sheet import Sheet, small
from ..media.video import Mp4Writer
from ..request import GenerationRequest
from .output import POSTER, Frames


class TileFiles:
    """Writes into ``folder``; whatever it wrote disappears again if the block fails."""

    def __init__(self, folder: Path, request: GenerationRequest, tag: Callable[[int, int], str]) -> None:
        """``request`` is a resolved wall; ``tag`` gives the settings that go into the file of a (seed, motion)."""
        self._folder, self._request, self._tag = folder, request, tag
        self._pairs = pairs_of(request)
        self._sheet = sheet_of(request)
        self._tiles: list[Tile] = []

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for name in (POSTER, *(tile.video for tile in self._tiles)):
                (self._folder / name).unlink(missing_ok=True)

    def add(self, chunks: list[Frames]) -> None:
        """The frames of the next tile, uint8 ``[f H W 3]`` each, as a small clip. Raises DiskFull."""
        frames = np.concatenate([small(chunk) for chunk in chunks])
        index = len(self._tiles)
        seed, motion = self._pairs[index]
        tile = Tile(seed=seed, motion_bucket_id=motion, video=f"tile-{index:02}.mp4")
        fps = self._request.output_fps or self._request.fps or 7
        height, width = frames.shape[1:3]
        with Mp4Writer(self._folder / tile.video, width, height, fps, comment=self._tag(seed, motion)) as writer:
            writer.add(frames)
        self._tiles.append(tile)
        self._sheet.put(index, Image.fromarray(frames[len(frames) // 2]))

    def finish(self) -> dict[str, Any]:
        """Write the sheet of every tile's middle frame; fields of ``Result``."""
        self._sheet.write(self._folder / POSTER)
        return {"poster": POSTER, "tiles": tuple(self._tiles)}


def pairs_of(request: GenerationRequest) -> tuple[tuple[int, int], ...]:
    """(seed, motion) of every tile of a resolved wall."""
    assert request.wall is not None
    return request.wall.pairs(request.seed or 0)


def sheet_of(request: GenerationRequest) -> Sheet:
    """The empty sheet of a resolved wall: seeds down, motions across."""
    assert request.wall is not None
    captions = [f"seed {seed}, motion {motion}" for seed, motion in pairs_of(request)]
    return Sheet(captions, len(request.wall.motion_bucket_ids), request.width or 0, request.height or 0)
