"""Where models lie on this machine: our folders, those of SVD_UI_CHECKPOINT_DIRS, and what other programs keep in them.

A place may be a file, a folder with models at any depth, ``extra_model_paths.yaml``, or a folder that holds one. ComfyUI,
Forge, SwarmUI and SD.Next keep a folder ``models`` with one for each sort in it; a link to another drive is followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .notes import Note
from .settings import REPOSITORY, Settings

MAX_DEPTH = 8
"""``ComfyUI_windows_portable/ComfyUI/models/checkpoints/video/...`` is five."""
MAX_ENTRIES = 50_000
"""Of one place: more than any collection of models has."""
PATH_FILES = ("extra_model_paths.yaml", "extra_model_paths.yml", "extra_models_config.yaml")
"""ComfyUI's list of other folders (docs.comfy.org, "Models"); the last is what its desktop program writes."""
_CHECKPOINTS = ("checkpoints", "diffusers", "diffusion_models", "unet")
_LORAS = {"lora", "loras", "lycoris"}
_WITHOUT_MODELS = {"__pycache__", "node_modules", "site-packages", "custom_nodes", "venv"}


@dataclass(frozen=True)
class Trouble:
    """A place or a file that cannot be used, and why."""

    path: Path
    why: Note


@dataclass(frozen=True)
class Places:
    """``checkpoints`` are folders and files to look at, in order; ``loras`` hold LoRAs, also in their subfolders."""

    checkpoints: tuple[Path, ...]
    loras: tuple[Path, ...]
    hub_cache: Path
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True)
class Listing:
    """One folder: its name in each of ``files`` and ``folders``, sorted, without those that begin with a dot."""

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]


def places(settings: Settings) -> Places:
    """Every place that is looked at, in order; training writes LoRAs into the first of theirs."""
    from huggingface_hub import constants

    own = [settings.models_dir, REPOSITORY / "models"]
    checkpoints, loras, troubles = [*own], [path / "loras" for path in own], list[Trouble]()
    for given in filter(None, settings.checkpoint_dirs.split(os.pathsep)):
        path = Path(os.path.expanduser(given.strip().strip("\"'")))  # Windows' ``set X="C:\\x"`` keeps the quotes
        if path.suffix not in (".yaml", ".yml"):
            checkpoints.append(path)
            loras += _lora_folders(path.absolute())
        for file in (path, *(path / name for name in PATH_FILES)):
            if file.suffix in (".yaml", ".yml") and os.path.isfile(file):
                try:
                    listed, gone = _extra_model_paths(file)
                except (OSError, ValueError) as error:
                    why = Note.of("paths_unreadable", name=file.name, detail=str(error))
                    troubles.append(Trouble(file, why))
                    continue
                troubles += [Trouble(base, Note.of("base_path_missing", name=file.name)) for base in gone]
                checkpoints += [folder for sort in _CHECKPOINTS for folder in listed.get(sort, ())]
                loras += listed.get("loras", ())
        if not os.path.exists(path) or not os.access(path, os.R_OK):
            troubles.append(Trouble(path, Note.of("place_missing")))
    cache = Path(constants.HF_HUB_CACHE)
    return Places(tuple(dict.fromkeys(checkpoints)), tuple(dict.fromkeys(loras)), cache, tuple(troubles))


def walk(root: Path, enter: Callable[[Listing], bool], depth: int = MAX_DEPTH) -> Iterator[Listing]:
    """The folders from ``root`` on, nearest first; those in one only where ``enter`` says so.

    Each comes once, however many links lead to it; what cannot be read is passed over. Raises ValueError once there are
    too many entries to go on.
    """
    seen: set[tuple[int, int] | str] = set()
    level, entries = [root], 0
    for _ in range(depth + 1):
        below: list[Path] = []
        for folder in level:
            identity = _identity(folder)
            listing = None if identity is None or identity in seen else _listing(folder)
            if identity is None or listing is None:
                continue
            seen.add(identity)
            yield listing
            if enter(listing):
                below += [folder / name for name in listing.folders if name.lower() not in _WITHOUT_MODELS]
            entries += len(listing.files) + len(listing.folders)
            if entries > MAX_ENTRIES:
                raise ValueError(f"more than {MAX_ENTRIES} entries")
        level = below


