"""What is wrong with an installation, in the order in which a person should mend it. No torch.

A finding is a code and its parameters; its three sentences (what is wrong, why it matters, what to do) are
``locale/en.json``'s. ``wrong`` ones keep something from working, the others are worth knowing.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import plugins
from ..catalog import checkpoint_dirs, checkpoints
from ..engine import Device
from ..errors import BadInput, without_secrets
from ..hub import Hub
from ..jobs.database import MIGRATIONS
from ..network.address import free_port, host_of, tls
from ..network.proxies import proxy_for, trouble
from ..notes import WORDS, Note, sentence
from ..settings import REPOSITORY, Settings, env_values
from .leftovers import leftovers

WORD = WORDS["findings"]
OLDEST_PYTHON = (3, 11)
ROOM = 1_000_000_000
"""Bytes without which clips, or the files they are put together from, soon find no place."""
OURS = ("SVD_UI_TORCH", "SVD_UI_SCREENSHOTS", "SVD_UI_REQUIRE_", "SVD_UI_TEST_")
"""Variables of the scripts and the tests."""
NOT_READ = {
    "GRADIO_SERVER_NAME": "SVD_UI_HOST",
    "GRADIO_SERVER_PORT": "SVD_UI_PORT",
    "GRADIO_SHARE": "SVD_UI_SHARE",
    "TRANSFORMERS_CACHE": "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE": "HF_HUB_CACHE",
    "HUGGING_FACE_HUB_TOKEN": "HF_TOKEN",
}
"""Old names, and another program's => the one that is read here, or will be alone."""
LOOK_SECONDS = 2.0
PYTHON = subprocess.list2cmdline([sys.executable]) if os.name == "nt" else shlex.quote(sys.executable)


