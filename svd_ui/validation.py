"""Values from people -> a request, or one clear sentence about the field that is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from .errors import BadInput
from .migration import culprits, renamed
from .plugins import registry_of
from .request import GenerationRequest

__all__ = ["validate", "validated"]

Model = TypeVar("Model", bound=BaseModel)
Fields = Mapping[str, FieldInfo]


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
    title = info.title if info and info.title else str(field or "The request")
    given = _shown(error["input"])
    match kind:
        case "multiple_of":
            return f"{title} must be a multiple of {context['multiple_of']}; {given} is not."
        case "string_too_long":
            return f"{title} may have at most {context['max_length']} characters; this has {len(str(error['input']))}."
        case "too_long":
            return f"{title} takes {_nothing_or(context['max_length'])} in this release."
        case "literal_error":
            return f"{title} must be one of {_listed(_choices(info))}; {given} is not."
        case "missing":
            return f"{title} is needed."
        case "string_pattern_mismatch":
            return f"{title} may have letters, digits, spaces, '.', '_' and '-' only, and begins with one of the first two."
        case "string_type":
            return f"{title} must be text; {given} is not."
    if info and len(error["loc"]) == 1 and _numbers(info):
        return f"{title} must be {_expected(info)}; {given} is not."
    return f"{title} cannot be read: {given} is not what it takes."


def _expected(info: FieldInfo) -> str:
    """``a whole number from 1 to 255``: what the field's own annotation and bounds say."""
    what = "a whole number" if int in _numbers(info) else "a number"
    low = next((m.ge for m in info.metadata if hasattr(m, "ge")), None)
    high = next((m.le for m in info.metadata if hasattr(m, "le")), None)
    return what if low is None or high is None else f"{what} from {low} to {high}"


def _numbers(info: FieldInfo) -> set[type]:
    return {int, float} & {info.annotation, *get_args(info.annotation)}


def _choices(info: FieldInfo | None) -> Sequence[str]:
    """The words a Literal takes, None left out where the field may be blank."""
    if info is None:
        return []
    kinds = (info.annotation, *get_args(info.annotation))
    return [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]


def _unknown(name: str, fields: Fields) -> str:
    close = difflib.get_close_matches(name, fields, n=1)
    return f"There is no setting {_shown(name)}{f': did you mean {close[0]}?' if close else '.'}"


def _listed(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _nothing_or(count: int) -> str:
    return f"at most {count} entries" if count else "nothing yet"


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float) else ("blank" if value is None else "this value")
    return text if len(text) <= 40 else f"{text[:37]}..."
