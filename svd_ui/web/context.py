"""What every part of the page is given: the jobs, the settings, and what follows from both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..catalog import CheckpointRow, checkpoints
from ..engine import Device
from ..jobs import Jobs
from ..loras import LoraFile, loras
from ..settings import Settings

if TYPE_CHECKING:
    from ..assets import Assets
    from ..hub import Hub

ROWS_SECONDS = 5.0
TRAINING_SECONDS = 1.0


@dataclass
class Context:
    """One per app. Rows and presence on disk are looked up at most every few seconds."""

    jobs: Jobs
    settings: Settings
    _rows: tuple[float, dict[str, CheckpointRow]] = field(default=(-1e9, {}), repr=False)
    _loras: tuple[float, dict[str, LoraFile]] = field(default=(-1e9, {}), repr=False)
    _training: tuple[float, str] = field(default=(-1e9, ""), repr=False)
    _present: dict[str, tuple[float, bool]] = field(default_factory=dict, repr=False)

    @cached_property
    def assets(self) -> Assets:
        from ..assets import Assets

        return Assets.of(self.settings)

    @cached_property
    def hub(self) -> Hub:
        from ..hub import Hub

        return Hub(self.settings)

    def rows(self) -> dict[str, CheckpointRow]:
        """The catalogue, read again now and then: a folder dropped in shows up without a restart."""
        when, rows = self._rows
        if time.monotonic() - when > ROWS_SECONDS:
            rows = checkpoints(self.settings)
            self._rows = (time.monotonic(), rows)
        return rows

    def row(self, checkpoint: str) -> CheckpointRow:
        """The row that ``checkpoint`` means; ``auto`` and unknown names give the best one present."""
        rows = self.rows()
        if checkpoint in rows:
            return rows[checkpoint]
        from ..hub.selection import Checkpoints

        return Checkpoints(self.settings, self.hub).resolve("auto", self.device())

    def checkpoint_choices(self) -> list[tuple[str, str]]:
        """(title, id) to choose from as things are now: what training writes shows up here."""
        return [("Auto (best one here)", "auto"), *((row.title, row.id) for row in self.rows().values())]

    def loras(self) -> dict[str, LoraFile]:
        """The files of models/loras, looked for again now and then like the catalogue."""
        when, found = self._loras
        if time.monotonic() - when > ROWS_SECONDS:
            found = loras(self.settings)
            self._loras = (time.monotonic(), found)
        return found

    def look_again(self) -> None:
        """Forget what was found on disk: something was just written there."""
        self._rows, self._loras = (-1e9, {}), (-1e9, {})
        self._present.clear()

    def present(self, row: CheckpointRow) -> bool:
        """Whether the weights are on this machine."""
        if row.folder is not None:
            return True
        return self._remember(row.id, lambda: self.hub.present(row) is not None)

    def text_to_image_present(self) -> bool:
        """Whether the model that makes stills is on this machine."""
        return self._remember("text-to-image", lambda: self.hub.text_to_image_path() is not None)

    def ignored_by_stills(self) -> dict[str, str]:
        """Request field => why the model that makes stills takes no notice of it; empty while it is not here."""
        from ..text_to_image_info import ignored_fields

        folder = self.hub.text_to_image_path() if self.text_to_image_present() else None
        return ignored_fields(folder) if folder else {}

    def training(self) -> str:
        """The name of a fine-tuning run that works now, and holds the device that clips wait for; '' when none does."""
        from ..finetune.runs import TrainingRuns

        when, name = self._training
        if time.monotonic() - when > TRAINING_SECONDS:
            name = next((run.name for run in TrainingRuns(self.settings).all() if run.alive and run.status.works), "")
            self._training = (time.monotonic(), name)
        return name

    @property
    def remote(self) -> bool:
        """Whether visitors may be strangers, who are not told about the server's folders."""
        from .visitor import is_public

        return is_public(self.settings)

    def device(self) -> Device | None:
        return self.jobs.describe()

    def _remember(self, key: str, look: Callable[[], bool]) -> bool:
        when, value = self._present.get(key, (-1e9, False))
        if time.monotonic() - when > ROWS_SECONDS:
            value = look()
            self._present[key] = (time.monotonic(), value)
        return value


def uploaded(path: str) -> Path:
    """``path`` if gradio's own upload folder holds it; anything else a client may have named is refused."""
    from gradio.utils import get_upload_folder

    from ..errors import BadPicture

    root = Path(get_upload_folder()).resolve()
    file = Path(path).resolve()
    if not file.is_relative_to(root) or not file.is_file():
        raise BadPicture("Upload the file: paths on the server are not read.", field="image")
    return file
