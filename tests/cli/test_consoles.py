"""The real commands where much is unlike a developer's machine: consoles without letters, odd folders, dead proxies."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from svd_ui.catalog import NANO
from svd_ui.media.video import read_frames
from svd_ui.settings import REPOSITORY
from tests.fakes import picture
from tests.web.conftest import some_port

DEAD = "127.0.0.1:9"
CONSOLES = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
PROXIES = {"HTTP_PROXY": f"http://{DEAD}", "https_proxy": f"http://{DEAD}", "ALL_PROXY": f"socks5://{DEAD}"}
pytestmark = pytest.mark.skipif(not (NANO / "model_index.json").is_file(), reason="assets/nano is not in this checkout")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder whose name has spaces and letters of several alphabets, with a picture of such a name."""
    folder = tmp_path_factory.mktemp("Ünï 猫 тест")
    picture(0.5).resize((320, 200)).save(folder / "Föto 猫.png")
    return folder


def environment(home: Path, console: str) -> dict[str, str]:
    own = {"PYTHONPATH": str(REPOSITORY), "SVD_UI_DATA_DIR": str(home / "Daten 数据"), "HF_HOME": str(home / "hf é")}
    return {**{k: v for k, v in os.environ.items() if k != "HF_HUB_CACHE"}, **own, **CONSOLES[console], **PROXIES}


def said(home: Path, console: str, *args: str) -> bytes:
    """Everything a command prints."""
    command = [sys.executable, "-m", "svd_ui", *args]
    done = subprocess.run(
        command, cwd=home, env=environment(home, console), capture_output=True, timeout=240, check=False
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode("latin-1")
    assert done.returncode in ((0, 1) if args[0] == "doctor" else (0,)), done.stderr.decode("latin-1")
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clip(home: Path) -> Path:
    """What ``generate`` made there, by its default name."""
    said(home, "C", "generate", "Föto 猫.png", "--num-frames", "4", "--num-inference-steps", "2", "--seed", "1")
    return home / "Föto 猫-1.mp4"


def test_a_clip_is_made_where_names_have_any_letters(clip: Path) -> None:
    assert len(read_frames(clip)) == 15


@pytest.mark.parametrize("console", CONSOLES)
def test_the_history_and_the_checkpoints_are_listed(home: Path, clip: Path, console: str) -> None:
    text = said(home, console, "history")
    assert b"finished" in text
    assert b"clip.mp4" in text
    assert b"svd-xt-1-1" in said(home, console, "models", "list")


def test_doctor_speaks_on_a_console_of_windows(home: Path) -> None:
    text = said(home, "cp1252", "doctor")
    assert b"The proxy http://127.0.0.1:9 does not answer" in text
    assert "Ünï ? ????".encode("cp1252") in text


@pytest.fixture
def page(home: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "svd_ui", "serve", "--no-open", "--port", str(some_port())]
    env = {**environment(home, "cp1252"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith(b"SVD UI is at "), line + process.stdout.read()
            yield line.removeprefix(b"SVD UI is at ").strip().decode()
        finally:
            process.terminate()


def test_the_page_is_served_there(page: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(page, timeout=30) as answer:
        assert answer.status == 200
