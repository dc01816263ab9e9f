"""The login: guessing is slow, who is out is out, and who signs in at a Space owns what is theirs."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from svd_ui.accounts import Accounts
from svd_ui.settings import Settings
from svd_ui.web.guard.login import Guesses, asking, basic
from svd_ui.web.visitor import owner_of, who
from tests.web.conftest import Served

from .conftest import PASSWORDS


def test_five_guesses_are_free_then_one_in_ten_seconds() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(5):
        assert guesses.wait("a") == 0
        guesses.begin("a")
    assert guesses.wait("a") == pytest.approx(10)
    assert guesses.wait("b") == 0
    now[0] = 10
    assert guesses.wait("a") == 0
    guesses.begin("a")
    assert guesses.wait("a") == pytest.approx(10)
    guesses.forget("a")
    assert guesses.wait("a") == 0


def test_guessing_is_slowed_by_address_and_a_right_password_is_not(shared: Served) -> None:
    from_elsewhere = {"X-Forwarded-For": "198.51.100.7"}
    wrong = {"username": "ann", "password": "wrong"}
    with httpx.Client(base_url=shared.url, headers=from_elsewhere) as client:
        codes = [client.post("login", data=wrong).status_code for _ in range(8)]
        assert codes == [400] * 5 + [429] * 3
        told = client.post("login", data=wrong)
        assert "try again in" in told.json()["error"]
        assert int(told.headers["retry-after"]) > 0
    for _ in range(6):
        right = httpx.post(
            f"{shared.url}login",
            data={"username": "ann", "password": PASSWORDS["ann"]},
            headers={"X-Forwarded-For": "198.51.100.8"},
        )
        assert right.status_code == 200


def test_who_is_removed_is_logged_out(shared: Served) -> None:
    accounts = Accounts(shared.settings.accounts_file)
    accounts.add("eve", "user", "here for a while")
    with httpx.Client(base_url=shared.url, headers={"X-Forwarded-For": "198.51.100.9"}) as client:
        client.post("login", data={"username": "eve", "password": "here for a while"})
        assert client.get("svd/history").status_code == 200
        accounts.remove("eve")
        assert client.get("svd/history").status_code == 401


def test_the_password_of_the_setting_opens_beside_accounts(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.json")
    accounts.add("bob", "user", "battery staple")
    settings = Settings(data_dir=tmp_path, auth="ann:secret", host="0.0.0.0")
    check = asking(settings, accounts)
    assert check("ann", "secret") and check("bob", "battery staple")
    assert not check("ann", "battery staple") and not check("bob", "secret")
    roles = {name: who(settings, accounts, SimpleNamespace(username=name)) for name in ("ann", "bob")}
    assert (roles["ann"].operates, roles["ann"].reads) == (True, None)
    assert (roles["bob"].operates, roles["bob"].reads) == (False, roles["bob"].owner)


def test_no_token_stands_for_an_account(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.json")
    accounts.add("ann", "user", "correct horse")
    settings = Settings(data_dir=tmp_path)
    ann = who(settings, accounts, SimpleNamespace(username="ann"), "any token")
    assert ann.owner == who(settings, accounts, SimpleNamespace(username="ann")).owner
    assert ann.owner not in {owner_of(token) for token in ("ann", "account:ann", ann.owner)}


def test_who_signs_in_at_a_space_owns_their_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At the seam: what gradio's OAuth leaves in the session. A real sign-in is in ``test_space_sign_in``."""
    for name in ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "olga/svd")
    monkeypatch.setenv("SPACE_AUTHOR_NAME", "olga")
    settings, nobody = Settings(data_dir=tmp_path), Accounts(tmp_path / "none.json")

    def asked(name: str | None, cookie: str = "c") -> SimpleNamespace:
        session = {"oauth_info": {"userinfo": {"preferred_username": name}}} if name else {}
        return SimpleNamespace(request=SimpleNamespace(scope={"session": session}), cookies={"svd_ui_visitor": cookie})

    ann, olga, stranger = (who(settings, nobody, asked(name)) for name in ("ann", "olga", None))
    assert ann.owner == who(settings, nobody, asked("ann", "another browser")).owner
    assert len({ann.owner, olga.owner, stranger.owner}) == 3
    assert (ann.operates, olga.operates, stranger.operates) == (False, True, False)
    monkeypatch.delenv("SPACE_ID")
    assert who(settings, nobody, asked("olga")).owner == owner_of("c")  # nobody may bring a session along


@pytest.mark.parametrize("header", ["", "Basic", "Basic !", "Bearer YTpi", "Basic /w=="])
def test_what_is_no_password_is_none(header: str) -> None:
    assert basic(header) == ("", "")
    assert basic("basic " + base64.b64encode(b"a:b:c").decode()) == ("a", "b:c")
