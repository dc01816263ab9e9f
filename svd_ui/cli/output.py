"""Where a finished clip is copied to, and under which name."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadInput
from ..jobs import Job, file_of
from ..media import atomic
from ..request import GenerationRequest

if TYPE_CHECKING:
    from ..jobs.service import JobService

FORMATS = {".mp4": "mp4", ".gif": "gif", ".webp": "webp", ".zip": "png"}
"""What a file's ending asks for; a zip holds all frames as png."""
SHEET = "wall.jpg"
WINDOWS = os.name == "nt"
_UNIT = "letters" if WINDOWS else "bytes"
MAX_NAME, MAX_PATH = 255, 4096
"""Bytes of a name and of a path, where the system does not say; on Windows 255 and 259 letters."""
_LONGEST_END = len("-frames.zip") - len(".mp4")
"""What a file beside the clip has more in its name."""
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices, whatever their ending (learn.microsoft.com, "Naming Files, Paths, and Namespaces")."""
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def format_of(target: Path | None) -> str | None:
    """The output format that ``-o clip.gif`` implies; None for mp4, folders and no name at all. Raises BadInput."""
    if target is None or os.path.isdir(target):  # pathlib's raises for names that are too long
        return None
    name = FORMATS.get(target.suffix.lower())
    if name is None and target.name in FORMATS:
        raise BadInput(f"{target} is an ending without a name.")
    if name is None:
        raise BadInput(f"{target} must end in {', '.join(FORMATS)}, or be a folder that exists.")
    return None if name == "mp4" else name


def place(target: Path | None, source: Path | None, request: GenerationRequest) -> Path:
    """The file to write, or a wall's folder, checked before any work: it can be made, and is writable."""
    if request.wall:
        return _wall_place(target, source, request)
    folder = target if target is None or os.path.isdir(target) else None
    if target is None or folder is not None:
        path = _default(folder or Path(), source, request, _LONGEST_END, ".mp4")
    else:
        path = target
    wanted = FORMATS[path.suffix.lower()]
    if wanted not in ("mp4", request.output_format):
        raise BadInput(f"{path.name} is not what --output-format {request.output_format} makes.", field="output_format")
    beside = _beside(path, request)
    return _writable(path, (path, beside[request.output_format]) if request.output_format in beside else (path,))


def _wall_place(target: Path | None, source: Path | None, request: GenerationRequest) -> Path:
    """The folder for a wall's tiles; made when they are there."""
    if target is not None and target.suffix.lower() in FORMATS:
        raise BadInput(f"A wall is many files: {target} must be a folder.")
    folder = target or _default(Path(), source, request, 0, "-wall")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise BadInput(f"{folder} is a file: a wall needs a folder.")
    return _writable(folder / SHEET, (folder, folder / SHEET)).parent


