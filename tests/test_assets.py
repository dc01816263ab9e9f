"""Pictures of the data folder: named by content, clean, and reachable only by name."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svd_ui.assets import Added, Assets
from svd_ui.errors import BadInput, BadPicture, NotFound
from svd_ui.media.footage import LAST
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.media.files import clip


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    return Assets(tmp_path / "assets", max_bytes=50_000_000, max_pixels=64_000_000)


def photo(kind: str = "JPEG", size: tuple[int, int] = (96, 64), **options: object) -> bytes:
    buffer = io.BytesIO()
    sigma = 60 if size == (96, 64) else 1  # noise does not compress
    Image.effect_noise(size, sigma).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def files(assets: Assets) -> list[Path]:
    return [path for path in assets.root.rglob("*") if path.is_file()]


def test_a_picture_is_kept_under_its_content(assets: Assets) -> None:
    added = assets.add(photo())
    assert isinstance(added, Added)
    assert (added.width, added.height, added.notes) == (96, 64, ())
    digest = added.ref.removeprefix("sha256:")
    assert assets.path(added.ref) == assets.root / digest[:2] / f"{digest}.png"
    assert GenerationRequest(image=added.ref).image == added.ref
    assert assets.open(added.ref).size == (96, 64)


def test_the_same_picture_is_kept_once(assets: Assets) -> None:
    data = photo()
    assert assets.add(data).ref == assets.add(data).ref
    image = assets.open(assets.add(data).ref)
    assert assets.keep(image) == assets.add(data).ref
    assert len(files(assets)) == 1
    assert assets.add(photo("PNG", (90, 64))).ref != assets.add(data).ref


def test_pixels_are_kept_exactly(assets: Assets) -> None:
    image = Image.effect_noise((64, 48), 90).convert("RGB")
    assert np.array_equal(np.asarray(assets.open(assets.keep(image))), np.asarray(image))


def test_exif_gps_and_comments_do_not_stay(assets: Assets) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", (52.0, 31.0, 12.0)
    data = photo(exif=exif, comment=b"SecretComment")
    assert b"SecretCamera" in data
    stored = assets.path(assets.add(data).ref)
    assert b"Secret" not in stored.read_bytes()
    with Image.open(stored) as image:
        assert dict(image.getexif()) == {}
        assert image.info == {}
    tagged = Image.open(io.BytesIO(data))
    tagged.load()
    assert b"Secret" not in assets.path(assets.keep(tagged)).read_bytes()


def test_notes_reach_the_caller(assets: Assets) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(buffer, "PNG")
    added = assets.add(buffer.getvalue(), background="#102030")
    assert tuple(map(sentence, added.notes)) == ("Transparent areas are filled with #102030.",)
    assert assets.open(added.ref).getpixel((0, 0)) == (16, 32, 48)


def test_a_file_the_program_chose(assets: Assets, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo())
    assert assets.add(tmp_path / "photo.jpg").width == 96


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (4500, 300)])
def test_what_add_says_is_what_open_gives(assets: Assets, size: tuple[int, int]) -> None:
    added = assets.add(photo("PNG", size))
    assert assets.open(added.ref).size == (added.width, added.height)
    assert max(added.width, added.height) <= 4096


@pytest.mark.parametrize(
    "ref",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "sha256:",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 64 + "\n",
        "sha256:../../../../" + "a" * 52,
        "a" * 64,
        "",
        None,
        Path("/etc/passwd"),
        7,
    ],
)
def test_only_refs_are_names(assets: Assets, ref: object) -> None:
    for reach in (assets.path, assets.open):
        with pytest.raises(BadInput, match="upload the file") as caught:
            reach(ref)  # type: ignore[arg-type]
        assert caught.value.field == "image"


def test_a_picture_that_is_not_here(assets: Assets) -> None:
    for reach in (assets.path, assets.open):
        with pytest.raises(NotFound, match="no picture"):
            reach("sha256:" + "0" * 64)


def test_a_path_as_a_string_never_enters(assets: Assets, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo())
    with pytest.raises(BadPicture, match="upload"):
        assets.add(str(tmp_path / "photo.jpg"))  # type: ignore[arg-type]
    assert not assets.root.exists()


def test_a_refused_picture_leaves_nothing(assets: Assets) -> None:
    with pytest.raises(BadPicture):
        assets.add(photo()[:500])
    assert not assets.root.exists()


def test_many_at_once(assets: Assets) -> None:
    data, refs = photo(), []
    threads = [threading.Thread(target=lambda: refs.append(assets.add(data).ref)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refs) == 8
    assert len(set(refs)) == 1
    assert [path.suffix for path in files(assets)] == [".png"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(assets: Assets) -> None:
    assets.root.mkdir(parents=True)
    assets.root.chmod(0o500)
    with pytest.raises(PermissionError):
        assets.add(photo())


def test_limits_come_from_the_settings(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, max_upload_mb=1, max_pixels=1_000_000, _env_file=None)  # type: ignore[call-arg]
    assets = Assets.of(settings)
    assert assets.root == tmp_path / "assets"
    with pytest.raises(BadPicture, match=r"at most 1\.0 MB"):
        assets.add(bytes(1_000_001))
    with pytest.raises(BadPicture, match="at most 1 million pixels"):
        assets.add(photo("JPEG", (1001, 1000)))


def test_a_stored_picture_that_was_damaged_is_named_and_a_new_upload_heals_it(assets: Assets) -> None:
    """Cut off, replaced by another picture, or emptied: whoever asks for it is told what to do."""
    data = photo()
    ref = assets.add(data).ref
    path = assets.path(ref)
    whole = path.read_bytes()
    other = assets.path(assets.add(photo("PNG", (90, 64))).ref).read_bytes()
    for damaged in (whole[:-50], other, b"", whole[:-1] + b"x"):
        path.write_bytes(damaged)
        for reach in (assets.path, assets.open, assets.size):
            with pytest.raises(BadPicture, match="damaged or replaced on disk: add the picture again") as caught:
                reach(ref)
            assert caught.value.field == "image"
        assert assets.add(data).ref == ref
        assert path.read_bytes() == whole
    assert assets.size(ref) == (96, 64)


def test_a_frame_of_a_clip_is_a_picture(assets: Assets, tmp_path: Path) -> None:
    frames = np.zeros((5, 64, 96, 3), np.uint8) + (50 * np.arange(5, dtype=np.uint8))[:, None, None, None]
    clip(tmp_path / "a.mp4", frames)
    facts = assets.facts_of_clip(tmp_path / "a.mp4")
    assert facts is not None
    assert (facts.width, facts.height, facts.num_frames) == (96, 64, 5)
    added = assets.add(tmp_path / "a.mp4", moment=LAST)
    assert np.asarray(assets.open(added.ref)).mean() == pytest.approx(200, abs=2)
    assert [sentence(note) for note in added.notes] == ["Frame 4 of the clip is used, at 0.50 s."]
    assert np.asarray(assets.open(assets.add(tmp_path / "a.mp4").ref)).mean() == pytest.approx(0, abs=2)
    (tmp_path / "a.jpg").write_bytes(photo())
    assert assets.facts_of_clip(tmp_path / "a.jpg") is None