@dataclass(frozen=True)
class Finding:
    """``repair`` names what ``doctor --fix`` does about it, where it can do something."""

    code: str
    params: dict[str, Any] = field(default_factory=dict)
    wrong: bool = True
    repair: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON for people and programs."""
        return {
            "code": self.code,
            "wrong": self.wrong,
            **{part: self._words(part) for part in ("what", "why", "do")},
            "fixable": bool(self.repair),
        }

    def _words(self, part: str) -> str:
        text = WORD[self.code][part].format_map({"python": PYTHON, **self.params})
        home = re.escape(str(Path.home()) + os.sep)
        return re.sub(rf"(?<![\w'\"]){home}", lambda _: f"~{os.sep}", without_secrets(text))


@dataclass(frozen=True)
class Patient:
    """What is examined: settings as far as they can be used, what was wrong with the rest, and what the worker says."""

    settings: Settings
    faults: dict[str, str]
    hub: Hub
    device: Device | None
    trouble: str


Check = Callable[[Patient], Iterator[Finding]]


def examine(patient: Patient) -> list[Finding]:
    """Everything that is not as it should be, what is to be mended first in front."""
    return [finding for check in CHECKS for finding in check(patient)]


def python(_: Patient) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("python_old", {"version": version, "oldest": ".".join(map(str, OLDEST_PYTHON))})
    if sys.maxsize < 2**32:
        yield Finding("python_32_bits", {"version": version})


def packages(_: Patient) -> Iterator[Finding]:
    """What requirements.txt pins, less what is for some machines only."""
    with suppress(OSError):
        text = (REPOSITORY / "requirements.txt").read_text("utf-8")
        pins = re.findall(r"^([\w.-]+)==([\w.]+)$", text, re.MULTILINE)
        installed = {name: _version(name) for name, _ in pins}
        missing = [name for name, version in installed.items() if version is None]
        if missing:
            yield Finding("packages_missing", {"names": ", ".join(missing)})
        other = [
            f"{name} {installed[name]} (tested: {pin})" for name, pin in pins if installed[name] not in {None, pin}
        ]
        if other:
            yield Finding("packages_other", {"names": ", ".join(other)}, wrong=False)


def _version(name: str) -> str | None:
    """Installed version without what tells builds apart, or None."""
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def values(patient: Patient) -> Iterator[Finding]:
    for variable, reason in patient.faults.items():
        yield Finding("setting_wrong", {"variable": variable, "reason": reason.rstrip(".")})


def variables(_: Patient) -> Iterator[Finding]:
    known = {f"SVD_UI_{name.upper()}" for name in Settings.model_fields}
    given = env_values()
    for name, source in given.items():
        upper = name.upper()
        if upper in NOT_READ and NOT_READ[upper] not in given:
            yield Finding("variable_of_others", {"name": name, "instead": NOT_READ[upper]}, wrong=False)
        if not upper.startswith("SVD_UI") or upper in known or upper.startswith(OURS):
            continue
        near = difflib.get_close_matches(upper, known, 1, 0.75)
        code = "variable_misspelt" if near else "variable_unknown"
        mendable = bool(near) and source == ".env" and near[0] not in given
        params = {"name": name, "source": source, "nearest": near[0] if near else ""}
        yield Finding(code, params, repair="variables" if mendable else "")


def card(patient: Patient) -> Iterator[Finding]:
    note = patient.device.build_mismatch if patient.device else None
    if note is None:
        return
    remedy = Note.model_validate(note.params["remedy"])
    command = str(remedy.params.get("command", "")).removeprefix("python ")
    install = f"{PYTHON} {command}" if command else sentence(remedy)
    params = {**note.params, "archs": ", ".join(note.params.get("archs", [])), "install": install, "command": command}
    yield Finding(note.code, params, repair="torch" if command else "")


def worker(patient: Patient) -> Iterator[Finding]:
    if patient.device is None:
        why = patient.trouble or "it did not answer"
        logs = str(patient.settings.data_dir / "logs")
        yield Finding("worker_silent", {"why": why.rstrip("."), "logs": logs})


def places(patient: Patient) -> dict[str, Path]:
    """Where the app writes, by the variable that says so."""
    settings = patient.settings
    temporary = "TEMP" if os.name == "nt" else "TMPDIR"
    return {"SVD_UI_DATA_DIR": settings.data_dir, "HF_HOME": patient.hub.cache, temporary: Path(tempfile.gettempdir())}


def disk(patient: Patient) -> Iterator[Finding]:
    from ..hub.transfer import size

    for variable, path in places(patient).items():
        with suppress(OSError):
            free = shutil.disk_usage(_existing(path)).free
            if free < ROOM:
                yield Finding("disk_full", {"path": str(path), "free": size(free), "variable": variable})


def writable(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    inside = (settings.jobs_dir, settings.assets_dir, settings.models_dir, settings.training_dir, settings.database)
    found = [*places(patient).items(), *(("SVD_UI_DATA_DIR", path) for path in inside if path.exists())]
    for variable, path in found:
        there = _existing(path)
        if why := _unwritable(there, is_folder=path != settings.database):
            yield Finding("folder_unwritable", {"path": str(there), "why": why, "variable": variable})


def _unwritable(path: Path, is_folder: bool) -> str:
    """Why nothing can be written there; a folder is tried, since rights alone do not tell."""
    if is_folder and not path.is_dir():
        return "it is a file"
    try:
        if is_folder:
            tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(path, os.W_OK) else "it is another user's"


def _existing(path: Path) -> Path:
    """``path``, or what is there of it."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def history(patient: Patient) -> Iterator[Finding]:
    path = patient.settings.database
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=LOOK_SECONDS)) as database:
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        found, version = str(error), 0
    if found != "ok":
        yield Finding("history_damaged", {"path": str(path), "why": found})
    elif version > len(MIGRATIONS):
        yield Finding("history_newer", {"path": str(path)}, wrong=False)


def codecs(_: Patient) -> Iterator[Finding]:
    try:
        import av

        lacking = [name for name, mode in (("libx264", "w"), ("h264", "r")) if not _has_codec(av, name, mode)]
    except ImportError as error:
        yield Finding("codecs_broken", {"why": str(error)})
        return
    if lacking:
        yield Finding("codecs_missing", {"names": ", ".join(lacking)})


def _has_codec(av: Any, name: str, mode: str) -> bool:
    try:
        av.codec.Codec(name, mode)
    except ValueError:
        return False
    return True