def _listing(folder: Path) -> Listing | None:
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                # A name with a leading dot is something that is still being written, or not for people.
                if entry.name.startswith(".") or not _is_text(entry.name):
                    continue
                is_link = entry.is_symlink()
                if os.path.isdir(entry.path) if is_link else entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_file(follow_symlinks=False) or (is_link and _leads_to_no_pipe(entry.path)):
                    files.append(entry.name)
    except OSError:  # not ours to read, or gone
        return None
    return Listing(folder, tuple(sorted(files)), tuple(sorted(folders)))


def _leads_to_no_pipe(link: str) -> bool:
    """A file, or nothing: its drive may not be there. Reading a pipe would wait for ever."""
    return os.path.isfile(link) or not os.path.exists(link)


def _is_text(name: str) -> bool:
    """Linux allows any bytes for a name; neither a page nor a request can hold those that are no UTF-8."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _identity(folder: Path) -> tuple[int, int] | str | None:
    """The same for every way to a folder; some file systems number nothing."""
    try:
        stat = folder.stat()
        return (stat.st_dev, stat.st_ino) if stat.st_ino else str(folder.resolve())
    except OSError:
        return None


def is_lora_folder(path: Path) -> bool:
    return path.name.lower() in _LORAS


def _lora_folders(given: Path) -> list[Path]:
    """The folders for LoRAs of the tree that ``given`` is, or lies in: beside ``checkpoints`` is ``loras``."""
    above = next((path for path in (given, *given.parents[:MAX_DEPTH]) if path.name.lower() == "models"), given)
    found: list[Path] = []
    with suppress(ValueError):  # said where the checkpoints are looked for
        folders = (listing.path for listing in walk(above, lambda listing: not is_lora_folder(listing.path), depth=4))
        found.extend(filter(is_lora_folder, folders))
    return found


def _extra_model_paths(file: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Sort => folders, and the ``base_path``s that are not there.

    Each section has sorts with a path a line, from its ``base_path`` on, else from the file's folder; one with
    ``is_default`` comes first. Raises OSError, or ValueError for what is no such file.
    """
    import yaml

    try:
        sections = yaml.safe_load(_text(file)) or {}
    except yaml.YAMLError as error:
        raise ValueError(re.sub(r"\s+", " ", str(error))) from error
    usable = [one for one in sections.values() if isinstance(one, dict)] if isinstance(sections, dict) else []
    if not isinstance(sections, dict) or (not usable and any(sections.values())):
        raise ValueError("its lines have to stand in sections, as 'comfyui:' with the lines below it indented")
    found: dict[str, list[Path]] = {}
    gone: list[Path] = []
    for section in sorted(usable, key=lambda section: not section.get("is_default")):
        base = file.parent.absolute() / _expanded(section.get("base_path") or "")
        gone += [] if os.path.isdir(base) else [base]
        for sort, paths in section.items():
            if sort not in ("base_path", "is_default"):
                found.setdefault(str(sort), []).extend(base / _expanded(path) for path in _lines(paths))
    return found, gone


def _text(file: Path) -> str:
    """Also as Windows' older editors wrote it, in which ComfyUI used to read it there."""
    data = file.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _expanded(path: Any) -> Path:
    """What stands in the file as a path of this system; a list that came along from Windows has its ``\\``."""
    text = os.path.expandvars(str(path).strip())
    return Path(os.path.expanduser(text if os.name == "nt" else text.replace("\\", "/")))


def _lines(paths: Any) -> Sequence[Any]:
    if isinstance(paths, list):
        return paths
    return [line for line in str(paths or "").splitlines() if line.strip()]
