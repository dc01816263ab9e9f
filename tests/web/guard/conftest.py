"""Two served pages: one of this machine, one that others reach with two users and an operator."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from svd_ui.accounts import Accounts
from svd_ui.settings import Settings
from tests.fakes import FakeEngine
from tests.web.conftest import Served, serving

PASSWORDS = {"ann": "correct horse", "bob": "battery staple", "olga": "trees and towers"}


@pytest.fixture(scope="package")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield


@pytest.fixture(scope="package")
def local(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("local"), checkpoint="nano")
    yield from serving(settings, FakeEngine(steps=1, delay=0, settings=settings))


@pytest.fixture(scope="package")
def shared(uploads: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("shared"), public=True, checkpoint="nano", max_visitor_jobs=3)
    accounts = Accounts(settings.accounts_file)
    for name, password in PASSWORDS.items():
        accounts.add(name, "operator" if name == "olga" else "user", password)
    yield from serving(settings, FakeEngine(steps=1, delay=0, settings=settings))


@pytest.fixture(scope="package")
def people(shared: Served) -> Iterator[dict[str, httpx.Client]]:
    """Name => their browser, logged in; ``nobody`` is not."""
    clients = {name: httpx.Client(base_url=shared.url, timeout=30) for name in (*PASSWORDS, "nobody")}
    for name, password in PASSWORDS.items():
        assert clients[name].post("login", data={"username": name, "password": password}).status_code == 200
        clients[name].get("")
    yield clients
    for client in clients.values():
        client.close()


def call(client: httpx.Client, name: str, *data: object) -> tuple[str, str]:
    """(event, data) that gradio's plain API ends with."""
    made = client.post(f"gradio_api/call/{name}", json={"data": list(data)})
    assert made.status_code == 200, made.text
    lines = client.get(f"gradio_api/call/{name}/{made.json()['event_id']}").text.strip().splitlines()
    return lines[-2].removeprefix("event: "), lines[-1].removeprefix("data: ")
