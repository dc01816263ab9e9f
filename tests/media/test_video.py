"""Clips are real files, read back by the same decoder browsers' builds come from."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from svd_ui.errors import BadInput
from svd_ui.media.animation import write_frames_zip, write_gif, write_webp
from svd_ui.media.video import Mp4Writer, read_comment, read_frames, set_comment, write_poster
from svd_ui.settings import REPOSITORY

COLOUR = (200, 30, 90)
COMMENT = '{"svd_ui": 1, "request": {"prompt": "a \\"quoted\\" café & <b> 🦊"}}'


def flat(count: int = 7, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((count, height, width, 3), COLOUR, np.uint8)


def moving(count: int = 8, height: int = 96, width: int = 128) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    frames = [np.stack([128 + 100 * np.sin((x + 3 * t) / 17), 128 + 90 * np.cos(y / 13), x], -1) for t in range(count)]
    return np.stack(frames).clip(0, 255).astype(np.uint8)


def written(path: Path, frames: np.ndarray, fps: float = 7, comment: str = COMMENT) -> Path:
    with Mp4Writer(path, frames.shape[2], frames.shape[1], fps, comment) as writer:
        for start in range(0, len(frames), 3):
            writer.add(frames[start : start + 3])
    return path


def boxes(data: bytes) -> dict[bytes, int]:
    """Top-level boxes of an mp4 and where they start."""
    found, at = {}, 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        found[kind] = at
        at += size
    assert at == len(data)
    return found


def test_frames_come_back(tmp_path: Path) -> None:
    frames = moving()
    back = read_frames(written(tmp_path / "clip.mp4", frames))
    assert back.shape == frames.shape
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - frames).mean() < 3


def test_colours_survive(tmp_path: Path) -> None:
    back = read_frames(written(tmp_path / "clip.mp4", flat()))
    assert np.abs(back.astype(int) - COLOUR).max() <= 2


def test_colours_are_bt709_by_its_own_formula(tmp_path: Path) -> None:
    """Not only for our reader: the stored samples are BT.709 limited range, as players assume."""
    with av.open(str(written(tmp_path / "clip.mp4", flat()))) as container:
        frame = next(container.decode(video=0))
    planes = frame.to_ndarray()  # yuv420p: Y over U over V
    height, width = frame.height, frame.width
    y = float(planes[:height].mean())
    u, v = (float(part.mean()) for part in np.split(planes[height:].reshape(-1, width // 2), 2))
    r, g, b = (channel / 255 for channel in COLOUR)
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    expected = (16 + 219 * luma, 128 + 224 * (b - luma) / 1.8556, 128 + 224 * (r - luma) / 1.5748)
    assert (y, u, v) == pytest.approx(expected, abs=1.5)


@pytest.mark.parametrize("again", [False, True])
def test_layout_browsers_play(tmp_path: Path, again: bool) -> None:
    path = written(tmp_path / "clip.mp4", moving(), fps=12)
    if again:
        set_comment(path, COMMENT * 2)
    found = boxes(path.read_bytes())
    assert found[b"moov"] < found[b"mdat"]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
        assert stream.average_rate == 12
        assert stream.frames == 8
        assert float(stream.duration * stream.time_base) == pytest.approx(8 / 12, abs=1e-3)
    assert b"colrnclx" in path.read_bytes()


def test_comment_travels(tmp_path: Path) -> None:
    assert read_comment(written(tmp_path / "clip.mp4", flat())) == COMMENT
    assert read_comment(written(tmp_path / "plain.mp4", flat(), comment="")) is None
    long = "x" * 40_000
    assert read_comment(written(tmp_path / "long.mp4", flat(), comment=long)) == long


def test_a_comment_can_be_changed_and_the_pictures_stay(tmp_path: Path) -> None:
    path = written(tmp_path / "clip.mp4", moving())
    before = read_frames(path)
    set_comment(path, "another")
    assert read_comment(path) == "another"
    assert np.array_equal(read_frames(path), before)
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (33, 21), (16, 64), (256, 144)])
def test_odd_and_small_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    back = read_frames(written(tmp_path / "clip.mp4", flat(3, height, width)))
    assert back.shape == (3, height + height % 2, width + width % 2, 3)
    assert np.abs(back.astype(int) - COLOUR).max() <= 3


@pytest.mark.parametrize("fps", [1, 7, 30, 60, 23.976])
def test_rates(tmp_path: Path, fps: float) -> None:
    with av.open(str(written(tmp_path / "clip.mp4", flat(4), fps=fps))) as container:
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(fps, rel=1e-4)


def test_one_frame(tmp_path: Path) -> None:
    assert len(read_frames(written(tmp_path / "clip.mp4", flat(1)))) == 1


def test_frames_of_the_wrong_shape_are_a_bug_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected uint8"), Mp4Writer(tmp_path / "clip.mp4", 64, 48, 7) as writer:
        writer.add(flat(2, 40, 64))
    with pytest.raises(ValueError, match="at least one frame"), Mp4Writer(tmp_path / "clip.mp4", 64, 48, 7):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_clip_leaves_the_older_one(tmp_path: Path) -> None:
    path = written(tmp_path / "clip.mp4", flat())
    before = path.read_bytes()

    def interrupted() -> None:
        with Mp4Writer(path, 64, 48, 7) as writer:
            writer.add(flat(3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_under_the_final_name_before_the_end(tmp_path: Path) -> None:
    with Mp4Writer(tmp_path / "clip.mp4", 64, 48, 7) as writer:
        writer.add(flat())
        assert not (tmp_path / "clip.mp4").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_the_folder_is_made(tmp_path: Path) -> None:
    assert written(tmp_path / "a" / "b" / "clip.mp4", flat()).is_file()


FILL = """
import resource, sys
from pathlib import Path
import numpy as np
from svd_ui.errors import DiskFull
from svd_ui.media.animation import write_frames_zip, write_gif, write_webp
from svd_ui.media.video import Mp4Writer
frames = np.random.default_rng(0).integers(0, 255, (40, 128, 128, 3), dtype=np.uint8)
folder = Path(sys.argv[1])
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, 64_000))
def mp4(path, count):
    with Mp4Writer(path, 128, 128, 7, "x") as writer:
        writer.add(frames[:count])
