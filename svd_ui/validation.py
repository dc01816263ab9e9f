"""What a field takes, and values from people -> a request, or one clear sentence about the field that is wrong."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from .errors import BadInput
from .migration import culprits, renamed
from .notes import WORDS
from .plugins import registry_of
from .request import GenerationRequest

__all__ = ["FieldFacts", "validate", "validated"]

Model = TypeVar("Model", bound=BaseModel)
Fields = Mapping[str, FieldInfo]
SENTENCES: dict[str, str] = WORDS["values"]
"""By pydantic's type of an error; ``number`` and ``anything`` are for all others."""


@dataclass(frozen=True)
class FieldFacts:
    """What a field takes: the one place that reads annotations, for controls, flags, the API and messages.

    ``type`` is that of a value which is not blank; the bounds are None where the field has none.
    """

    type: Any
    may_be_blank: bool
    low: float | None
    high: float | None
    max_length: int | None

    @classmethod
    def of(cls, info: FieldInfo) -> FieldFacts:
        said = {name: getattr(item, name) for item in info.metadata for name in _LIMITS if hasattr(item, name)}
        limits = [said.get(name) for name in _LIMITS]
        return cls(_bare(info.annotation), type(None) in get_args(info.annotation), *limits)

    @property
    def several(self) -> bool:
        """Whether a value is a row of ``item``s."""
        return get_origin(self.type) is tuple

    @property
    def item(self) -> Any:
        """The type of one of several, or of the one there is."""
        return _bare(get_args(self.type)[0]) if self.several else self.type

    @property
    def model(self) -> type[BaseModel] | None:
        """The model whose fields a value, or each of several, has."""
        return self.item if isinstance(self.item, type) and issubclass(self.item, BaseModel) else None

    @property
    def choices(self) -> tuple[str, ...]:
        """The words to choose from; none where it is no choice."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def is_number(self) -> bool:
        return self.type in (int, float)

    @property
    def range(self) -> str:
        """``1 to 255``; '' without both bounds."""
        return "" if self.low is None or self.high is None else f"{self.low} to {self.high}"


_LIMITS = ("ge", "le", "max_length")


def _bare(annotation: Any) -> Any:
    """An annotation without None and what is said about it; the first type where there are several."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return _bare(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation


def validate(values: Mapping[str, Any]) -> GenerationRequest:
    """The clip that ``values`` describe. Raises BadInput that names the first field at fault, by its title."""
    return validated(GenerationRequest, values)


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """``values``, also under names that fields once had, as a ``model``. Raises BadInput as ``validate`` does."""
    values = renamed(model, values)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        if field is None:
            field = next(iter(culprits(model, values)), None)
        raise _of_kind(first, model.model_fields) or BadInput(
            _sentence(first, field, model.model_fields), field=field
        ) from error


def _of_kind(error: ErrorDetails, fields: Fields) -> BadInput | None:
    """What is wrong about a kind or its parameters, on ``<field>.<kind>.<parameter>``; None for any other field."""
    name, *place = error["loc"] or ("",)
    registry = registry_of(fields[str(name)]) if name in fields else None
    if registry is None:
        return None
    kinds = registry.classes()
    if error["type"] == "union_tag_invalid":
        tag = (error.get("ctx") or {}).get("tag")
        return BadInput(
            f"{fields[str(name)].title} has no kind {_shown(tag)}. Known: {', '.join(kinds)}.", field=str(name)
        )
    inside = [str(part) for part in place if isinstance(part, str)]
    if len(inside) < 2 or inside[0] not in kinds:
        return None
    own = kinds[inside[0]].model_fields
    return BadInput(_sentence({**error, "loc": (inside[1],)}, inside[1], own), field=".".join([str(name), *inside]))


def _sentence(error: ErrorDetails, field: str | None, fields: Fields) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "extra_forbidden":
        return _unknown(str(error["loc"][-1]), fields)
    if kind == "value_error":
        reason = str(context.get("error") or error["msg"])
        return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."
    info = fields.get(field or "")
    facts = FieldFacts.of(info) if info else None
    place = error["loc"]
    if facts is not None and facts.model is not None and len(place) > 1 and place[-1] in facts.model.model_fields:
        info = facts.model.model_fields[str(place[-1])]
        facts, place = FieldFacts.of(info), place[-1:]
    template = SENTENCES.get(kind)
    if template is None:
        is_number = facts is not None and facts.is_number and len(place) == 1
        template = SENTENCES["number" if is_number else "anything"]
    words = {
        **context,
        "title": info.title if info and info.title else str(field or "The request"),
        "given": _shown(error["input"]),
        "length": len(str(error["input"])),
        "choices": _listed(facts.choices) if facts else "",
        "number": _number(facts) if facts else "",
    }
    return template.format_map(words)


def _number(facts: FieldFacts) -> str:
    """``a whole number from 1 to 255``."""
    what = "a whole number" if facts.type is int else "a number"
    return f"{what} from {facts.range}" if facts.range else what


def _unknown(name: str, fields: Fields) -> str:
    close = difflib.get_close_matches(name, fields, n=1)
    return f"There is no setting {_shown(name)}{f': did you mean {close[0]}?' if close else '.'}"


def _listed(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float) else ("blank" if value is None else "this value")
    return text if len(text) <= 40 else f"{text[:37]}..."
