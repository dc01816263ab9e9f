"""Every way a history may be damaged: one sentence that says what to do, or work goes on; and the clips bring it back."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from svd_ui.assets import Assets
from svd_ui.jobs.database import MIGRATIONS
from svd_ui.jobs.service import JobService
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.fakes import FakeEngine, picture

from .conftest import Run

Harm = Callable[[Path], object]


def _bytes(at: float, length: int, fill: bytes = b"") -> Harm:
    """Other bytes from a share ``at`` of the file on."""

    def harm(path: Path) -> None:
        data = bytearray(path.read_bytes())
        begin = int(at * len(data))
        data[begin : begin + length] = fill * length or os.urandom(length)
        path.write_bytes(data)

    return harm


def _cut(share: float, more: int = 0) -> Harm:
    return lambda path: os.truncate(path, int(share * path.stat().st_size) + more)


def _sql(*statements: str) -> Harm:
    def harm(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    return harm


def _another_programs(version: int, *tables: str) -> Harm:
    def harm(path: Path) -> None:
        path.unlink()
        _sql(*tables, f"PRAGMA user_version = {version}")(path)

    return harm


def _beside(ending: str, data: bytes) -> Harm:
    return lambda path: path.with_name(path.name + ending).write_bytes(data)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


REFUSED: dict[str, Harm] = {
    "a text file": lambda path: path.write_text("my notes\n" * 900, "utf-8"),
    "a web page": lambda path: path.write_text("<!doctype html><title>Sign in</title>" * 90, "utf-8"),
    "header": _bytes(0, 100),
    "magic": _bytes(0, 16, b"x"),
    "page size": _bytes(16 / 400_000, 2, b"\x03"),
    "first page": _bytes(0.0003, 3000),
    "a page in the middle": _bytes(0.3, 5000),
    "zeros in the middle": _bytes(0.2, 9000, b"\0"),
    "half of it": _cut(0.5),
    "cut in a page": _cut(0.4, 100),
    "only its head": lambda path: os.truncate(path, 100),
    "another program's": _another_programs(0, "CREATE TABLE notes (text)"),
    "another program's jobs": _another_programs(0, "CREATE TABLE jobs (text)"),
    "another program's, of our version": _another_programs(len(MIGRATIONS), "CREATE TABLE jobs (text)"),
    "a table gone": _sql("DROP TABLE jobs"),
    "a column gone": _sql("ALTER TABLE jobs RENAME COLUMN state TO condition"),
    "newer": _sql("PRAGMA user_version = 999"),
    "a version below zero": _sql("PRAGMA user_version = -5"),
    "a folder": _folder,
    "a link to itself": _loop,
    "a pipe": _pipe,
}


WORKS: dict[str, Harm] = {
    "nothing": lambda path: None,
    "a log that is none": _beside("-wal", b"garbage" * 999),
    "an index of the log that is none": _beside("-shm", b"\xff" * 40_000),
    "another's journal": _beside("-journal", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600)),
    "reserve gone": lambda path: path.with_name(f"{path.name}.reserve").unlink(missing_ok=True),
    "dates that are none": _sql("UPDATE processes SET heartbeat = 1e12"),
}
EMPTY: dict[str, Harm] = {
    "gone": lambda path: path.unlink(),
    "no bytes": lambda path: path.write_bytes(b""),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to(path.with_name("unplugged.sqlite3"))),
    "all rows gone": _sql("DELETE FROM jobs"),
}
ROWS: dict[str, Harm] = {
    "a date that is a word": _sql("UPDATE jobs SET created = 'abc' WHERE number = 1"),
    "a request of another type": _sql("UPDATE jobs SET request = '[1]' WHERE number = 1"),
    "a request too deep": _sql(f"UPDATE jobs SET request = '{'[' * 90_000}' WHERE number = 1"),
    "bytes in the place of text": _sql("UPDATE jobs SET state = x'ff00', owner = x'00' WHERE number = 1"),
    "numbers beyond all": _sql("UPDATE jobs SET created = 9e999, step = -9e999, schema = 9e18 WHERE number = 1"),
}


@pytest.fixture(scope="module")
def two_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two clips."""
    settings = Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("two") / "data")
    asked = GenerationRequest(image=Assets.of(settings).keep(picture(0.3)), num_frames=2)
    with JobService(settings, FakeEngine(steps=1, delay=0.0, settings=settings), role="cli") as jobs:
        for seed in (1, 2):
            list(jobs.run_inline(asked.model_copy(update={"seed": seed}), "me"))
    return settings.data_dir


