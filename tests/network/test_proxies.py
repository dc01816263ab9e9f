"""Proxies, mirrors and caches elsewhere: a download finds its way, and the app's own address never goes through a proxy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import proxy_bypass

import httpx
import httpx2
import pytest
from huggingface_hub import close_session

from svd_ui.catalog import find_checkpoint
from svd_ui.errors import HubOffline, WeightsMissing
from svd_ui.hub import Hub
from svd_ui.network import keep_local, proxy_for, why_unreachable
from svd_ui.settings import REPOSITORY, Settings
from tests.hub.fake_hub import FakeHub, repository

DEAD = "http://127.0.0.1:9"
NEVER = threading.Event()
NAMES = [form for name in ("http", "https", "all", "no") for form in (f"{name}_proxy", f"{name}_proxy".upper())]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy of this machine; what a test sets is gone after it, also what ``keep_local`` adds, and the hub's client."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
        del os.environ[name]
    close_session()
    yield
    close_session()


@pytest.fixture
def no_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with FakeHub(repository(200_000)).serving() as server:
        yield server


def fetch(tmp_path: Path, endpoint: str) -> Hub:
    settings = Settings(data_dir=tmp_path / "data")
    hub = Hub(settings, cache=tmp_path / "cache", endpoint=endpoint)
    list(hub.fetch(find_checkpoint(settings, "svd"), NEVER))
    return hub


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "value", [DEAD, "127.0.0.1:9", "socks5://127.0.0.1:9", "socks4://a:b@c:1", "http://[bad", "://"]
)
@pytest.mark.parametrize("client", [httpx.Client, httpx2.Client])
def test_this_machine_is_asked_without_a_proxy(
    server: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    no_socks: None,
    name: str,
    value: str,
    client: type[httpx.Client] | type[httpx2.Client],
) -> None:
    monkeypatch.setenv(name, value)
    keep_local()
    with client(timeout=5) as session:
        assert session.get(server.url + "/api/models/x").status_code == 200


def test_what_was_excluded_stays_so_in_both_spellings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", DEAD)
    monkeypatch.setenv("no_proxy", "intra.example,[::1]")
    keep_local("192.0.2.7")
    keep_local("192.0.2.7")
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "intra.example,::1,localhost,127.0.0.1,192.0.2.7"
    assert proxy_for("https://intra.example/x") == ""
    assert proxy_for("https://hub.example/x") == DEAD


def test_without_a_proxy_nothing_is_set() -> None:
    keep_local()
    assert not any(os.environ.get(name) for name in NAMES)


def test_a_system_proxy_is_kept_when_variables_take_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows and macOS keep it elsewhere, where Python looks only while no variable is set."""
    monkeypatch.setattr("svd_ui.network.getproxies", lambda: {"https": "http://office:3128"})
    keep_local()
    assert os.environ["https_proxy"] == "http://office:3128"
    assert "127.0.0.1" in os.environ["no_proxy"]


def test_the_stand_in_for_everything_is_not_taken_for_the_persons_wish(
    monkeypatch: pytest.MonkeyPatch, no_socks: None
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    keep_local()
    assert not proxy_bypass("hub.example")
    assert "pip install socksio" in why_unreachable("https://hub.example")
    monkeypatch.setenv("no_proxy", "*")
    keep_local()
    assert os.environ["no_proxy"] == "*"
    assert why_unreachable("https://hub.example") == ""


def test_a_download_goes_through_the_proxy(server: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server.prefix = "http://hub.example"
    monkeypatch.setenv("HTTP_PROXY", server.url)
    hub = fetch(tmp_path, "http://hub.example")
    assert hub.present(find_checkpoint(hub.settings, "svd")) is not None


def test_a_dead_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://ann:s3cret@127.0.0.1:9")
    with pytest.raises(HubOffline) as caught:
        fetch(tmp_path, "http://bob:hunter2@hub.example")
    assert "through the proxy http://(secret)@127.0.0.1:9" in caught.value.message
    assert "s3cret" not in str(caught.value.to_dict())
    assert "hunter2" not in str(caught.value.to_dict())


@pytest.mark.parametrize(
    ("proxy", "endpoint", "said"),
    [
        ("socks5://a:s3cret@p:1", "http://hub.example", "pip install socksio"),
        ("socks4://a:s3cret@p:1", "http://hub.example", "socks4, which is not supported"),
        ("http://a:s3cret@p:port", "http://hub.example", "is not an address"),
        ("", "a:s3cret@hub.example/hf", "begin it with https://"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, no_socks: None, tmp_path: Path, proxy: str, endpoint: str, said: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(WeightsMissing) as caught:
        fetch(tmp_path, endpoint)
    assert said in caught.value.message
    assert "s3cret" not in caught.value.message


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system where there is one, so that no link or rename can lead there from the data."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="svd ui ü ", dir=shm if os.access(shm, os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


def test_a_mirror_with_a_path_and_a_password_fills_a_cache_on_another_drive(
    server: FakeHub, tmp_path: Path, elsewhere: Path
) -> None:
    server.prefix = "/hf"
    endpoint = server.url.replace("http://", "http://ann:s3cret@") + "/hf/"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_ENDPOINT": endpoint, "HF_HOME": str(elsewhere)}
    environment |= {"SVD_UI_DATA_DIR": str(tmp_path), "HTTP_PROXY": DEAD}
    del environment["HF_HUB_CACHE"]
    command = [sys.executable, "-m", "svd_ui", "models", "download", "svd"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert list(elsewhere.glob("hub/models--*/snapshots/*/unet/*.safetensors"))
    assert server.tokens[-1] == "Basic YW5uOnMzY3JldA=="
    server.refuse_listing = 503
    shutil.rmtree(elsewhere / "hub")
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "(HF_ENDPOINT)" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