def _writable(path: Path, files: tuple[Path, ...]) -> Path:
    """``path``, when all of ``files`` could be written. Raises BadInput; nothing is left behind."""
    folder = path.absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    for file in files:
        missing = file.absolute().relative_to(folder).parts
        why = next((why for part in missing if (why := why_unusable(part, _room(folder)))), None) or _too_long(file)
        if why:
            raise BadInput(f"{_short(file)} cannot be written: {why}.")
    if os.path.isdir(path):
        raise BadInput(f"{_short(path)} cannot be written: it is a folder.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            return path
    except OSError as error:
        reason = f"{folder} is not a folder that may be written to"
        raise BadInput(f"{_short(path)} cannot be written: {reason} ({error.strerror}).") from error


def why_unusable(name: str, room: int, windows: bool = WINDOWS) -> str | None:
    """Why no file can have this name where names may be ``room`` long; None for one that can."""
    if windows and _DEVICE.fullmatch(name):
        return "Windows keeps that name for a device"
    if windows and (_FORBIDDEN.search(name) or name != name.rstrip(". ")):
        return "Windows has no such names"
    length = _length(name)
    return f"its name is {length} {_UNIT} long, and may have {room}" if length > room else None


def _too_long(path: Path) -> str | None:
    room = 259 if WINDOWS else MAX_PATH
    return f"the whole path may have {room} {_UNIT}" if _length(str(path.absolute())) > room else None


def _length(name: str) -> int:
    return len(name.encode("utf-16-le", "surrogatepass")) // 2 if WINDOWS else len(_bytes(name))


def _bytes(name: str) -> bytes:
    """As it will be on the disk; ``os.fsencode`` lacks most letters where the locale is C."""
    return name.encode("utf-8", "surrogatepass" if WINDOWS else "surrogateescape")


def _room(folder: Path) -> int:
    """How long a name may be in ``folder``; encrypted file systems have less than 255."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else MAX_NAME
    except (OSError, ValueError):
        return MAX_NAME


def _short(path: Path) -> str:
    """A path that a message can hold: control characters are shown, and of what is very long the end."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(path))
    return text if len(text) <= 100 else f"...{text[-80:]}"


def deliver(jobs: JobService, job: Job, path: Path) -> list[Path]:
    """Copy the results of a finished job to ``path`` and, other than the clip itself, beside it; a wall's into it."""
    written = []
    for name, target in _targets(job, path).items():
        stored = jobs.file(job, name)
        if stored is not None:
            _copy(stored, target)
            written.append(target)
    return written


def _targets(job: Job, path: Path) -> dict[str, Path]:
    """Where each file of the job goes."""
    if job.result is not None and job.result.tiles:
        tiles = {
            file_of(index): path / f"tile-{index:02}-seed-{tile.seed}-motion-{tile.motion_bucket_id}.mp4"
            for index, tile in enumerate(job.result.tiles)
        }
        return {"poster": path / SHEET, **tiles}
    beside = _beside(path, job.request)
    if path.suffix.lower() == ".zip":
        return {"frames": path}
    if path.suffix.lower() != ".mp4":
        return {"animation": path}
    return {"video": path, **{"frames" if kind == "png" else "animation": file for kind, file in beside.items()}}


def _beside(path: Path, request: GenerationRequest) -> dict[str, Path]:
    """Where the other format of a clip at ``path`` goes, by its name."""
    kind = request.output_format
    if kind == "mp4" or path.suffix.lower() != ".mp4":
        return {}
    return {kind: path.with_name(f"{path.stem}-frames.zip") if kind == "png" else path.with_suffix(f".{kind}")}


def _copy(stored: Path, target: Path) -> None:
    try:
        with atomic(target) as temporary:
            shutil.copyfile(stored, temporary)
    except OSError as error:
        raise BadInput(
            f"{_short(target)} cannot be written ({error.strerror}); the clip is kept as {stored}."
        ) from error


def _default(folder: Path, source: Path | None, request: GenerationRequest, more: int, end: str) -> Path:
    """``<stem>-<seed><end>``: of the picture, else of the prompt's first words, as much as fits with ``more`` bytes beside."""
    words = "".join(c if c.isalnum() else " " for c in (request.prompt or "").lower()).split()
    stem = source.stem if source else "-".join(words)[:40].strip("-")
    end = f"-{request.seed}{end}"
    return folder / f"{file_stem(stem, _room(folder) - len(end) - more)}{end}"


def file_stem(text: str, room: int) -> str:
    """``text`` as the beginning of a file's name on every system, of at most ``room`` bytes; ``clip`` where nothing is left.

    It is cut between letters: one that is put together of several stays whole or goes.
    """
    name = _bytes(text).decode("utf-8", "replace").replace("\N{REPLACEMENT CHARACTER}", "_")
    name = _FORBIDDEN.sub("_", name).strip(". ")
    name = f"_{name}" if _DEVICE.fullmatch(name) else name
    end = len(name.encode()[:room].decode("utf-8", "ignore"))
    while 0 < end < len(name) and (_joins(name[end]) or name[end - 1] == "\u200d"):
        end -= 1
    # As the system hands names out, which in a locale without letters is in another form.
    return os.fsdecode(name[:end].rstrip(". ").encode()) or "clip"


def _joins(letter: str) -> bool:
    """Whether a letter belongs to the one before it: accents, variants and skin tones of emoji, joiners."""
    return (
        unicodedata.category(letter) in ("Mn", "Me", "Mc")
        or letter == "\u200d"
        or "\U0001f3fb" <= letter <= "\U0001f3ff"
    )