@pytest.fixture
def database(two_clips: Path, settings: Settings) -> Path:
    shutil.copytree(two_clips, settings.data_dir)
    return settings.history_file


def seeds(run: Run) -> set[int]:
    told = run("history", "--json")
    assert told.exit_code == 0, told.output
    return {job["request"]["seed"] for job in json.loads(told.stdout)}


def one_sentence(result: Result) -> None:
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("svd-ui: The history at ")
    assert line.endswith(".")
    for trace in ("Traceback", "sqlite3.", "Error", "***"):
        assert trace not in result.output


@pytest.mark.parametrize("case", REFUSED)
def test_a_damaged_history_is_one_sentence_and_the_clips_bring_it_back(case: str, run: Run, database: Path) -> None:
    REFUSED[case](database)
    for command in (("history",), ("queue", "list"), ("generate", "photo.jpg")):
        one_sentence(run(*command))
    recovered = run("history", "recover")
    assert recovered.exit_code == 0, recovered.output
    assert "2 clips are in the history again." in recovered.stdout
    assert seeds(run) == {1, 2}
    assert len(list(database.parent.glob("svd_ui.sqlite3.*.kept"))) == 1


@pytest.mark.parametrize("case", WORKS)
def test_what_harms_nothing_changes_nothing(case: str, run: Run, database: Path) -> None:
    WORKS[case](database)
    assert seeds(run) == {1, 2}


@pytest.mark.parametrize("case", EMPTY)
def test_an_empty_history_beside_clips_says_how_they_come_back(case: str, run: Run, database: Path) -> None:
    EMPTY[case](database)
    told = run("history")
    assert "2 clips lie in" in told.stdout
    assert "history recover" in told.stdout
    assert run("history", "recover").exit_code == 0
    assert seeds(run) == {1, 2}


@pytest.mark.parametrize("case", ROWS)
def test_a_damaged_row_is_left_out_and_recovered(case: str, run: Run, database: Path) -> None:
    ROWS[case](database)
    assert seeds(run) <= {1, 2}
    assert 2 in seeds(run)
    assert run("history", "recover").exit_code == 0
    assert seeds(run) == {1, 2}


def test_a_history_that_another_program_holds_is_said_to_be_held(
    run: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svd_ui.jobs.sqlite.BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE jobs SET step = 1")
        result = run("history")
        one_sentence(result)
        assert "another program holds it: close that one" in result.stderr
        other.execute("ROLLBACK")
    assert seeds(run) == {1, 2}


def test_a_log_that_was_not_written_back_may_go_or_be_damaged(run: Run, database: Path) -> None:
    """As after a power cut: the newest changes lie beside the file."""
    with JobService(Settings(_env_file=None, data_dir=database.parent), slots=False, role="reader") as jobs:
        jobs.queue.pause()
        left = {ending: database.with_name(database.name + ending).read_bytes() for ending in ("", "-wal")}
    assert len(left["-wal"]) > 1000
    for wal in (left["-wal"], left["-wal"][:-700], os.urandom(5000), None):
        for ending, data in {"": left[""], "-wal": wal, "-shm": None}.items():
            path = database.with_name(database.name + ending)
            path.unlink(missing_ok=True)
            if data is not None:
                path.write_bytes(data)
        assert seeds(run) == {1, 2}


@pytest.mark.slow
def test_serve_says_the_same_before_anything_starts(run: Run, database: Path) -> None:
    database.write_text("my notes", "utf-8")
    one_sentence(run("serve", "--no-open"))
