"""Gradio's folder of uploads, which is also all that it serves: what came in is swept, what was handed out goes with its job."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

HANDED_OUT = "jobs"


def folder() -> Path:
    from gradio.utils import get_upload_folder

    return Path(get_upload_folder())


def handed_out(id: str, path: Path) -> Path | None:
    """The file of job ``id`` where gradio may serve it: a second name for it, a copy where the disk has none; None if it is gone.

    A preview that was written anew is handed out anew.
    """
    place = folder() / HANDED_OUT / id / path.name
    with suppress(OSError):
        if place.samefile(path):
            return place
    temporary = place.with_name(f".{time.monotonic_ns()}-{path.name}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
        os.replace(temporary, place)
    except OSError:
        return None
    return place


def forget_copies(id: str) -> None:
    """Remove what was handed out of a job."""
    shutil.rmtree(folder() / HANDED_OUT / id, ignore_errors=True)


def sweep(before: float) -> int:
    """Remove what came in, or was handed out, before this time (seconds since 1970); returns how many files.

    A second name has its file's time, so what was handed out goes by the time of its folder.
    """
    removed = 0
    for root, _, names in os.walk(folder(), topdown=False):
        place = Path(root)
        with suppress(OSError):
            old = place.stat().st_mtime < before
            for name in names:
                handed = HANDED_OUT in place.relative_to(folder()).parts
                if old if handed else (place / name).lstat().st_mtime < before:
                    (place / name).unlink()
                    removed += 1
            if old and place != folder():
                place.rmdir()  # fails while something is in it
    return removed
