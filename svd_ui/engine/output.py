"""The files of one clip: frames go in as they are decoded, names come out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

from ..clip import ClipShape, ClipSpec
from ..events import Tile
from ..media import Background, atomic
from ..media.animation import FrameSpool, write_frames_zip, write_gif, write_webp
from ..media.sheet import Sheet, small
from ..media.video import Mp4Writer, set_comment, write_poster
from ..post import Frames

VIDEO, POSTER, LATENTS, FRAMES = "clip.mp4", "poster.jpg", "latents.safetensors", "frames.zip"


class ClipFiles:
    """Writes into ``folder``; whatever it wrote disappears again if the block fails.

    The mp4 is encoded in a thread of its own while later chunks decode; no more than a few wait for it. All frames
    are kept, on the disk, only where another format needs them.
    """

    def __init__(self, folder: Path, clip: ClipSpec, comment: Callable[[], str], fps: int | None = None) -> None:
        """``comment`` is asked with the first frames and at the end: decoding may have stepped down between.

        ``fps`` is the file's rate where it is not the clip's own.
        """
        self._folder, self._clip, self._tag, self._fps = folder, clip, comment, fps or clip.output_fps
        self._stack = ExitStack()
        self._writer: Mp4Writer | None = None
        self._background = Background()
        self._last: Frames | None = None
        self._count = 0
        self._kept: FrameSpool | None = None
        self._names: dict[str, str] = {}
        self._comment = ""

    @property
    def shape(self) -> ClipShape:
        """What was written so far."""
        height, width = (0, 0) if self._last is None else self._last.shape[:2]
        return ClipShape(self._count, width, height, self._fps)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._clip.request.output_format != "mp4":
            self._kept = FrameSpool(self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.__exit__(kind, error, trace)
        finally:
            if self._kept is not None:
                self._kept.close()
            if kind is not None:
                for name in self._names.values():
                    (self._folder / name).unlink(missing_ok=True)

    def add(self, frames: Frames) -> None:
        """The next frames, uint8 ``[f H W 3]``. Raises what befell earlier ones, such as DiskFull."""
        writer = self._writer or self._open(frames[0])
        self._background.do(partial(writer.add, frames))
        if self._kept is not None:
            self._kept.add(frames)
        self._last = frames[-1]
        self._count += len(frames)

    def finish(self, latents: Any) -> dict[str, str]:
        """Close the mp4, write what else was asked for and the final ``latents``; {field of Result: file name}."""
        self._stack.close()
        self._tag_again()
        self._extra()
        self._save_latents(latents)
        return dict(self._names)

    def _open(self, first: Frames) -> Mp4Writer:
        height, width = first.shape[:2]
        self._comment = self._tag()
        self._names |= {"video": VIDEO, "poster": POSTER}
        writer = Mp4Writer(self._folder / VIDEO, width, height, self._fps, comment=self._comment)
        self._writer = self._stack.enter_context(writer)
        self._stack.enter_context(self._background)
        self._background.do(partial(write_poster, self._folder / POSTER, first))
        return self._writer

    def _tag_again(self) -> None:
        comment = self._tag()
        if comment != self._comment:
            self._comment = comment
            set_comment(self._folder / VIDEO, comment)

    def _extra(self) -> None:
        kind, frames = self._clip.request.output_format, self._kept
        if frames is None:
            return
        if kind == "png":
            self._names["frames"] = FRAMES
            write_frames_zip(self._folder / FRAMES, frames, self._comment)
            return
        self._names["animation"] = f"clip.{kind}"
        write = {"gif": write_gif, "webp": write_webp}[kind]
        write(self._folder / self._names["animation"], frames, self._fps, self._comment)

    def _save_latents(self, latents: Any) -> None:
        """``latents`` [1 F C h w] as float32, for methods that go on from them."""
        from safetensors.numpy import save_file

        array = np.ascontiguousarray(latents.detach().float().cpu().numpy())
        self._names["latents"] = LATENTS
        with atomic(self._folder / LATENTS) as temporary:
            save_file({"latents": array}, temporary)


class TileFiles:
    """Writes into ``folder``; whatever it wrote disappears again if the block fails."""

    def __init__(self, folder: Path, clip: ClipSpec, tag: Callable[[int, int], str]) -> None:
        """``clip`` has a wall; ``tag`` gives the settings that go into the file of a (seed, motion)."""
        self._folder, self._clip, self._tag = folder, clip, tag
        self._sheet = sheet_of(clip)
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

    def add(self, index: int, chunks: list[Frames]) -> None:
        """The frames of the tile of that place, uint8 ``[f H W 3]`` each, as a small clip. Raises DiskFull."""
        frames = np.concatenate([small(chunk) for chunk in chunks])
        seed, motion = self._clip.pairs[index]
        tile = Tile(seed=seed, motion_bucket_id=motion, video=f"tile-{index:02}.mp4")
        fps = self._clip.output_fps
        height, width = frames.shape[1:3]
        with Mp4Writer(self._folder / tile.video, width, height, fps, comment=self._tag(seed, motion)) as writer:
            writer.add(frames)
        self._tiles.append(tile)
        self._sheet.put(index, Image.fromarray(frames[len(frames) // 2]))

    def finish(self) -> dict[str, Any]:
        """Write the sheet of every tile's middle frame; fields of ``Result``."""
        self._sheet.write(self._folder / POSTER)
        return {"poster": POSTER, "tiles": tuple(self._tiles)}


def sheet_of(clip: ClipSpec) -> Sheet:
    """The empty sheet of a wall: seeds down, motions across."""
    captions = [f"seed {seed}, motion {motion}" for seed, motion in clip.pairs]
    return Sheet(captions, clip.columns, clip.width, clip.height)
