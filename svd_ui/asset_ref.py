"""How a request names a picture: by its content, never by a path."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator
from pydantic.fields import FieldInfo

REF = re.compile(r"sha256:[0-9a-f]{64}")


def checked_ref(value: str) -> str:
    """``value``. Raises ValueError where it names no kept picture."""
    if not REF.fullmatch(value):
        raise ValueError("pictures are named sha256:<64 hex digits>: upload the file instead of sending a path")
    return value


def timed(text: str) -> tuple[tuple[float, str], ...]:
    """``0.4=one; 0.7=another`` => (share of the clip, what is there), in the order of time.

    Raises ValueError with a sentence for anything else: each share lies between 0 and 1 and is there once.
    """
    found: dict[float, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        share, equals, what = (piece.strip() for piece in part.partition("="))
        try:
            time = float(share)
        except ValueError:
            time = 0.0
        if not (equals and what and 0 < time < 1):
            raise ValueError(f"a picture between is share=picture, such as 0.4={what or 'picture'}, not {part[:40]!r}")
        if time in found:
            raise ValueError(f"there are two pictures at {share}: give them different shares of the clip")
        found[time] = what
    return tuple(sorted(found.items()))


def _timed_refs(text: str) -> str:
    for _, ref in timed(text):
        checked_ref(ref)
    return text


AssetRef = Annotated[str, AfterValidator(checked_ref)]
"""A picture kept by ``assets.py``, named by its content; never a path."""
TimedRefs = Annotated[str, AfterValidator(_timed_refs)]
"""Pictures at shares of the clip, as ``timed`` reads them: ``0.4=sha256:...; 0.7=sha256:...``."""


def holds_pictures(info: FieldInfo) -> Literal["one", "several"] | None:
    """Whether a field holds an ``AssetRef`` or ``TimedRefs``; None where it holds no picture."""
    inner: tuple[Any, ...] = tuple(
        item for part in get_args(info.annotation) for item in getattr(part, "__metadata__", ())
    )
    said = (*info.metadata, *inner)
    if AfterValidator(checked_ref) in said:
        return "one"
    return "several" if AfterValidator(_timed_refs) in said else None
