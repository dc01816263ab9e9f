"""The files of one clip: frames go in as they are decoded, names come out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..events import Tile
from ..media.atomic import atomic
from ..media.background import Background
from ..media.sheet import Sheet, small
from ..media.video import Mp4Writer, set_comment, write_frames_zip, write_gif, write_poster, write_webp
from ..request import GenerationRequest

Frames = NDArray[np.uint8]
VIDEO, POSTER, LATENTS, FRAMES = "clip.mp4", "poster.jpg", "latents.safetensors", "frames.zip"


class ClipFiles:
    """Writes into ``folder``; whatever it wrote disappears again if the block fails.

    The mp4 is encoded in a thread of its own while later chunks decode; no more than a few wait for it. All frames
    are kept only where another format needs them.
    """

    def __init__(self, folder: Path, request: GenerationRequest, comment: Callable[[], str]) -> None:
        """``comment`` is asked with the first frames and at the end: decoding may have stepped down between."""
        self._folder, self._request, self._tag = folder, request, comment
        self._stack = ExitStack()
        self._writer: Mp4Writer | None = None
        self._background = Background()
        self._last: Frames | None = None
        self._kept: list[Frames] = []
        self._names: dict[str, str] = {}
        self._comment = ""

    @property
    def last(self) -> Image.Image | None:
        """The last frame so far."""
        return None if self._last is None else Image.fromarray(self._last)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.__exit__(kind, error, trace)
        finally:
            if kind is not None:
                for name in self._names.values():
                    (self._folder / name).unlink(missing_ok=True)

    def add(self, frames: Frames) -> None:
        """The next frames, uint8 ``[f H W 3]``. Raises what befell earlier ones, such as DiskFull."""
        if self._writer is None:
            self._open(frames[0])
        assert self._writer is not None
        self._background.do(partial(self._writer.add, frames))
        if self._request.output_format != "mp4":
            self._kept.append(frames)
        self._last = frames[-1]

    def finish(self, latents: Any) -> dict[str, str]:
        """Close the mp4, write what else was asked for and the final ``latents``; {field of Result: file name}."""
        self._stack.close()
        self._tag_again()
        self._extra()
        self._save_latents(latents)
        return dict(self._names)

    def _open(self, first: Frames) -> None:
        height, width = first.shape[:2]
        fps = self._request.output_fps or self._request.fps or 7
        self._comment = self._tag()
        self._names |= {"video": VIDEO, "poster": POSTER}
        writer = Mp4Writer(self._folder / VIDEO, width, height, fps, comment=self._comment)
        self._writer = self._stack.enter_context(writer)
        self._stack.enter_context(self._background)
        self._background.do(partial(write_poster, self._folder / POSTER, first))

    def _tag_again(self) -> None:
        comment = self._tag()
        if comment != self._comment:
            self._comment = comment
            set_comment(self._folder / VIDEO, comment)

    def _extra(self) -> None:
        kind = self._request.output_format
        if kind == "mp4":
            return
        frames = np.concatenate(self._kept)
        fps = self._request.output_fps or self._request.fps or 7
        if kind == "png":
            self._names["frames"] = FRAMES
            write_frames_zip(self._folder / FRAMES, frames, self._comment)
            return
        self._names["animation"] = f"clip.{kind}"
        write = {"gif": write_gif, "webp": write_webp}[kind]
        write(self._folder / self._names["animation"], frames, fps, self._comment)

    def _save_latents(self, latents: Any) -> None:
        """``latents`` [1 F C h w] as float32, for methods that go on from them."""
        from safetensors.numpy import save_file

        array = np.ascontiguousarray(latents.detach().float().cpu().numpy())
        self._names["latents"] = LATENTS
        with atomic(self._folder / LATENTS) as temporary:
            save_file({"latents": array}, temporary)


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
