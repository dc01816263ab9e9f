"""Files between a page and a replica: whole or not there, and of names and sizes that a clip has."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from svd_ui.assets import Assets
from svd_ui.engine.cluster import transport
from svd_ui.engine.cluster.transport import Laid, Piece, Storage, Unpacker, pack
from svd_ui.errors import BadPicture, SvdUiError, Unexpected
from tests.fakes import picture


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    return Assets(tmp_path / "assets", max_bytes=10_000_000, max_pixels=100_000)


def piece(name: str, data: bytes, **changes: object) -> Piece:
    whole = Piece(name, len(data), hashlib.sha256(data).hexdigest(), 0, data)
    return replace(whole, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 10, 11, 30])
def test_a_file_arrives_as_it_was_sent(
    tmp_path: Path, assets: Assets, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(transport, "PIECE_BYTES", 10)
    path = tmp_path / "sent"
    path.write_bytes(bytes(range(size)))
    files = Unpacker(tmp_path / "job", assets)
    parcels = list(pack(path, "kept/step.safetensors"))
    assert len(parcels) == max(1, -(-size // 10))
    for parcel in parcels:
        files.take(parcel)
    assert (tmp_path / "job/kept/step.safetensors").read_bytes() == path.read_bytes()
    assert files.received == {"kept/step.safetensors"}


def test_a_file_that_is_replaced_while_it_is_sent_arrives_as_it_was(
    tmp_path: Path, assets: Assets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "PIECE_BYTES", 4)
    path, files = tmp_path / "sent", Unpacker(tmp_path / "job", assets)
    path.write_bytes(b"before it")
    parcels = pack(path, "clip.mp4")
    files.take(next(parcels))
    (tmp_path / "other").write_bytes(b"after")
    (tmp_path / "other").replace(path)
    for parcel in parcels:
        files.take(parcel)
    assert (tmp_path / "job/clip.mp4").read_bytes() == b"before it"


def test_nothing_is_sent_of_a_file_that_is_gone(tmp_path: Path) -> None:
    assert not list(pack(tmp_path / "gone", "clip.mp4"))


@pytest.mark.parametrize(
    "name",
    [
        "../clip.mp4", "/etc/clip.mp4", "kept/../../clip.mp4", "a/clip.mp4", ".clip.mp4", "clip", "clip.py", "clip.mp4\n",
        "kept/.step.json", "kept\\step.json", "", "sha256:00", "x" * 200 + ".mp4", "clip.mp4/", "C:clip.mp4",
    ],
)  # fmt: skip
def test_no_file_gets_a_name_that_a_clip_does_not_have(tmp_path: Path, assets: Assets, name: str) -> None:
    files = Unpacker(tmp_path / "job", assets)
    with pytest.raises(Unexpected):
        files.take(piece(name, b"data"))
    files.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1},
        {"size": transport.MOST_BYTES + 1},
        {"size": 2},
        {"at": 1},
        {"digest": "0" * 64},
    ],
)
def test_a_file_that_is_not_what_was_said_never_appears(
    tmp_path: Path, assets: Assets, changes: dict[str, object]
) -> None:
    files = Unpacker(tmp_path / "job", assets)
    with pytest.raises(Unexpected):
        files.take(piece("clip.mp4", b"data", **changes))
    files.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_half_a_file_is_never_seen(tmp_path: Path, assets: Assets) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job/clip.mp4").write_bytes(b"the one before")
    files = Unpacker(tmp_path / "job", assets)
    files.take(piece("clip.mp4", b"data", size=8))
    assert (tmp_path / "job/clip.mp4").read_bytes() == b"the one before"
    files.close()
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["clip.mp4"]


def test_a_piece_of_another_file_does_not_join_one(tmp_path: Path, assets: Assets) -> None:
    files = Unpacker(tmp_path / "job", assets)
    files.take(piece("clip.mp4", b"data", size=8))
    with pytest.raises(Unexpected):
        files.take(piece("poster.jpg", b"more", size=8, at=4))


def test_a_picture_arrives_among_the_pictures_under_its_name(tmp_path: Path, assets: Assets) -> None:
    there = Assets(tmp_path / "there", max_bytes=10_000_000, max_pixels=100_000)
    ref = there.keep(picture(0.5))
    files = Unpacker(tmp_path / "job", assets)
    for parcel in pack(there.path(ref), ref):
        files.take(parcel)
    assert assets.path(ref).read_bytes() == there.path(ref).read_bytes()


def test_a_picture_that_is_not_its_name_or_no_picture_or_too_large_is_refused(tmp_path: Path, assets: Assets) -> None:
    there = Assets(tmp_path / "there", max_bytes=10_000_000, max_pixels=10**7)
    data = there.path(there.keep(picture(0.5))).read_bytes()
    large = there.path(there.keep(picture(0.5).resize((1000, 101)))).read_bytes()
    cases = [("0" * 64, data), (hashlib.sha256(b"no").hexdigest(), b"no"), (hashlib.sha256(large).hexdigest(), large)]
    for digest, sent in cases:
        files = Unpacker(tmp_path / "job", assets)
        with pytest.raises(BadPicture):
            files.take(piece(f"sha256:{digest}", sent))
        files.close()
    assert not list(assets.root.rglob("*.png"))
    assert not list((tmp_path / "job").rglob("*"))


@pytest.mark.parametrize("kind", ["folder", "file", "memory"])
def test_files_cross_through_a_storage(tmp_path: Path, assets: Assets, kind: str) -> None:
    url = {"folder": str(tmp_path / "shared"), "file": f"file://{tmp_path}/shared", "memory": "memory://shared"}[kind]
    path = tmp_path / "sent"
    path.write_bytes(b"a clip")
    storage = Storage(url, "ab" * 16)
    (laid,) = pack(path, "clip.mp4", storage)
    assert isinstance(laid, Laid)
    other = Storage(url, "ab" * 16)
    files = Unpacker(tmp_path / "job", assets, other)
    files.take(laid)
    assert (tmp_path / "job/clip.mp4").read_bytes() == b"a clip"
    other.clear()
    with pytest.raises(FileNotFoundError):
        files.take(laid)


def test_a_picture_is_laid_down_once_and_stays(tmp_path: Path, assets: Assets) -> None:
    ref = assets.keep(picture(0.1))
    for session in ("a" * 32, "b" * 32):
        storage = Storage(str(tmp_path / "shared"), session)
        list(pack(assets.path(ref), ref, storage))
        storage.clear()
    (there,) = [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert f"sha256:{there.stem}" == ref


@pytest.mark.parametrize(
    "key", ["../secret", "clips/../../x", "/etc/passwd", "clips/aa/" + "0" * 63, "pictures/zz/x.png"]
)
def test_nothing_is_read_from_elsewhere_in_the_storage(tmp_path: Path, assets: Assets, key: str) -> None:
    files = Unpacker(tmp_path / "job", assets, Storage(str(tmp_path), "a"))
    with pytest.raises(Unexpected):
        files.take(Laid("clip.mp4", 4, "0" * 64, key))


def test_what_lies_in_a_storage_is_refused_where_none_is_used(tmp_path: Path, assets: Assets) -> None:
    with pytest.raises(SvdUiError, match="does not use"):
        Unpacker(tmp_path / "job", assets).take(Laid("clip.mp4", 4, "0" * 64, "clips/a/" + "0" * 64))
