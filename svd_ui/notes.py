"""Facts to tell people, as data: what happened, or why something was chosen. ``sentences`` puts them into words.

They are stored and travel as code and parameters, so that logic reads facts and another language only needs
another table of sentences.
"""

from __future__ import annotations

from collections.abc import Iterable
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
