"""The clips people have added to train on, kept by name until they are used: one folder each."""

from __future__ import annotations

import filecmp
import re
import shutil
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

from ..errors import BadInput
from ..settings import Settings
from . import NAME

CLIPS = "clips"
"""Their place in ``settings.training_dir``."""


class ClipSets:
    """Reads and fills the folders of ``settings.training_dir``/clips."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.training_dir / CLIPS

    def names(self) -> list[str]:
        """In order."""
        try:
            return sorted(path.name for path in self._root.iterdir() if path.is_dir())
        except OSError:
            return []

    def folder(self, name: str) -> Path:
        """Where the clips called ``name`` lie. Raises BadInput for a name that is none."""
        if not re.fullmatch(NAME, name or ""):
            raise BadInput("Clips need a name of letters, digits, spaces, '.', '_' and '-'.", field="data")
        return self._root / name

    def count(self, name: str) -> int:
        """Files in a set; 0 for a name that is none."""
        try:
            return sum(1 for path in self.folder(name).iterdir() if path.is_file())
        except (BadInput, OSError):
            return 0

    def add(self, name: str, files: Iterable[Path]) -> Path:
        """Copy uploaded ``files`` (checked by the caller to be uploads) into a set; returns its folder.

        Of two with one name, as cameras give them, both are kept; the same file twice is one clip.
        """
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            wanted = re.sub(r"[^\w.\- ]", "_", file.name)[-100:].lstrip(".") or "clip"
            place = _place(folder / wanted, file)
            if not place.exists():
                shutil.copyfile(file, place)
        return folder


def _place(wanted: Path, file: Path) -> Path:
    """Where ``file`` goes: ``wanted``, or ``name 2.mp4`` where that is another clip; an existing path holds the same."""
    numbered = (wanted.with_stem(f"{wanted.stem} {number}") for number in count(2))
    return next(
        path for path in chain([wanted], numbered) if not path.exists() or filecmp.cmp(path, file, shallow=False)
    )