def fonts(_: Patient) -> Iterator[Finding]:
    from PIL import features

    lacking = [what for what, name in (("FreeType", "freetype2"), ("WebP", "webp")) if not features.check(name)]
    if lacking:
        yield Finding("pillow_lacks", {"names": ", ".join(lacking)}, wrong=False)


def address(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    try:
        tls(settings)
    except BadInput as error:
        yield Finding("https_unusable", {"why": error.message})
    try:
        port = free_port(host_of(settings), settings.port)
    except OSError as error:
        yield Finding("address_unusable", {"why": str(error)})
        return
    if port != settings.port:
        yield Finding("port_taken", {"port": settings.port, "free": port}, wrong=False)
    if settings.is_public and settings.credentials is None and not os.path.exists("/.dockerenv"):
        yield Finding("open_to_all", {"host": settings.host}, wrong=False)


def network(_: Patient) -> Iterator[Finding]:
    """The way to the hub, looked at as far as this side of it: a proxy and a mirror that were set, not the hub itself."""
    from huggingface_hub import constants

    endpoint, proxy = constants.ENDPOINT, proxy_for(constants.ENDPOINT)
    if why := trouble(endpoint):
        yield Finding("hub_cut_off", {"why": why})
    elif proxy and not _listens(proxy):
        yield Finding("proxy_silent", {"proxy": proxy})
    elif endpoint != "https://huggingface.co" and not proxy and not _listens(endpoint):
        yield Finding("mirror_silent", {"endpoint": endpoint})
    token = os.environ.get("HF_TOKEN", "")
    if token.strip() and not re.fullmatch(r"[\w.-]+", token.strip()):
        yield Finding("token_odd")


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "socks5": 1080, "socks5h": 1080}.get(parts.scheme, 80)
    try:
        socket.create_connection((parts.hostname or "", port), LOOK_SECONDS).close()
    except OSError:
        return False
    return True


def weights(patient: Patient) -> Iterator[Finding]:
    """What the settings ask for and this machine does not have."""
    from huggingface_hub import constants, get_token

    settings, hub = patient.settings, patient.hub
    for folder in checkpoint_dirs(settings):
        if folder not in checkpoint_dirs(settings.model_copy(update={"checkpoint_dirs": ""})) and not folder.is_dir():
            yield Finding("folder_absent", {"path": str(folder), "variable": "SVD_UI_CHECKPOINT_DIRS"})
    still = hub.text_to_image_folder()
    if still is not None and hub.text_to_image_path() is None:
        yield Finding("still_maker_absent", {"path": str(still)})
    rows = checkpoints(settings)
    row = rows.get(settings.checkpoint)
    if settings.checkpoint == "auto" or (row is not None and hub.present(row) is not None):
        return
    if row is None:
        near = difflib.get_close_matches(settings.checkpoint, rows, 1)
        names = near[0] if near else ", ".join(rows)
        yield Finding("checkpoint_unknown", {"name": settings.checkpoint, "known": names})
    elif row.repo is None:
        yield Finding("checkpoint_incomplete", {"title": row.title, "path": str(row.folder)})
    elif constants.HF_HUB_OFFLINE:
        yield Finding("offline", {"title": row.title, "models": str(settings.models_dir)})
    elif row.gated and not get_token():
        yield Finding("token_missing", {"title": row.title, "url": row.link, "id": row.id})
    else:
        yield Finding("weights_absent", {"title": row.title, "id": row.id}, wrong=False)


def others(_: Patient) -> Iterator[Finding]:
    for one in plugins.found():
        if one.trouble:
            yield Finding("plugin_broken", {"name": one.name, "package": one.package, "why": one.trouble.rstrip(".")})


def rubbish(patient: Patient) -> Iterator[Finding]:
    from ..hub.transfer import size

    found = leftovers(patient.settings, patient.hub)
    if found:
        total = size(sum(bytes_ for _, bytes_ in found))
        yield Finding("leftovers", {"count": len(found), "size": total}, wrong=False, repair="leftovers")


CHECKS: tuple[Check, ...] = (
    python,
    packages,
    values,
    variables,
    card,
    worker,
    writable,
    disk,
    history,
    codecs,
    fonts,
    address,
    network,
    weights,
    others,
    rubbish,
)
