"""Settings come from the environment, and know when the page is public."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from svd_ui.engine import lock_path
from svd_ui.jobs.sqlite import SqliteDatabase
from svd_ui.model_dirs import places
from svd_ui.settings import LONGEST_PATH, Settings, usable


def test_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVD_UI_PORT", "7999")
    monkeypatch.setenv("SVD_UI_AUTH", "ada:lace:d")
    settings = Settings()
    assert settings.port == 7999
    assert settings.credentials == ("ada", "lace:d")
    assert "lace" not in repr(settings)


@pytest.mark.parametrize(
    ("host", "share", "public"),
    [("127.0.0.1", False, False), ("localhost", False, False), ("0.0.0.0", False, True), ("127.0.0.1", True, True)],
)
def test_public(host: str, share: bool, public: bool) -> None:
    assert Settings(host=host, share=share).is_public is public


@pytest.mark.parametrize("auth", ["lovelace", "lovelace:", ":lovelace"])
def test_half_an_auth_is_refused_without_repeating_it(auth: str) -> None:
    """A password that is not understood must not leave the page open."""
    with pytest.raises(ValidationError, match="must be user:password") as caught:
        Settings(auth=auth)  # type: ignore[arg-type]
    assert "lovelace" not in str(caught.value)


def test_a_blank_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "AUTH", "CHECKPOINT"):
        monkeypatch.setenv(f"SVD_UI_{name}", "")
    settings = Settings()
    assert (settings.port, settings.credentials, settings.checkpoint) == (7860, None, "auto")


def test_the_home_folder_may_be_written_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SVD_UI_DATA_DIR", "~/clips")
    settings = Settings(checkpoint_dirs="~/models")
    assert settings.data_dir == tmp_path / "clips"
    assert places(settings).checkpoints[-1] == tmp_path / "models"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/svd", "/svd"),
        ("svd", "/svd"),
        (" /svd/ ", "/svd"),
        ("/", ""),
        ("//evil", "/evil"),  # a path, never a host
        ("/tools/svd-ui/", "/tools/svd-ui"),
        ("https://example.org/svd/", "https://example.org/svd"),
        ("https://example.org", "https://example.org"),
    ],
)
def test_a_sub_path_is_understood_however_it_is_written(given: str, path: str) -> None:
    assert Settings(root_path=given).root_path == path


@pytest.mark.parametrize("given", ["/a b", "/a%20b", "/a?b", "C:/Program Files/Git/svd", "/../x", "ftp://x/y", "/ü"])
def test_what_is_no_sub_path_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="must be a path such as /svd"):
        Settings(root_path=given)


def test_gradios_variable_is_followed_where_ours_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_ROOT_PATH", "/theirs/")
    assert Settings().root_path == "/theirs"
    monkeypatch.setenv("SVD_UI_ROOT_PATH", "/ours")
    assert Settings().root_path == "/ours"


def env_file(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    path = folder / ".env"
    path.write_text(text, "utf-8")
    monkeypatch.setitem(Settings.model_config, "env_file", path)
    monkeypatch.delenv("SVD_UI_DATA_DIR", raising=False)


WINDOWS = "C:\\Users\\Ünï Ă\\new clips\\тест"


@pytest.mark.parametrize("quote", ["", "'"])
def test_a_path_of_windows_in_an_env_file_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quote: str
) -> None:
    env_file(monkeypatch, tmp_path, f"SVD_UI_DATA_DIR={quote}{WINDOWS}{quote}\n")
    assert str(Settings().data_dir) == WINDOWS


def test_a_path_that_lost_its_backslashes_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env_file(monkeypatch, tmp_path, f'SVD_UI_DATA_DIR="{WINDOWS}"\n')
    with pytest.raises(ValidationError, match="without quotes"):
        Settings()


def test_folders_are_separated_as_the_system_separates_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.pathsep", ";")
    settings = Settings(checkpoint_dirs=f"{WINDOWS};D:\\models")
    *_, first, second = map(str, places(settings).checkpoints)
    assert first.endswith(WINDOWS)
    assert second.endswith("D:\\models")


def test_a_data_folder_in_which_no_history_could_be_opened_is_refused(tmp_path: Path) -> None:
    longest = tmp_path
    while len(os.fsencode(longest)) < LONGEST_PATH - 130:
        longest /= "ü" * 60
    longest /= "x" * (LONGEST_PATH - len(os.fsencode(longest)) - 1)
    settings = Settings(data_dir=longest)
    SqliteDatabase(settings.history_file).close()
    assert settings.history_file.is_file()
    with pytest.raises(ValidationError, match="too long"):
        Settings(data_dir=longest.with_name(longest.name + "x"))


def test_paths_as_people_write_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In quotes, which Windows' ``set`` keeps, and at the home of nobody."""
    monkeypatch.setenv("SVD_UI_DATA_DIR", "~nobody-of-that-name/clips")
    settings = Settings(checkpoint_dirs=os.pathsep.join((f'"{tmp_path}"', "~nobody-of-that-name/models")))
    assert settings.data_dir.parts[0].startswith("~nobody")
    assert list(map(str, places(settings).checkpoints[-2:])) == [str(tmp_path), "~nobody-of-that-name/models"]


def test_machines_that_share_a_data_folder_keep_their_own_logs_and_processors(tmp_path: Path) -> None:
    alone = Settings(data_dir=tmp_path, _env_file=None)
    shared = Settings(data_dir=tmp_path, database="postgresql://ann:s3cret@db/svd", _env_file=None)
    assert alone.logs_dir == tmp_path / "logs"
    assert shared.logs_dir.parent == tmp_path / "logs"
    assert lock_path(alone, "cpu") != lock_path(shared, "cpu")
    assert lock_path(alone, "gpu-1") == lock_path(shared, "gpu-1"), "a card is the same one in every container"


def test_the_address_of_a_database_is_checked_and_its_password_never_shown(tmp_path: Path) -> None:
    settings, faults = usable(data_dir=tmp_path, database="mysql://ann:s3cret@db/svd")
    assert faults["SVD_UI_DATABASE"] == "must be postgresql://user:password@host/name"
    assert not settings.is_shared
    shared = Settings(data_dir=tmp_path, database="postgresql://ann:s3cret@db/svd", _env_file=None)
    assert "s3cret" not in f"{shared!r} {shared.model_dump()} {shared.model_dump_json()}"


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ("cuda:0+cuda:1+cuda:2", "not a pair"),
        ("cuda:0+", "not a pair"),
        ("cuda:0+cpu", "of one kind only"),
        ("cuda+cuda:0", "one device twice"),
        ("auto,cuda:1", "write it alone"),
        ("auto+cuda:1", "write it alone"),
    ],
)
def test_devices_that_cannot_work_together_are_refused(devices: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(devices=devices)
