"""Every picture that a request speaks of: the one to animate, and those of its method and finishing steps.

Whoever asks which pictures are in use, must be here, or come in from outside asks here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from .asset_ref import holds_pictures, timed
from .assets import Assets
from .errors import BadInput, BadPicture, NotFound
from .plugins import Params, Registry, registry_of
from .request import GenerationRequest


@dataclass(frozen=True)
class Place:
    """Where a request holds a picture: ``field`` as errors name it, ``image`` or ``method.end_frame.keys``, ``title`` for people.

    ``kind`` and ``name`` are those of a parameter; '' for the picture to animate.
    """

    field: str
    title: str
    kind: str = ""
    name: str = ""


IMAGE = Place("image", "Picture")


def pictures(request: GenerationRequest) -> tuple[tuple[Place, str], ...]:
    """(place, ref) of every picture of ``request``, the one to animate first."""
    found = [] if request.image is None else [(IMAGE, request.image)]
    for field, registry in _fields_of_kinds():
        value = getattr(request, field)
        for params in value if isinstance(value, tuple) else (value,):
            for place, info in _places(field, registry, params.kind):
                found += [(place, ref) for ref in _refs(info, getattr(params, place.name))]
    return tuple(found)


def require(assets: Assets, request: GenerationRequest) -> None:
    """Raises BadInput that names the first picture that is not kept here, BadPicture for one that was damaged."""
    for place, ref in pictures(request):
        called = "The picture" if place is IMAGE else f"{place.title}: the picture"
        try:
            assets.path(ref)
        except NotFound as error:
            raise BadInput(f"{called} is gone: add it again.", field=place.field) from error
        except BadPicture as error:
            raise BadPicture(error.message, field=place.field) from error


def missing(assets: Assets, request: GenerationRequest) -> tuple[Place, ...]:
    """Where ``request`` speaks of a picture that is not here, or is damaged."""
    gone = []
    for place, ref in pictures(request):
        try:
            assets.path(ref)
        except (NotFound, BadPicture):
            gone.append(place)
    return tuple(gone)


Take = Callable[[Place, Any], str]
"""What somebody gave for a picture => its ref."""


def taken(values: Mapping[str, Any], take: Take) -> dict[str, Any]:
    """``values`` of a request with the pictures of its method and steps taken in, where they are no refs yet.

    Pictures at shares of the clip are a text, ``0.4=mid.jpg; 0.7=c.jpg``, or a mapping, ``{"0.4": upload}``. What is wrong in
    any other way is left for ``validate`` to say.
    """
    found = dict(values)
    for field, registry in _fields_of_kinds():
        given = found.get(field)
        if isinstance(given, Mapping):
            found[field] = _taken(field, registry, given, take)
        elif isinstance(given, list | tuple):
            found[field] = [_taken(field, registry, one, take) for one in given]
    return found


def _taken(field: str, registry: Registry[Any], given: Any, take: Take) -> Any:
    if not isinstance(given, Mapping):
        return given
    entry = dict(given)
    for place, info in _places(field, registry, str(entry.get("kind"))):
        value = entry.get(place.name)
        if value is None or value == "":
            continue
        entry[place.name] = (
            _several(place, value, take) if holds_pictures(info) == "several" else _one(place, value, take)
        )
    return entry


def _one(place: Place, value: Any, take: Take) -> str:
    return value if isinstance(value, str) and value.startswith("sha256:") else take(place, value)


def _several(place: Place, value: Any, take: Take) -> str:
    try:
        parts = value.items() if isinstance(value, Mapping) else timed(str(value))
    except ValueError as error:
        said = str(error)
        raise BadInput(f"{said[:1].upper()}{said[1:]}.", field=place.field) from error
    return "; ".join(f"{share}={_one(place, what, take)}" for share, what in parts)


def _fields_of_kinds() -> Iterator[tuple[str, Registry[Any]]]:
    for field, info in GenerationRequest.model_fields.items():
        registry = registry_of(info)
        if registry is not None:
            yield field, registry


def _places(field: str, registry: Registry[Any], kind: str) -> list[tuple[Place, FieldInfo]]:
    """Where a kind holds pictures."""
    cls: type[Params] | None = registry.classes().get(kind)
    return [
        (Place(f"{field}.{kind}.{name}", info.title or name, kind, name), info)
        for name, info in (cls.model_fields.items() if cls else ())
        if holds_pictures(info)
    ]


def _refs(info: FieldInfo, value: str | None) -> tuple[str, ...]:
    if not value:
        return ()
    return tuple(ref for _, ref in timed(value)) if holds_pictures(info) == "several" else (value,)
