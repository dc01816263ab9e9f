"""``generate --wall``: flags for what a wall is made of, a folder of tiles, and the full clip of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from svd_ui.cli import fields
from svd_ui.media.video import read_frames
from svd_ui.settings_tag import open_settings
from tests.cli.conftest import Run
from tests.fakes import FakeEngine


def test_a_wall_is_a_folder_of_tiles_with_their_sheet(run: Run, photo: Path) -> None:
    result = run("generate", photo, "--wall-seeds", 2, "--wall-motions", "40, 200", "--speed", "draft", "--seed", 7)
    assert result.exit_code == 0, result.output
    names = [f"tile-0{n}-seed-{7 + n // 2}-motion-{(40, 200)[n % 2]}.mp4" for n in range(4)]
    assert result.stdout.split() == [str(Path("photo-7-wall") / name) for name in ("wall.jpg", *names)]
    assert "--speed exact" in result.stderr
    for name in names:
        assert len(read_frames(Path("photo-7-wall", name))) == 6
    with Image.open("photo-7-wall/wall.jpg") as sheet:
        assert sheet.format == "JPEG"


def test_a_tile_is_rendered_in_full_from_its_file(run: Run, photo: Path, engine: FakeEngine) -> None:
    run(
        "generate", photo, "--wall-seeds", 2, "--wall-motions", "40,200", "--speed", "draft", "--seed", 7, "-o", "tiles"
    )
    result = run("generate", "--from", "tiles/tile-02-seed-8-motion-40.mp4", "--speed", "exact", "-o", "full.mp4")
    assert result.exit_code == 0, result.output
    inside = open_settings(Path("full.mp4")).request
    assert (inside.wall, inside.speed, inside.seed, inside.motion_bucket_id) == (None, "exact", 8, 40)
    assert inside.image == engine.calls[0].image


def test_the_switch_alone_takes_the_usual_seeds_and_motions(run: Run, photo: Path, engine: FakeEngine) -> None:
    result = run("generate", photo, "--wall", "-o", "tiles", "--json")
    assert result.exit_code == 0, result.output
    status = json.loads(result.stdout)
    assert len(status["tiles"]) == 9
    assert Path(status["tiles"][0]["video"]).is_file()
    assert len(status["output"]) == 10
    assert engine.calls[0].wall is not None
    assert engine.calls[0].wall.motion_bucket_ids == (40, 127, 200)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--wall-motions", "40,lively"], "Motions are whole numbers"),
        (["--wall-motions", "40,999"], "999"),
        (["--wall-motions", "40,40"], "once"),
        (["--wall-seeds", 8, "--wall-motions", "1,2,3,4"], "at most 24 tiles"),
        (["--wall", "-o", "wall.mp4"], "must be a folder"),
        (["--wall", "-o", "photo.jpg"], "is a file"),
    ],
)
def test_what_a_wall_cannot_be_is_bad_input(run: Run, photo: Path, flags: list[object], said: str) -> None:
    result = run("generate", photo, *flags)
    assert result.exit_code == 2, result.output
    assert said in result.stderr


def test_every_part_of_a_wall_is_a_flag_with_its_help(run: Run) -> None:
    assert fields.values({"wall": None, "wall__seeds": 2, "wall__motion_bucket_ids": "9"}) == {
        "wall": {"seeds": 2, "motion_bucket_ids": [9]}
    }
    assert fields.values({"wall": None, "seed": 4}) == {"seed": 4}
    text = run("generate", "--help").output
    for name in ("--wall ", "--wall-seeds ", "--wall-motions ", "--speed ", "--schedule ", "--cache-interval "):
        assert name in text
    assert "40,127,200" in text
