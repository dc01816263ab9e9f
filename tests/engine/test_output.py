"""A clip's files: encoded beside the decoding, complete or gone."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from svd_ui.catalog import STABILITY_ROWS
from svd_ui.clip import ClipSpec
from svd_ui.engine.output import ClipFiles
from svd_ui.errors import DiskFull
from svd_ui.media.video import Mp4Writer, read_comment, read_frames
from svd_ui.request import GenerationRequest

CLIP = ClipSpec.of(GenerationRequest(fps=7), STABILITY_ROWS[0])
LATENTS = torch.zeros(1, 6, 4, 6, 8)


def frames(count: int = 6) -> np.ndarray:
    """Grey frames that get lighter, so that their order can be told."""
    levels = np.linspace(30, 220, count).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, 48, 64, 3)).copy()


def test_chunks_come_out_in_order_with_the_files_beside(tmp_path: Path) -> None:
    with ClipFiles(tmp_path, CLIP, comment=lambda: "tag") as files:
        for first in range(0, 6, 2):
            files.add(frames()[first : first + 2])
        names = files.finish(LATENTS)
    assert set(names) == {"video", "poster", "latents"}
    back = read_frames(tmp_path / names["video"])
    assert np.abs(back.astype(int) - frames()).max() <= 6
    assert read_comment(tmp_path / names["video"]) == "tag"
    assert (files.shape.num_frames, files.shape.fps) == (len(frames()), CLIP.output_fps)
    assert (files.shape.height, files.shape.width) == frames().shape[1:3]


def test_the_next_chunk_decodes_while_this_one_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, add = threading.Event(), Mp4Writer.add

    def waits_for_the_decoder(self: Mp4Writer, chunk: np.ndarray) -> None:
        assert decoded.wait(60), "add() returned only after the encoding"
        add(self, chunk)

    monkeypatch.setattr(Mp4Writer, "add", waits_for_the_decoder)
    with ClipFiles(tmp_path, CLIP, comment=lambda: "") as files:
        files.add(frames(3))
        decoded.set()
        files.add(frames(3))
        files.finish(LATENTS)
    assert len(read_frames(tmp_path / "clip.mp4")) == 6


def test_a_full_disk_is_said_with_the_next_chunk_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Mp4Writer, chunk: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Mp4Writer, "add", full)
    handed_over = 0

    def decode() -> None:
        nonlocal handed_over
        with ClipFiles(tmp_path, CLIP, comment=lambda: "") as files:
            for _ in range(3000):  # a minute: none of it is waited for once the encoder has met the full disk
                files.add(frames(1))
                handed_over += 1
                time.sleep(0.02)

    with pytest.raises(DiskFull):
        decode()
    assert handed_over < 3000
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_stops_in_the_middle_leaves_nothing_and_no_thread(tmp_path: Path) -> None:
    def cancelled() -> None:
        with ClipFiles(tmp_path, CLIP, comment=lambda: "") as files:
            files.add(frames(2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cancelled()
    assert list(tmp_path.iterdir()) == []
    assert "svd-ui-encoder" not in {thread.name for thread in threading.enumerate()}


def test_frames_that_nobody_may_write_to_are_encoded_too(tmp_path: Path) -> None:
    locked = frames()
    locked.setflags(write=False)
    with ClipFiles(tmp_path, CLIP, comment=lambda: "") as files:
        files.add(locked)
        files.finish(LATENTS)
    assert len(read_frames(tmp_path / "clip.mp4")) == 6
