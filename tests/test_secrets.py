"""Tokens and passwords are made unreadable, and nothing else is."""

from __future__ import annotations

import pytest

from svd_ui.errors import Unexpected, from_dict, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ann:s3cret@hub.example/x", "https://(secret)@hub.example/x"),
        ("http://ann:s3/c@ret@proxy:3128 x", "http://(secret)@proxy:3128 x"),
        ("ann:s3cret@proxy:3128", "(secret)@proxy:3128"),
        ("socks5h://ann@proxy", "socks5h://(secret)@proxy"),
        ("with hf_abcdefgh1234.", "with (secret)."),
        ("ghp_abcdefghij12 gho_abcdefghij12", "(secret) (secret)"),
        ("github_pat_11AAAA_bbbb", "(secret)"),
        ('{"Authorization": "Bearer abc.def"}', '{"Authorization": "Bearer (secret)"}'),
        ("authorization: Basic YWJjOmRlZg==", "authorization: Basic (secret)"),
        ("https://x.example/?a=1&token=abc&b=2", "https://x.example/?a=1&token=(secret)&b=2"),
        ("HF_TOKEN=abc SVD_UI_SSL_KEYFILE_PASSWORD=x", "HF_TOKEN=(secret) SVD_UI_SSL_KEYFILE_PASSWORD=(secret)"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8080/path@v1 and https://huggingface.co/org/name@main",
        "give a read token as HF_TOKEN or with 'hf auth login'",
        "unset HF_HUB_OFFLINE; hf_hub_download; user:password asked before the page is shown",
        "C:\\Users\\ann\\clips at 12:30, 16:9, ratio 1:2",
        '{"token": "(set)"}',
        "tokens=77 tokenizer, password:",
        "Known: local:svd_xt, local:svd_xt@5e1c02.",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert without_secrets(text) == text


def test_an_error_never_holds_one() -> None:
    error = Unexpected(detail="GET https://ann:s3cret@hub.example failed")
    again = from_dict(error.to_dict())
    for text in (error.message, str(error.to_dict()), repr(error), again.message):
        assert "s3cret" not in text
        assert "hub.example" in text
