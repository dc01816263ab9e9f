"""The login: guessing is slow, who is out is out, and who signs in at a Space owns what is theirs."""

from __future__ import annotations

import asyncio
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
    guesses.give_back("a")  # it was right: that one alone is free again
    assert guesses.wait("a") == 0
    guesses.begin("a")
    assert guesses.wait("a") == pytest.approx(10)
    guesses.give_back("nobody")
    assert guesses.wait("nobody") == 0


def test_who_has_an_account_guesses_no_faster(shared: Served) -> None:
    with httpx.Client(base_url=shared.url, headers={"X-Forwarded-For": "198.51.100.20"}) as client:

        def tries(name: str, password: str) -> int:
            return client.post("login", data={"username": name, "password": password}).status_code

        codes = []
        for _ in range(4):
            codes += [tries("olga", "wrong"), tries("olga", "wrong too"), tries("bob", PASSWORDS["bob"])]
        assert codes.count(400) == 5
        assert codes[-3:] == [429] * 3


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
        assert '"components":[]' in client.get("").text.replace(" ", "")


def test_a_new_password_ends_what_was_opened_with_the_old_one(shared: Served) -> None:
    accounts, address = Accounts(shared.settings.accounts_file), {"X-Forwarded-For": "198.51.100.10"}
    accounts.add("eve", "user", "soon known to others")
    with httpx.Client(base_url=shared.url, headers=address) as old, httpx.Client(base_url=shared.url) as new:
        old.post("login", data={"username": "eve", "password": "soon known to others"})  # and asks nothing yet
        accounts.add("eve", "user", "known to nobody else")
        new.post("login", data={"username": "eve", "password": "known to nobody else"}, headers=address)
        for _ in range(2):
            assert old.get("svd/history").status_code == 401
            assert new.get("svd/history").status_code == 200
        accounts.remove("eve")
        accounts.add("eve", "user", "another person of the name")
        assert new.get("svd/history").status_code == 401
    accounts.remove("eve")


def test_another_site_logs_nobody_out(shared: Served) -> None:
    with httpx.Client(base_url=shared.url, headers={"X-Forwarded-For": "198.51.100.11"}) as client:
        client.post("login", data={"username": "ann", "password": PASSWORDS["ann"]})
        for site in ("cross-site", "same-site"):
            framed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
            for path in ("logout", "logout/", "logout?all_session=false"):
                assert client.get(path, headers=framed).status_code == 403
        assert client.get("svd/history").status_code == 200
        own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
        assert client.get("logout?all_session=false", headers=own).status_code == 302


def test_a_damaged_file_of_accounts_closes_the_page_in_words(shared: Served, people: dict[str, httpx.Client]) -> None:
    file = shared.settings.accounts_file
    whole = file.read_bytes()
    file.write_text("{damaged", "utf-8")
    try:
        for path in ("", "ready", "svd/history", "metrics", "config"):
            for client in (people["nobody"], people["olga"]):
                answer = client.get(path)
                assert (answer.status_code, "cannot be read as accounts" in answer.json()["error"]) == (503, True), path
                assert str(file.parent) not in answer.text
        tried = people["nobody"].post("login", data={"username": "ann", "password": PASSWORDS["ann"]})
        assert tried.status_code == 503
        assert httpx.get(f"{shared.url}health").status_code == 200  # whoever restarts the app mends nothing
    finally:
        file.write_bytes(whole)
    assert people["olga"].get("svd/history").status_code == 200


def test_the_password_of_the_setting_opens_beside_accounts(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.json")
    accounts.add("bob", "user", "battery staple")
    settings = Settings(data_dir=tmp_path, auth="ann:secret", host="0.0.0.0")
    check = asking(settings, accounts)
    tried = [("ann", "secret"), ("bob", "battery staple"), ("ann", "battery staple"), ("bob", "secret")]
    assert [asyncio.run(check(*one)) for one in tried] == [True, True, False, False]
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
