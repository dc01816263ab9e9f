"""Names of files: what can be written is, under a name that every system has; what cannot is said before the work."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import pytest

from svd_ui.cli.output import file_stem, why_unusable
from svd_ui.jobs.service import open_store
from svd_ui.media import write_bytes
from svd_ui.settings import Settings
from tests.cli.conftest import Run
from tests.fakes import picture

posix = pytest.mark.skipif(sys.platform == "win32", reason="other names there")


def made(settings: Settings) -> int:
    """How many clips were asked for: what is refused before the work leaves none."""
    with open_store(settings) as store:
        return len(store.history())


@posix
@pytest.mark.parametrize(
    "stem",
    [
        "x" * 250,
        "ü" * 125,
        "人" * 82,
        "🦊" * 62,
        "e\u0301" * 83,
        "two\nlines",
        "a:b?c",
        " dots. ",
        "CON",
        "con.x",
        "-x",
        "'\"`$",
    ],
    ids=range(12),
)
@pytest.mark.parametrize("kind", ["mp4", "png"])
def test_any_picture_gives_a_name(run: Run, tmp_path: Path, stem: str, kind: str) -> None:
    photo = tmp_path / "in" / f"{stem}.png"
    photo.parent.mkdir()
    picture(0.3).save(photo)
    (tmp_path / "out").mkdir()
    result = run("generate", photo, "-o", tmp_path / "out", "--seed", 4294967295, "--output-format", kind)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[-1].endswith("-4294967295.mp4")
    assert names[-1].isprintable()
    assert len(os.fsencode(names[-1])) <= 255 - (len("-frames") if kind == "png" else 0)


@posix
def test_a_picture_whose_name_is_no_text(run: Run, tmp_path: Path) -> None:
    photo = tmp_path / os.fsdecode(b"caf\xe9.png")
    picture(0.3).save(photo)
    result = run("generate", photo, "--seed", 1)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "caf_-1.mp4").is_file()


@pytest.mark.parametrize(
    ("text", "room", "name"),
    [
        ("photo", 20, "photo"),
        ("x" * 300, 10, "x" * 10),
        ("üüü", 5, "üü"),
        ("🦊🦊", 7, "🦊"),
        ("ae\u0301", 3, "a"),  # the accent would not fit
        ("a👩\u200d🚀", 9, "a"),
        ("a👋🏽", 6, "a"),
        ("..hidden. ", 20, "hidden"),
        ("nul", 20, "_nul"),
        ("COM1.tar", 20, "_COM1.tar"),
        ("console", 20, "console"),
        ("a/b\\c|d\0e", 20, "a_b_c_d_e"),
        ("", 20, "clip"),
        ("...", 20, "clip"),
    ],
)
def test_the_stem_of_a_default_name(text: str, room: int, name: str) -> None:
    assert file_stem(text, room) == name


def test_letters_are_never_cut_apart() -> None:
    text = "ae\u0301o\u0308\u0323 👨\u200d👩\u200d👧 👋🏽 ❤\ufe0f नमस्ते"
    for room in range(1, len(text.encode()) + 1):
        name = file_stem(text, room)
        assert len(name.encode()) <= max(room, len("clip"))
        if name != "clip" and name != text:
            follows = text[len(name) :].lstrip(" ")[0]
            assert (
                not unicodedata.category(follows).startswith("M")
                and follows != "\u200d"
                and not name.endswith("\u200d")
            )


@posix
@pytest.mark.parametrize("length", [240, 250, 255])
def test_a_long_name_that_fits_is_written(run: Run, photo: Path, length: int) -> None:
    name = "n" * (length - 4) + ".mp4"
    result = run("generate", photo, "-o", name)
    assert result.exit_code == 0, result.output
    assert Path(name).is_file()


@posix
@pytest.mark.parametrize(
    ("output", "more", "said"),
    [
        ("n" * 252 + ".mp4", [], "256 bytes long, and may have 255"),
        ("ü" * 126 + ".mp4", [], "256 bytes"),
        ("n" * 250 + ".mp4", ["--output-format", "png"], "bytes long"),
        ("a" * 256 + "/clip.mp4", [], "256 bytes"),
        ("/".join(["d" * 200] * 21) + "/clip.mp4", [], "whole path"),
        ("file/clip.mp4", [], "not a folder"),
        ("file/deeper/clip.mp4", [], "not a folder"),
        ("w" * 256, ["--wall"], "256 bytes"),
        ("nowhere/clip", [], "must end in"),
        (".mp4", [], "is an ending without a name"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(
    run: Run, photo: Path, settings: Settings, output: str, more: list[str], said: str
) -> None:
    Path("file").write_text("x")
    before = sorted(Path().rglob("*"))
    result = run("generate", photo, "-o", output, *more)
    assert (result.exit_code, said in result.stderr.replace("\n", " ")) == (2, True), result.stderr
    assert made(settings) == 0
    assert [path for path in Path().rglob("*") if path not in before and not path.is_relative_to("data")] == []


@posix
def test_a_folder_that_may_not_be_written_to_is_said(run: Run, photo: Path, settings: Settings) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc/self")  # where even root makes no files
    else:
        folder = Path("locked")
        folder.mkdir(mode=0o500)
    result = run("generate", photo, "-o", folder / "clip.mp4")
    assert (result.exit_code, "may be written to" in result.stderr.replace("\n", " ")) == (2, True)
    assert made(settings) == 0


def test_folders_on_the_way_are_made(run: Run, photo: Path) -> None:
    assert run("generate", photo, "-o", "new/er/clip.mp4").exit_code == 0
    assert Path("new/er/clip.mp4").is_file()


@posix
def test_the_home_folder_is_known_where_no_shell_says_it(
    run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path("home").absolute()
    home.mkdir()
    (home / "still.png").write_bytes(photo.read_bytes())
    monkeypatch.setenv("HOME", str(home))
    assert run("generate", "~/still.png", "--output=~/clip.mp4").exit_code == 0
    assert (home / "clip.mp4").is_file()


def test_windows_names_are_refused_there() -> None:
    for name in ("CON", "nul.mp4", "com1.x.mp4", "a:b.mp4", "what?.mp4", "dot.", "space "):
        assert why_unusable(name, 255, windows=True), name
        assert why_unusable(name, 255, windows=False) is None
    for name in ("console.mp4", "clip.mp4", "COM.mp4", "ü 🦊.mp4"):
        assert why_unusable(name, 255, windows=True) is None, name


@posix
def test_whole_files_under_the_longest_names(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_bytes(path, b"x")
    assert path.read_bytes() == b"x"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
