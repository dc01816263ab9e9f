"""What lies in the places where models are looked for: the family's folders and files, what was refused, and why.

Only names, sizes and headers are read, and a header once until its file changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadInput
from ..model_dirs import Listing, Trouble, is_lora_folder, places, walk
from ..notes import Note
from ..settings import REPOSITORY, Settings
from ..weight_files import ENDINGS, PICKLES, damaged
from .checkpoint import ANIMATE_LCM, STABILITY_ROWS, CheckpointRow
from .folders import UNET, WEIGHTS, commits, lacking, read_index, read_json
from .local_rows import PIPELINE, UNET_CLASS, file_row, folder_row, unet_row
from .recognition import is_named_like_ours, likeness
from .weights import foreign, note_of, weight_file, with_link

_UNREADABLE = {**dict.fromkeys(PICKLES, "a pickle"), ".gguf": "a GGUF file"}
_ARCHIVES = (".zip", ".7z", ".rar", ".tar")
_UNFINISHED = (".part", ".crdownload", ".download", ".incomplete", ".aria2", ".tmp")
"""What browsers and downloaders append while they write."""


@dataclass
class Found:
    """``rows`` in the order they were found, usable or not; ``refused`` is what could not become one."""

    rows: list[CheckpointRow] = field(default_factory=list)
    refused: list[Trouble] = field(default_factory=list)


def discover(settings: Settings) -> Found:
    """Look everywhere. A file or folder that several places lead to is found once."""
    looked_in = places(settings)
    search = _Search({settings.models_dir, REPOSITORY / "models"})
    for place in looked_in.checkpoints:
        search.look_in(place)
    search.look_in_cache(looked_in.hub_cache)
    search.found.refused += looked_in.troubles
    return search.found


class _Search:
    """``own`` are the places for this app alone: what lies there and is of another kind is refused with the reason."""

    def __init__(self, own: set[Path]) -> None:
        self.found = Found()
        self._own = own
        self._seen: set[str] = set()
        self._real: dict[Path, str] = {}
        self._place = Path()
        self._asked_for = False

    def look_in(self, place: Path) -> None:
        self._place, self._asked_for = place, place in self._own
        try:
            if os.path.isfile(place):
                self._place, self._asked_for = place.parent, True
                self._look_at(place)
            else:
                for _ in walk(place, self._enters):
                    pass
        except (OSError, ValueError) as error:
            self._refuse(place, Note.of("search_ended", detail=str(error)))

    def look_in_cache(self, cache: Path) -> None:
        """The hub's: fine-tunes and copies that other programs fetched. The catalogue's own are ``Hub``'s to find."""
        self._place, self._asked_for = cache, False
        repos = [row.repo for row in (*STABILITY_ROWS, ANIMATE_LCM) if row.repo]
        ours = {f"models--{repo.replace('/', '--')}" for repo in repos}
        with suppress(OSError):  # not ours to read, or removed by another program
            for folder in sorted(cache.glob("models--*")):
                if folder.name not in ours:
                    self._take_newest(folder)

    def _enters(self, folder: Listing) -> bool:
        """Take what is in ``folder``; whether there may be more in those in it."""
        try:
            return self._goes_on_below(folder)
        except OSError as error:  # something in it is not ours to read
            self._refuse(folder.path, note_of(damaged(folder.path, "unreadable", why=error.strerror)))
            return False

    def _goes_on_below(self, folder: Listing) -> bool:
        path = folder.path
        if is_lora_folder(path):
            return False
        if path.name.startswith("models--"):
            self._take_newest(path)
            return False
        if "model_index.json" in folder.files or (UNET in folder.folders and _is_unet(path / UNET)):
            self._take_folder(path)
            return False
        if "config.json" in folder.files and _is_unet(path):
            if self._is_new(path):
                self._add(unet_row, path)
            return False
        for name in folder.files:
            self._look_at(path / name)
        return True

    def _take_newest(self, repo: Path) -> None:
        """A hub's cache inside a tree of models: the newest commit that is whole."""
        newest = commits(repo)
        folders = [path for path in newest if (path / "model_index.json").is_file()]
        if folders:
            self._take_folder(next((path for path in folders if lacking(path) is None), folders[0]))
            return
        for commit in newest[:1]:
            for _ in walk(commit, self._enters):
                pass

    def _take_folder(self, path: Path) -> None:
        """A whole pipeline, or a U-Net alone. Where it lacks something there may be one file of everything beside it."""
        if read_index(path).get("_class_name", PIPELINE) != PIPELINE or not self._is_new(path):
            return
        if any((path / UNET).glob("*.safetensors")) and not any(
            (path / part).is_dir() for part in WEIGHTS if part != UNET
        ):
            self._add(unet_row, path)
            return
        for file in sorted(path.iterdir()) if lacking(path) is not None else ():
            if file.suffix.lower() in ENDINGS:
                self._look_at(file)
        self._add(folder_row, path)

    def _look_at(self, path: Path) -> None:
        """Any file."""
        ending = path.suffix.lower()
        is_ours = is_named_like_ours(path.stem)
        wanted = self._asked_for or is_ours
        if is_ours and (why := _unusable(path, ending)):
            self._refuse(path, why)
            return
        if ending not in ENDINGS or not self._is_new(path):
            return
        file = weight_file(path)
        if file.kind is None:
            if wanted:
                is_like = likeness(path.stem, (), None, only_unet=True)
                link = is_like.row.link if is_like.certain else ""
                self._refuse(path, with_link(file.trouble or foreign(path), link))
            return
        why = file.kind.trouble
        if file.kind.what in ("pipeline", "unet"):
            self._add(unet_row if file.kind.what == "unet" else file_row, path)
        elif why is not None and (wanted or file.kind.what == "lora" or why.code == "file_is_quantised"):
            self._refuse(path, why)

    def _is_new(self, path: Path) -> bool:
        if path.parent not in self._real:
            self._real[path.parent] = os.path.realpath(path.parent)
        folder = self._real[path.parent]
        real = os.path.realpath(path) if os.path.islink(path) else os.path.join(folder, path.name)
        is_new = real not in self._seen
        self._seen.add(real)
        return is_new

    def _add(self, row_of: Callable[..., CheckpointRow], path: Path) -> None:
        try:
            self.found.rows.append(row_of(path, around=tuple(self._around(path))))
        except BadInput as error:
            self._refuse(path, Note.of("text", text=error.message))

    def _around(self, path: Path) -> Iterator[str]:
        """The names of the folders above, down from the place that was named."""
        for folder in path.parents:
            if not folder.is_relative_to(self._place):
                return
            yield folder.name

    def _refuse(self, path: Path, why: Note) -> None:
        self.found.refused.append(Trouble(path, why))


def _is_unet(folder: Path) -> bool:
    """Whether a folder holds a U-Net of the family as diffusers saves it; ComfyUI's folder ``unet`` holds files of any name."""
    config = read_json(folder / "config.json")
    if config:
        return config.get("_class_name") == UNET_CLASS
    kinds = [weight_file(file).kind for file in sorted(folder.glob("diffusion_pytorch_model*.safetensors"))[:1]]
    return any(kind is not None and kind.what == "unet" for kind in kinds)


def _unusable(path: Path, ending: str) -> Note | None:
    """What keeps a file of one of our names from being read at all, by its ending or because it is not there."""
    if os.path.islink(path) and not os.path.exists(path) and ending in (*ENDINGS, ""):
        return Note.of("link_leads_nowhere", file=path.name, target=os.readlink(path))
    if ending in _UNFINISHED and path.with_suffix("").suffix.lower() in ENDINGS:
        return Note.of("file_is_on_its_way", file=path.name)
    if ending in _ARCHIVES:
        return Note.of("file_is_packed", file=path.name)
    what = _UNREADABLE.get(ending)
    return Note.of("file_is_pickle", file=path.name, what=what) if what else None
