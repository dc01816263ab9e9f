"""store on the command line: where the queue is, and moving it."""

from __future__ import annotations

from pathlib import Path

import pytest

from svd_ui.jobs.service import open_store
from svd_ui.request import GenerationRequest
from svd_ui.settings import Settings
from tests.cli.conftest import Run


@pytest.fixture
def waiting(photo: Path, settings: Settings) -> list[str]:
    """Two jobs wait in the file."""
    from svd_ui.assets import Assets

    image = Assets.of(settings).add(photo).ref
    with open_store(settings) as store:
        return [store.submit(GenerationRequest(image=image, seed=seed), "ann").id for seed in (1, 2)]


def test_check_says_where_it_is_and_what_is_in_it(run: Run, settings: Settings) -> None:
    assert "No history yet" in run("store", "check").stdout
    assert not settings.history_file.exists()
    open_store(settings).close()
    told = run("store", "check").stdout
    assert "SQLite" in told
    assert "0, of which 0 wait and 0 run" in told


def test_a_history_is_copied_into_an_empty_place_and_stays_where_it_was(
    run: Run, waiting: list[str], settings: Settings, tmp_path: Path
) -> None:
    target = tmp_path / "other" / "svd_ui.sqlite3"
    looked = run("store", "migrate", settings.data_dir, f"sqlite:///{target}", "--dry-run")
    assert "2 jobs and 0 measured times would be copied" in looked.stdout, looked.output
    assert not target.exists()
    assert "were copied to" in run("store", "migrate", settings.history_file, target).stdout
    for folder in (settings.data_dir, target.parent):
        with open_store(settings.model_copy(update={"data_dir": folder})) as store:
            assert [row["id"] for row in store._store.queue(("clip",))] == waiting
    again = run("store", "migrate", settings.history_file, target)
    assert (again.exit_code, "not empty" in again.output) == (2, True)


def test_what_is_not_there_or_not_said_is_one_sentence(run: Run, tmp_path: Path) -> None:
    for arguments, said in (
        ((tmp_path / "nothing", tmp_path / "x"), "There is no history at"),
        ((), "Say where to"),
        ((tmp_path / "nothing", "postgresql://ann:s3cret@127.0.0.1:1/svd"), "There is no history at"),
    ):
        done = run("store", "migrate", *arguments)
        assert (done.exit_code, said in done.output) == (2, True), done.output
        assert "s3cret" not in done.output
    adopted = run("store", "adopt")
    assert (adopted.exit_code, "set SVD_UI_DATABASE" in adopted.output) == (2, True)


def test_a_database_that_does_not_answer_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("SVD_UI_DATABASE", "postgresql://ann:s3cret@127.0.0.1:1/svd")
    for command in (("store", "check"), ("history",), ("queue", "list")):
        done = run(*command)
        assert done.exit_code == 1
        assert "The database 127.0.0.1:1/svd does not answer (" in done.output
        assert "s3cret" not in done.output
        assert len(done.output.strip().splitlines()) == 1
