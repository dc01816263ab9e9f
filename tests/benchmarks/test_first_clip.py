"""A first clip's figures from what a start prints, and the moving picture's frames from what was recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import moving_picture
from benchmarks.first_clip import MARKS, MOST_CLICKS, READY, Visit, parts_of, rows_of
from benchmarks.moving_picture import LONGEST, RATE, SIDE, VIEW, Shot, painted, timeline, written
from benchmarks.report import table
from svd_ui.settings import REPOSITORY

SAID = (
    (0.5, "svd-ui: making .venv with Python 3.12.1"),
    (4.5, "svd-ui: installing what requirements.txt lists; this takes some minutes the first time"),
    (5.0, "svd-ui: installing torch 2.13.0, build cpu"),
    (25.0, "a warning of pip's"),
    (65.0, f"{READY}http://127.0.0.1:7860"),
    (66.0, "something later"),
)


def test_a_start_is_told_by_its_parts() -> None:
    parts = dict(parts_of(SAID))
    assert parts == {
        "starting the app": 0.5,
        "making the environment": 4.0,
        "installing the other packages": 0.5,
        "installing PyTorch": 60.0,
    }
    assert parts_of(SAID[-2:]) == (("starting the app", 65.0),)
    assert parts_of([(1.0, "nothing known")]) == ()


def test_the_marks_are_what_is_printed() -> None:
    said = "\n".join(
        (REPOSITORY / path).read_text("utf-8") for path in ("scripts/bootstrap.sh", "svd_ui/web/__init__.py")
    )
    assert all(mark.replace(".venv", "$VENV") in said for mark in MARKS)


def test_the_table_has_the_whole_way_and_keeps_the_clicks() -> None:
    first = Visit((("starting the app", 60.0),), 60.0, 2.0, 6.0, clicks=2)
    later = Visit((), 3.0, 1.0, 6.0, clicks=2)
    rows = {row.what: row for row in rows_of(first, later)}
    assert rows["first start, command to clip"].value == 68.0
    assert rows["later start, command to clip"].value == 10.0
    assert rows["clicks"].passed
    assert not rows_of(Visit((), 0, 0, 0, clicks=MOST_CLICKS + 1), later)[1].passed
    assert "sh scripts/run" in table(list(rows.values()))


def shot(at: float, shade: int = 0, pointer: tuple[float, float] = (10.0, 10.0)) -> Shot:
    return Shot(at, Image.new("RGB", VIEW, (shade, shade, shade)), pointer)


def test_waiting_is_cut_and_nothing_comes_faster_than_it_may() -> None:
    shots = [shot(0.0, 1), shot(0.01, 2), shot(0.5, 3), shot(30.0, 4)]
    found = timeline(shots, 30.2)
    assert [one.picture.getpixel((0, 0))[0] for one, _ in found] == [2, 3, 4]
    assert [milliseconds for _, milliseconds in found] == [500, 1000 * LONGEST, 200]
    quick = timeline([shot(index / 60) for index in range(60)], 1.0)
    assert len(quick) <= RATE + 1
    assert sum(milliseconds for _, milliseconds in quick) == pytest.approx(1000, abs=20)


def test_the_pointer_is_where_the_mouse_was() -> None:
    picture = painted(shot(0.0, 128, (640.0, 380.0)))
    assert picture.width == SIDE
    assert picture.getpixel((SIDE // 2 + 3, round(380 * SIDE / VIEW[0]) + 10)) == (255, 255, 255)


def test_the_file_keeps_to_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = [(Image.effect_noise((160, 90), sigma).convert("RGB"), 100) for sigma in (60, 70, 80)]
    path = tmp_path / "a.webp"
    best = written(path, noise)
    monkeypatch.setattr(moving_picture, "MOST_BYTES", best - 1)
    assert written(path, noise) < best
    with Image.open(path) as made:
        assert made.n_frames == 3
        assert made.info["loop"] == 0
    monkeypatch.setattr(moving_picture, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="shorter or smaller"):
        written(path, noise)
