"""Settings come from the environment, and know when the page is public."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from svd_ui.catalog import checkpoint_dirs
from svd_ui.settings import Settings


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
    assert checkpoint_dirs(settings)[-1] == tmp_path / "models"
