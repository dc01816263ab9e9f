"""Which checkpoints there are: the embedded one, what was found on this machine, those on the hub."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from ..errors import BadInput
from ..loras import SHOWN, clean
from ..model_dirs import Trouble
from ..notes import sentence
from ..plugins import CHECKPOINTS, Plugin, load
from ..settings import REPOSITORY, Settings
from .checkpoint import ANIMATE_LCM, STABILITY_ROWS, CheckpointRow
from .discovery import discover
from .families import family_of
from .local_rows import folder_row, trouble_of

log = logging.getLogger(__name__)
NANO = REPOSITORY / "assets" / "nano"


def nano_row() -> CheckpointRow:
    """The embedded preview model; its own ``svd_ui.json`` holds its numbers."""
    return folder_row(
        NANO,
        id="nano",
        title="nano (preview, embedded)",
        rank=0,
        licence="Apache-2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        note="Small and quick on any machine: it moves the camera over the picture. Nothing is invented, nobody walks.",
    )


@cache
def added_rows() -> tuple[CheckpointRow, ...]:
    """Rows of other packages: an entry point of ``svd_ui.checkpoints`` is a row, rows, or a function that returns them.

    A module is asked for its function ``rows``; it may have none where all it does is to register a family.
    """
    return tuple(row for plugin in load(CHECKPOINTS) for row in _rows_of(plugin))


def _rows_of(plugin: Plugin) -> tuple[CheckpointRow, ...]:
    given = plugin.loaded
    try:
        given = getattr(given, "rows", ()) if isinstance(given, ModuleType) else given
        given = given() if callable(given) else given
        rows = (given,) if isinstance(given, CheckpointRow) else tuple(given or ())
        for row in rows:
            family_of(row).check_row(row)
        return rows
    except Exception as error:  # as many kinds of failure as there are packages
        log.warning("the checkpoints of %s were left out", plugin.value, exc_info=error)
        return ()


@dataclass(frozen=True)
class Survey:
    """The catalogue as things are now: every row by id, and what lies in a place for models and cannot be one."""

    rows: dict[str, CheckpointRow]
    refused: tuple[Trouble, ...]


_SEEN: ContextVar[dict[int, tuple[Settings, Survey]] | None] = ContextVar("svd_ui_survey", default=None)


@contextmanager
def one_look() -> Iterator[None]:
    """Within the block the places for models are looked at once, however often somebody asks: a press on the page asks ten times."""
    token = _SEEN.set({})
    try:
        yield
    finally:
        _SEEN.reset(token)


def survey(settings: Settings) -> Survey:
    """Look around: nano, what was found, what is on the hub, other packages'. Of two equal names the first that can be used wins.

    Two folders of one name are told apart by where they are.
    """
    seen = _SEEN.get()
    if seen is None:
        return _survey(settings)
    if id(settings) not in seen:
        seen[id(settings)] = settings, _survey(settings)  # kept, so that nobody else gets its id meanwhile
    return seen[id(settings)][1]


def _survey(settings: Settings) -> Survey:
    rows: dict[str, CheckpointRow] = {}
    if (NANO / "model_index.json").is_file():
        rows["nano"] = nano_row()
    found = discover(settings)
    usable = {row.path: trouble_of(row) is None for row in found.rows}
    for row in sorted(found.rows, key=lambda row: not usable[row.path]):
        known = rows.get(row.id)
        if known is not None and row.path is not None:
            row = row.model_copy(
                update={"id": f"{row.id}@{_digest(row)}", "title": f"{row.title} in {row.path.parent.name}"}
            )
        rows.setdefault(row.id, row)
    for row in (*STABILITY_ROWS, ANIMATE_LCM, *added_rows()):
        here = [one for one in found.rows if one.same_as == row.id and usable[one.path]]
        places_here = {"sources": tuple(one.path for one in here)}
        # Of what is made of two parts, the rest is all that is missing.
        rest = {"download_bytes": here[0].download_bytes} if here and row.unet_file else {}
        rows.setdefault(row.id, row.model_copy(update=places_here | rest))
    return Survey(rows, tuple(found.refused))


def _digest(row: CheckpointRow) -> str:
    return hashlib.sha256(str(row.path).encode()).hexdigest()[:6]


def checkpoints(settings: Settings) -> dict[str, CheckpointRow]:
    """All rows by id, usable or not."""
    return survey(settings).rows


def find_checkpoint(settings: Settings, id: str) -> CheckpointRow:
    """The row that ``id`` (not ``auto``) names, of what lies here also by its file's name or its place.

    Raises BadInput with the known names, or why what has that name is refused.
    """
    found, id = survey(settings), clean(id)
    for wanted in (id, f"local:{id}"):
        if wanted in found.rows:
            return found.rows[wanted]
    for row in found.rows.values():
        if id == f"{row.id}@{_digest(row)}":  # it had a namesake once
            return row
    for path, row in ((row.path, row) for row in found.rows.values() if row.path is not None):
        if _is_called(path, id):
            return row
    for trouble in found.refused:
        if id.removeprefix("local:") == trouble.path.stem or _is_called(trouble.path, id):
            raise BadInput(sentence(trouble.why), field="checkpoint")
    near = [known for known in found.rows if id.casefold() in known.casefold()] or list(found.rows)
    more = f" and {len(near) - SHOWN} more, see 'python -m svd_ui models list'" if len(near) > SHOWN else ""
    raise BadInput(f"There is no checkpoint '{id}'. Known: {', '.join(near[:SHOWN])}{more}.", field="checkpoint")


def _is_called(path: Path, id: str) -> bool:
    """Whether ``id`` is the name of a file or folder, or leads to it; by its letters alone, the disk is not asked."""
    place = os.path.abspath(os.path.expanduser(id))
    return id.removeprefix("local:") == clean(path.name) or place == clean(os.path.abspath(path))
