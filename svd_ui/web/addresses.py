"""Where the page finds files; ``files.py`` serves them. Ready for an attribute: ``&`` is written ``&amp;``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..jobs import Job

Files = Callable[[Job, str], Path | None]
"""``Jobs.file``: which of a job's files are there."""


def still_url(ref: str, width: int, height: int, x: float, y: float) -> str:
    """A still exactly as the model sees it."""
    return f"svd/still/{ref.removeprefix('sha256:')}?w={width}&amp;h={height}&amp;x={x:.4f}&amp;y={y:.4f}"


def still_thumb(ref: str) -> str:
    """A still as it was given, small."""
    return f"svd/still/{ref.removeprefix('sha256:')}"


def clip_url(job: Job, name: str, download: bool = False) -> str:
    """A file of a job's result, by the name ``Jobs.file`` knows."""
    return f"svd/job/{job.id}/{name}" + ("?download=1" if download else "")
