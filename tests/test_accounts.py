"""Accounts: who may log in, as what, and that a file tells nobody a password."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from svd_ui.accounts import Accounts, require_accounts
from svd_ui.cli import app
from svd_ui.errors import BadInput
from svd_ui.settings import Settings

PASSWORD = "correct horse"


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    known = Accounts(tmp_path / "accounts.json")
    known.add("ann", "user", PASSWORD)
    return known


def test_a_password_opens_its_own_account_only(accounts: Accounts) -> None:
    accounts.add("olga", "operator", "trees and towers")
    assert accounts.check("ann", PASSWORD)
    assert not accounts.check("ann", "trees and towers")
    assert not accounts.check("nobody", PASSWORD)
    assert accounts.all() == {"ann": "user", "olga": "operator"}


def test_the_file_holds_hashes_for_its_owner_s_eyes(accounts: Accounts) -> None:
    text = accounts.path.read_text("utf-8")
    assert PASSWORD not in text
    assert "$argon2id$" in text
    if os.name == "posix":
        assert accounts.path.stat().st_mode & 0o077 == 0


def test_who_was_removed_is_out_at_once(accounts: Accounts) -> None:
    other = Accounts(accounts.path)  # the app's, while the command line removes
    assert other.role("ann") == "user"
    accounts.remove("ann")
    assert other.role("ann") is None
    assert not other.check("ann", PASSWORD)
    with pytest.raises(BadInput, match="no account"):
        accounts.remove("ann")


def test_an_unknown_name_takes_as_long_as_a_wrong_password(accounts: Accounts) -> None:
    accounts.check("nobody", "x")  # makes the stand-in
    spent = []
    for name in ("ann", "nobody"):
        begin = time.process_time()
        accounts.check(name, "wrong")
        spent.append(time.process_time() - begin)
    assert min(spent) > 0.2 * max(spent)


@pytest.mark.parametrize(
    ("name", "role", "password", "said"),
    [("a b", "user", PASSWORD, "name"), ("ann", "king", PASSWORD, "role"), ("ann", "user", "short", "at least 10")],
)
def test_what_cannot_be_an_account_is_said(accounts: Accounts, name: str, role: str, password: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        accounts.add(name, role, password)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"accounts": {"ann": 3}}', '{"accounts": []}', "\x00"])
def test_a_damaged_file_lets_nobody_in(tmp_path: Path, text: str) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(text)
    with pytest.raises(BadInput, match="cannot be read as accounts"):
        require_accounts(Settings(data_dir=tmp_path))


def test_a_role_of_a_newer_release_gives_no_rights(accounts: Accounts) -> None:
    known = json.loads(accounts.path.read_text())
    known["accounts"]["ann"]["role"] = "emperor"
    accounts.path.write_text(json.dumps(known))
    assert accounts.role("ann") == "user"


def test_a_file_that_is_gone_leaves_the_page_closed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, accounts=tmp_path / "gone.json")
    assert settings.has_login
    with pytest.raises(BadInput, match="nobody could log in"):
        require_accounts(settings)
    require_accounts(Settings(data_dir=tmp_path))  # none are asked for


def test_the_command_line_adds_lists_and_removes(tmp_path: Path) -> None:
    run = CliRunner(env={"SVD_UI_DATA_DIR": str(tmp_path)})
    added = run.invoke(app, ["accounts", "add", "ann", "--role", "operator"], input=f"{PASSWORD}\n{PASSWORD}\n")
    assert added.exit_code == 0, added.output
    assert PASSWORD not in added.output
    assert Accounts(tmp_path / "accounts.json").check("ann", PASSWORD)
    assert "ann  operator" in run.invoke(app, ["accounts", "list"]).output
    assert run.invoke(app, ["accounts", "add", "bob", "--password", "short"]).exit_code == 2
    assert run.invoke(app, ["accounts", "remove", "ann"]).exit_code == 0
    assert "No accounts" in run.invoke(app, ["accounts", "list"]).output
