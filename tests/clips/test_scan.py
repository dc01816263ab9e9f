"""A folder of clips as people have them: cuts found, static stretches dropped, motion labelled, trouble named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from svd_ui import clips
from svd_ui.clips import buckets, cuts, decoding, histogram, motion_score, thumbnail
from svd_ui.errors import BadClip, BadInput
from svd_ui.media.footage import Moment
from svd_ui.media.image import load
from svd_ui.media.video import Mp4Writer
from svd_ui.notes import sentence
from tests.media.files import LIMITS, TURNS, clip, levels, png, scene, turned

Frames = NDArray[np.uint8]
SIZE = {"width": 96, "height": 64, "num_frames": 8}


def texture(seed: int, height: int = 64, width: int = 320) -> Frames:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 16, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def pan(seed: int, count: int, speed: float) -> Frames:
    """A window that moves right over a texture by ``speed`` pixels a frame."""
    ground = texture(seed)
    return np.stack([ground[:, round(i * speed) : round(i * speed) + 96] for i in range(count)])


def mp4(path: Path, frames: Frames, fps: float = 8) -> None:
    with Mp4Writer(path, frames.shape[2], frames.shape[1], fps) as writer:
        writer.add(frames)


def test_a_cut_is_found_and_a_fast_pan_is_not_one(tmp_path: Path) -> None:
    two = np.concatenate([pan(1, 12, 2), pan(2, 12, 2)])
    assert cuts([thumbnail(frame) for frame in two]) == [0, 12]
    assert cuts([thumbnail(frame) for frame in pan(3, 16, 12)]) == [0]
    mp4(tmp_path / "two.mp4", two)
    found = clips.scan(tmp_path, **SIZE)
    assert found.scenes == 2
    assert [one.first for one in found.stretches] == [0, 12]


def test_no_stretch_spans_a_cut_and_its_frames_are_the_scene_s(tmp_path: Path) -> None:
    mp4(tmp_path / "two.mp4", np.concatenate([pan(1, 9, 2), pan(2, 9, 2)]))
    first, second = clips.scan(tmp_path, **SIZE).stretches
    for stretch, seed in ((first, 1), (second, 2)):
        read = clips.read(stretch, 96, 64)
        assert read.shape == (8, 64, 96, 3)
        assert np.abs(read.astype(int) - pan(seed, 8, 2)).mean() < 8


def test_motion_labels_follow_the_motion(tmp_path: Path) -> None:
    for speed in (1, 3, 9):
        mp4(tmp_path / f"{speed}.mp4", pan(7, 8, speed))
    found = clips.scan(tmp_path, **SIZE)
    by_name = {one.name: one.motion_bucket_id for one in found.stretches}
    assert by_name == {"1.mp4": 1, "3.mp4": 128, "9.mp4": 255}
    assert sum(found.histogram) == 3


def test_static_and_short_clips_are_dropped_with_their_reason(tmp_path: Path) -> None:
    mp4(tmp_path / "still.mp4", np.repeat(pan(1, 1, 1), 20, axis=0))
    mp4(tmp_path / "short.mp4", pan(2, 5, 3))
    mp4(tmp_path / "good.mp4", pan(3, 8, 3))
    found = clips.scan(tmp_path, **SIZE)
    reasons = {one.name: sentence(one.reason) for one in found.dropped}
    assert [one.name for one in found.stretches] == ["good.mp4"]
    assert "nothing moves" in reasons["still.mp4"]
    assert "8 needed" in reasons["short.mp4"]


def test_a_fast_file_is_thinned_into_the_range_of_the_model(tmp_path: Path) -> None:
    mp4(tmp_path / "fast.mp4", pan(1, 32, 1), fps=60)
    (stretch, second) = clips.scan(tmp_path, **SIZE).stretches
    assert (stretch.stride, stretch.fps, second.first) == (2, 30.0, 15)
    read = clips.read(stretch, 96, 64)
    assert np.abs(read.astype(int) - pan(1, 16, 1)[::2]).mean() < 8


def test_gif_webp_and_folders_of_pictures_are_clips_too(tmp_path: Path) -> None:
    frames = [Image.fromarray(frame) for frame in pan(4, 8, 3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    frames[0].save(tmp_path / "b.webp", save_all=True, append_images=frames[1:], duration=125, lossless=True)
    (tmp_path / "shots").mkdir()
    for index, frame in enumerate(frames):  # no zeros before the number: 10 must come after 9
        frame.save(tmp_path / "shots" / f"frame{index + 5}.png")
    found = {one.name: one for one in clips.scan(tmp_path, **SIZE, fps=6).stretches}
    assert {name: round(one.fps, 2) for name, one in found.items()} == {"a.gif": 10.0, "b.webp": 8.0, "shots": 6.0}
    assert np.array_equal(clips.read(found["shots"], 96, 64), pan(4, 8, 3))


def test_unreadable_files_are_named_and_the_others_kept(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"\0" * 500)
    mp4(tmp_path / "cut.mp4", pan(2, 16, 3))
    whole = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    Image.fromarray(texture(1)).save(tmp_path / "photo.webp")
    mp4(tmp_path / "good.mp4", pan(3, 8, 3))
    found = clips.scan(tmp_path, **SIZE)
    assert {one.name for one in found.stretches} >= {"good.mp4"}
    assert {"noise.mp4", "photo.webp"} <= {one.name for one in found.dropped}


def test_nothing_to_train_on_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="add mp4"):
        clips.scan(tmp_path, **SIZE)
    mp4(tmp_path / "still.mp4", np.repeat(pan(1, 1, 1), 8, axis=0))
    with pytest.raises(BadInput, match=r"still\.mp4: nothing moves"):
        clips.scan(tmp_path, **SIZE)
    with pytest.raises(BadInput, match="no folder") as caught:
        clips.scan(tmp_path / "absent", **SIZE)
    assert caught.value.field == "data"


def test_the_score_is_the_standard_deviation_in_time() -> None:
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    frames[1] = 255
    assert motion_score(frames) == pytest.approx(1.0)
    assert motion_score(frames[:1]) == 0.0


def test_labels_use_the_whole_dial_and_equal_clips_share_one() -> None:
    assert buckets([]) == []
    assert buckets([0.3]) == [128]
    assert buckets([0.1, 0.1, 0.1]) == [128, 128, 128]
    assert buckets([0.5, 0.1, 0.3]) == [255, 1, 128]
    assert sum(histogram([1, 128, 255])) == 3
    assert histogram([1])[0] == 1
    assert histogram([255])[-1] == 1


# One door for pictures and clips


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_clip_is_trained_as_it_is_seen(turn: str, tmp_path: Path) -> None:
    moving = pan(1, 12, 2)
    (tmp_path / "phone.mp4").write_bytes(turned(clip(tmp_path / "stored.mp4", moving), *TURNS[turn]))
    (tmp_path / "stored.mp4").unlink()
    width, height = (64, 96) if turn in ("90", "270") else (96, 64)
    (stretch,) = clips.scan(tmp_path, width=width, height=height, num_frames=12).stretches
    trained = clips.read(stretch, width, height).astype(int)
    turns = {"90": lambda f: np.rot90(f, -1), "180": lambda f: np.rot90(f, 2), "270": np.rot90, "mirrored": np.fliplr}
    shown = np.stack([turns[turn](frame) for frame in moving]).astype(int)
    assert np.abs(trained - shown).mean() < 6
    still = load(tmp_path / "phone.mp4", **LIMITS, moment=Moment.of("5")).image
    assert np.abs(trained[5] - np.asarray(still)).max() == 0, "the same as the page's still"


def test_frames_of_a_folder_come_through_the_door_of_pictures(tmp_path: Path) -> None:
    """Turned by EXIF, alpha flattened, colours converted."""
    moving, folder = pan(1, 8, 2), tmp_path / "frames"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 3
    for index, frame in enumerate(moving):
        stored = Image.fromarray(np.rot90(frame, 2).copy())
        if index == 0:
            stored = stored.convert("RGBA")
            stored.paste((255, 0, 0, 0), (86, 54, 96, 64))  # clear, red below: the upper left corner when upright
        stored.save(folder / f"{index:03}.{'png' if index % 2 == 0 else 'jpg'}", exif=exif, quality=95)
    p3 = png(levels(scene()), (b"cICP", bytes([12, 13, 0, 1])))
    (folder / "008.png").write_bytes(p3)
    frames = list(decoding.frames(decoding.ClipSource(folder, "pictures", None), 96, 64))
    assert len(frames) == 9
    for index, frame in enumerate(frames[:8]):
        assert np.abs(frame[12:, 12:].astype(int) - moving[index][12:, 12:]).mean() < 5
    assert frames[0][:8, :8].min() == 255, "what is clear is white"
    assert np.abs(frames[8].astype(int) - np.asarray(load(p3, **LIMITS).image)).max() == 0


def test_a_damaged_frame_names_the_folder(tmp_path: Path) -> None:
    for index, frame in enumerate(pan(1, 8, 2)):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:400])
    with pytest.raises(BadClip, match="is damaged or incomplete"):
        list(decoding.frames(decoding.ClipSource(tmp_path, "pictures", None), 96, 64))
