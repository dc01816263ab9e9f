"""A look at a built Space before it is pushed: started from its own files and requirements alone, asked for a clip as a program would.

What runs here is not a Space: ``differences`` says in what.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import BadInput, Unexpected
from . import changed
from .environment import Environment

CLIENT = Path(__file__).parent / "client.py"
POLL_SECONDS = 0.3
TAIL = 2500
PICTURE = "assets/examples/cat.jpg"


@dataclass(frozen=True)
class Facts:
    """``sentence`` tells of the clip that was made."""

    sentence: str
    differences: tuple[str, ...]


@dataclass
class Trial:
    """``keep`` is where the environment stays for the next time; ``say`` is told what goes on."""

    folder: Path
    python: str
    keep: Path | None
    install: bool
    seconds: int
    say: Callable[[str], None]

    def run(self) -> Facts:
        """Raises BadInput where the folder is none, Unexpected where it does not do what a Space has to."""
        front = front_matter(self.folder)
        if broken := changed(self.folder):
            raise BadInput(f"{broken[0]} was changed or removed since the folder was built: build it again.")
        with tempfile.TemporaryDirectory(prefix="svd-ui-space-", ignore_cleanup_errors=True) as place:
            environment = Environment.of(
                self.keep or Path(place) / "env", self.python, str(front["python_version"]), self.say
            )
            if self.install:
                environment.install(self.folder / "requirements.txt")
            else:
                environment.use_own()
            made = self._served(Path(place), environment, front)
        return Facts(sentence_of(made), tuple(differences(front, environment)))

    def _served(self, place: Path, environment: Environment, front: dict[str, Any]) -> dict[str, Any]:
        copy = place / "app"
        shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns(".git"))
        port, log = some_port(), place / "log.txt"
        self.say("Starting it as a Space would be started.")
        with started([environment.python, str(front["app_file"])], copy, variables(place, port), log) as process:
            began = time.monotonic()
            until_ready(process, port, log, self.seconds)
            ready = time.monotonic() - began
            self.say(f"The page is there after {ready:.0f} seconds. Making a clip.")
            asked = [f"http://127.0.0.1:{port}", str(copy / PICTURE), str(place / "files")]
            return {
                **self._clip([environment.python, str(CLIENT), *asked], variables(place, port), log),
                "ready": ready,
            }

    def _clip(self, command: list[str], env: dict[str, str], log: Path) -> dict[str, Any]:
        """What the program tells of the clip that it got."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self.seconds, env=env)
        except subprocess.TimeoutExpired:
            raise Unexpected(detail=f"no clip after {self.seconds} seconds; the app: {last_words(tail(log))}") from None
        if done.returncode:
            raise Unexpected(detail=f"no clip was made: {last_words(done.stderr)}; the app: {last_words(tail(log))}")
        made: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return made


def front_matter(folder: Path) -> dict[str, Any]:
    """What the README tells the platform. Raises BadInput where it tells nothing it could use."""
    try:
        text = (folder / "README.md").read_text("utf-8")
        found = yaml.safe_load(text.split("---\n")[1])
        missing = {"title", "sdk", "sdk_version", "python_version", "app_file"} - found.keys()
    except (OSError, LookupError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise BadInput(f"{folder}: its README.md begins with no settings of a Space.") from error
    if missing:
        raise BadInput(f"{folder}: its README.md does not say {', '.join(sorted(missing))}.")
    return dict(found)


def variables(place: Path, port: int) -> dict[str, str]:
    """What a Space's process is given, without anything of this machine's or its user's; the rest of a Space is pretended."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
        if name in os.environ
    }
    space = {
        "SYSTEM": "spaces",
        "SPACE_ID": "somebody/svd-ui",
        "SPACE_AUTHOR_NAME": "somebody",
        "SPACE_HOST": f"localhost:{port}",
    }
    mine = {
        "HOME": str(place),
        "SVD_UI_DATA_DIR": str(place / "data"),
        "SVD_UI_PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    return {**kept, **space, **mine, "HF_HUB_OFFLINE": "1"}


@contextmanager
def started(command: list[str], folder: Path, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process within the block; it ends after it, and its workers with it."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_ready(process: subprocess.Popen[bytes], port: int, log: Path, seconds: float) -> None:
    """Return when the page can make clips. Raises Unexpected where it ends, or takes longer than ``seconds``."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError, urllib.error.URLError):
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            if direct.open(f"http://127.0.0.1:{port}/ready", timeout=5).status == 200:
                return
        time.sleep(POLL_SECONDS)
    what = "it ended" if process.poll() is not None else f"it was not there after {seconds:.0f} seconds"
    raise Unexpected(detail=f"the Space does not start, {what}: {last_words(tail(log))}")


def some_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-TAIL:]


def last_words(text: str) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-3:])[-400:]


def sentence_of(made: dict[str, Any]) -> str:
    return (
        f"a clip of {made['frames']} frames, {made['width']}x{made['height']}, with {made['checkpoint']} in "
        f"{made['seconds']:.0f} seconds; the page was there after {made['ready']:.0f}."
    )


def differences(front: dict[str, Any], environment: Environment) -> Iterator[str]:
    """What was not as it will be, a sentence each."""
    asked = front.get("suggested_hardware", "cpu-basic")
    yield f"Hardware: {asked} there; here {platform.machine()} with {os.cpu_count()} processors."
    yield from environment.differences(str(front["python_version"]))
    if front.get("preload_from_hub") or front.get("models"):
        yield f"Weights: {', '.join(front.get('models') or [])} there; here the built-in model made the clip."
    if str(asked).startswith("zero"):
        yield "ZeroGPU: a GPU is lent for each clip there; here an ordinary worker made it, and no duration was asked for."
    if front.get("hf_oauth"):
        yield "Signing in: there is a button there; here nobody can sign in, so nobody is the owner."
    yield "Storage: a bucket at /data there, if one is attached; here a folder that is gone now."
    yield "Network: there a proxy shows it over https, in a frame of huggingface.co; here it was asked directly."
