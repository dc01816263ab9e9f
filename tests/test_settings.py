"""Settings come from the environment, and know when the page is public."""

from __future__ import annotations

import pytest

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


def test_half_an_auth_is_none() -> None:
    assert Settings(auth="ada").credentials is None  # type: ignore[arg-type]
