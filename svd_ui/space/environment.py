"""A clean Python environment with exactly what a Space's requirements.txt names, as far as this machine can have it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadInput

MARK = ".svd-ui-requirements"
OPTIONS = ("--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "60")
LOOK = "import json, sys, importlib.metadata as m; print(json.dumps(['.'.join(map(str, sys.version_info[:3])), m.version('torch')]))"


@dataclass
class Environment:
    """``replaced`` says which requirement could not be had here: (as it is written, what stands in for it)."""

    folder: Path
    base: str
    say: Callable[[str], None]
    wanted_torch: str = ""
    replaced: list[tuple[str, str]] = field(default_factory=list)
    own: bool = False

    @classmethod
    def of(cls, folder: Path, python: str, version: str, say: Callable[[str], None]) -> Environment:
        """``python`` where it is given, else the ``version`` that the Space names, else this program's."""
        if python and shutil.which(python) is None:
            raise BadInput(f"There is no {python} here.", field="python")
        named = ".".join(version.split(".")[:2])
        found = python or next((one for one in (f"python{named}",) if _runs(one)), sys.executable)
        return cls(folder.absolute(), found, say)

    @property
    def python(self) -> str:
        if self.own:
            return sys.executable
        inside = self.folder / ("Scripts" if sys.platform == "win32" else "bin")
        return str(inside / ("python.exe" if sys.platform == "win32" else "python"))

    def use_own(self) -> None:
        """The packages of this program, whatever the requirements say."""
        self.own = True

    def install(self, requirements: Path) -> None:
        """Raises BadInput where pip cannot have them, with what it said last."""
        text = requirements.read_text("utf-8")
        self.wanted_torch = next(iter(re.findall(r"^torch==(\S+)$", text, re.MULTILINE)), "")
        digest, mark = hashlib.sha256(text.encode()).hexdigest(), self.folder / MARK
        if mark.is_file() and mark.read_text("utf-8").startswith(digest):
            self.replaced = [(one, other) for one, other in json.loads(mark.read_text("utf-8")[len(digest) :] or "[]")]
            return
        if not Path(self.python).exists():
            self.say(f"Making an environment with {self.base}.")
            _run([self.base, "-m", "venv", str(self.folder)])
        self.say("Installing what the Space requires; a PyTorch is large.")
        failed = self._pip(text)
        if failed and "+" in self.wanted_torch:
            plain = self.wanted_torch.partition("+")[0]
            self.say(f"torch {self.wanted_torch} cannot be had here: taking {plain} of the package index.")
            self.replaced.append((f"torch=={self.wanted_torch}", f"torch=={plain}"))
            failed = self._pip(
                re.sub(r"^--extra-index-url.*\n", "", text, flags=re.MULTILINE).replace(self.wanted_torch, plain)
            )
        if failed:
            raise BadInput(f"pip could not install the requirements: {failed}")
        mark.write_text(digest + json.dumps(self.replaced), "utf-8")

    def _pip(self, text: str) -> str:
        """What pip said last where it failed; ''."""
        file = self.folder / "requirements.txt"
        file.write_text(text, "utf-8")
        done = subprocess.run(
            [self.python, "-m", "pip", "install", *OPTIONS, "-r", str(file)], capture_output=True, text=True
        )
        return " ".join(done.stderr.strip().splitlines()[-2:])[-400:] if done.returncode else ""

    def differences(self, version: str) -> Iterator[str]:
        """What is installed otherwise than a Space that names Python ``version`` will have it."""
        python, torch = json.loads(_run([self.python, "-c", LOOK]))
        if not python.startswith(version):
            yield f"Python: {version} there, {python} here."
        if self.own:
            yield f"Packages: those of this program, not the requirements' (torch {torch})."
        for one, other in self.replaced:
            yield f"PyTorch: {one} there, {other} here: this machine could not have the other."


def _runs(python: str) -> bool:
    """A name may be there and not run: a version manager's."""
    try:
        return subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
    except OSError:
        return False


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BadInput(f"{command[0]} failed: {' '.join(done.stderr.strip().splitlines()[-2:])[-400:]}")
    return done.stdout
