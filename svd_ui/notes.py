"""Facts to tell people, as data: what happened, or why something was chosen; and their sentences, made where they are shown.

They are stored and travel as code and parameters, so that logic reads facts and another language only needs
another table of sentences.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic_core import to_jsonable_python


class Note(BaseModel):
    """``code`` names the fact and its sentence, ``params`` (plain JSON) fill it; a note may be a parameter of another.

    A package that adds something of its own brings its sentence along: ``Note.of("wobble.too_small", text="...")``.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    params: dict[str, Any] = {}

    @classmethod
    def of(cls, code: str, **params: Any) -> Self:
        return cls(code=code, params=params)

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        """Older releases stored sentences."""
        return {"code": "text", "params": {"text": value}} if isinstance(value, str) else value

    @field_validator("params", mode="before")
    @classmethod
    def _plain(cls, params: Any) -> Any:
        return to_jsonable_python(params)

    def __hash__(self) -> int:
        return hash(self.code)


def read_notes(values: Iterable[Any]) -> tuple[Note, ...]:
    """Stored notes of any release; what is no note of ours is shown as it is."""
    return tuple(_read(value) for value in values)


def _read(value: Any) -> Note:
    try:
        return Note.model_validate(value)
    except ValidationError:
        return Note.of("text", text=str(value))


# In words

LOCALE = Path(__file__).parent / "locale"
WORDS: dict[str, dict[str, Any]] = json.loads((LOCALE / "en.json").read_text("utf-8"))
"""The tables that another language replaces."""
SENTENCES: dict[str, str | list[str]] = WORDS["notes"]
"""By code of a note; a pair is for a ``count`` of one and of more."""

REMEDIES = {
    "profile": "use_profile",
    "decode_chunk_size": "decode_fewer",
    "width": "use_size",
    "num_frames": "use_frames",
}
"""Request field => the part of a remedy that changes it."""


def sentence(note: Note | None) -> str:
    """``note`` in words. Never fails: one that is not known here shows the text it brings, or its code."""
    if note is None:
        return ""
    template = SENTENCES.get(note.code)
    if isinstance(template, list):
        template = template[note.params.get("count") != 1]
    try:
        if template is not None:
            return template.format_map(_Words({name: _word(value) for name, value in note.params.items()})).strip()
    except Exception:  # parameters of another release, or from anywhere: as many ways to fail as there are values
        pass
    return str(note.params.get("text") or note.code)


def remedy(values: Mapping[str, Any]) -> str:
    """The change of these request fields, for a button: "Use the 6 GB profile and decode 2 frames at a time"."""
    params = {
        **values,
        "gigabytes": str(values.get("profile")).removesuffix("gb"),
        "count": values.get("decode_chunk_size"),
    }
    parts = [sentence(Note(code=code, params=params)) for name, code in REMEDIES.items() if name in values]
    text = " and ".join(parts)
    return text[:1].upper() + text[1:]


def size(count: float) -> str:
    """Bytes in powers of ten, as the hub counts them: ``4.5 GB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


class _Words(dict[str, Any]):
    """A parameter that is not there, such as a cost nobody knows, shows nothing."""

    def __missing__(self, name: str) -> str:
        return ""


def _word(value: Any) -> Any:
    """A note as its sentence, a list as its parts; anything else as it is, for the template to format."""
    if isinstance(value, list):
        separator = "; " if any(isinstance(part, dict) for part in value) else ", "
        return separator.join(str(_word(part)) for part in value)
    return sentence(Note.model_validate(value)) if isinstance(value, dict) else value