writers = [
    ("zip", lambda p: write_frames_zip(p, frames)),
    ("gif", lambda p: write_gif(p, frames, 7)),
    ("webp", lambda p: write_webp(p, frames, 7)),
    *((f"mp4 {n}", lambda p, n=n: mp4(p, n)) for n in (40, 6)),
]
for name, write in writers:
    try:
        write(folder / "clip")
    except DiskFull as error:
        assert "disk is full" in error.message
    else:
        raise SystemExit(f"{name} fitted")
    assert list(folder.iterdir()) == [], (name, list(folder.iterdir()))
mp4(folder / "clip.mp4", 2)
print("ok")
"""


def fill(folder: Path, mode: str) -> None:
    done = subprocess.run([sys.executable, "-c", FILL, str(folder), mode], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "ok", done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a POSIX feature")
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a small disk, and needs no rights."""
    fill(tmp_path, "limit")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    mount = shutil.which("mount")
    if not mount or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = Path(tempfile.mkdtemp())
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("this system mounts no tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_really_full_disk(small_disk: Path) -> None:
    fill(small_disk, "disk")


@pytest.mark.parametrize("content", [b"", b"hello", b"\0\0\0\x18ftypisom" + b"\0" * 100])
def test_files_that_are_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    for read in (read_frames, read_comment):
        with pytest.raises(BadInput, match=r"clip\.mp4 is not a video that can be read"):
            read(path)


def test_names_that_look_like_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(Path("pipe:1.mp4"), flat())
    assert (tmp_path / path).is_file() and read_comment(path) == COMMENT


def test_a_truncated_clip(tmp_path: Path) -> None:
    path = written(tmp_path / "clip.mp4", moving(40))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(BadInput, match="not a video"):
        read_frames(path)


def test_a_missing_clip(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a video"):
        read_comment(tmp_path / "gone.mp4")


def test_frames_zip(tmp_path: Path) -> None:
    frames = moving(5)
    write_frames_zip(tmp_path / "frames.zip", frames, COMMENT)
    with zipfile.ZipFile(tmp_path / "frames.zip") as archive:
        assert archive.namelist() == [*(f"frame_{i:04d}.png" for i in range(5)), "settings.json"]
        for index, frame in enumerate(frames):
            with Image.open(io.BytesIO(archive.read(f"frame_{index:04d}.png"))) as image:
                assert np.array_equal(np.asarray(image), frame)
        assert archive.read("settings.json").decode() == COMMENT


@pytest.mark.parametrize(("fps", "length"), [(7, 8000 / 7), (25, 320), (30, 8000 / 30)])
def test_animations_keep_their_length(tmp_path: Path, fps: int, length: float) -> None:
    for name, write in (("clip.gif", write_gif), ("clip.webp", write_webp)):
        write(tmp_path / name, moving(8), fps, COMMENT)
        with Image.open(tmp_path / name) as image:
            assert image.n_frames == 8
            assert image.info["loop"] == 0
            durations = []
            for index in range(8):
                image.seek(index)
                image.load()
                durations.append(image.info["duration"])
        assert sum(durations) == pytest.approx(length, abs=6)
        assert min(durations) >= 20


def test_animations_look_like_the_clip(tmp_path: Path) -> None:
    frames = moving(3)
    write_gif(tmp_path / "clip.gif", frames, 7)
    write_webp(tmp_path / "clip.webp", frames, 7)
    for name in ("clip.gif", "clip.webp"):
        with Image.open(tmp_path / name) as image:
            image.seek(2)
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - frames[2]).mean() < 8


def test_poster(tmp_path: Path) -> None:
    write_poster(tmp_path / "poster.jpg", flat(1, 576, 1024)[0])
    with Image.open(tmp_path / "poster.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (640, 360))


@pytest.mark.parametrize("size", [(304, 304), (288, 512)])
def test_the_same_frames_give_the_same_file(tmp_path: Path, size: tuple[int, int]) -> None:
    """With x264's look-ahead they did not, on processors with AVX-512 and for widths that are no multiple of 64."""
    width, height = size
    photo = Image.open(REPOSITORY / "assets" / "examples" / "cat.jpg").convert("RGB").resize((width + 40, height + 40))
    moves = [photo.crop((step, step, width + step, height + step)) for step in range(0, 28, 2)]
    clip = np.stack([np.asarray(frame) for frame in moves])
    files = set()
    for index in range(12):
        heap = [np.full(size, index, np.uint8) for size in (90_001, 300_007, 150_001)]  # what lies behind a row differs
        with Mp4Writer(tmp_path / f"{index}.mp4", width, height, 7, comment="") as writer:
            writer.add(clip)
        files.add((tmp_path / f"{index}.mp4").read_bytes())
        del heap
    assert len(files) == 1
