"""Fields of a request that the form holds in other controls: what was folded for the page is unfolded for the request.

A group owns the controls whose names it gives. ``fold`` makes the request's field from their values, ``unfold`` the
values from a request's JSON; nothing else knows that ``method.camera.zoom`` is a field of a method.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from pydantic import ValidationError

from ...errors import BadInput
from ...loras import listed, written
from ...methods import METHODS
from ...plugins import Registry
from ...post import POST
from ...request import GenerationRequest, LoraRef, Wall
from ..controls import CLIP, Controls

Values = Mapping[str, Any]
IN_ORDER = ("plain", "camera", "lock", "drag", "brush", "end_frame", "loop", "extend")
"""Kinds as they are offered; those of packages follow, and then what few need."""
FOR_FEW = ("motion_strength",)


class Group(Protocol):
    """One field of a request, as controls of the form."""

    field: str

    def blank(self) -> dict[str, Any]:
        """Its controls when nobody has touched them."""

    def fold(self, values: Values) -> dict[str, Any]:
        """The request's field, left out where nothing was set."""

    def unfold(self, data: Any) -> dict[str, Any]:
        """Its controls for the field's JSON."""


@cache
def groups() -> tuple[Group, ...]:
    """Every group of the form."""
    return Loras(), Kinds("method", METHODS), Kinds("post", POST, several=True)


class Kinds:
    """Parameters chosen by ``kind`` from a registry.

    One of them is a choice ``<field>`` and controls ``<field>.<kind>.<name>``; of ``several`` each has a switch
    ``<field>.<kind>`` instead. Those that are on follow the order that ``<field>`` keeps of a restored request, then the
    registry's.
    """

    def __init__(self, field: str, registry: Registry[Any], several: bool = False) -> None:
        self.field, self.several = field, several
        known = dict(registry.classes())
        self.first = "plain" if "plain" in known else next(iter(known), "")
        """What does nothing more: plain, where there is such a kind."""
        order = {kind: place for place, kind in enumerate(IN_ORDER)}
        self.classes = {
            kind: known[kind]
            for kind in sorted(
                known, key=lambda kind: (kind in FOR_FEW, order.get(kind, len(order)), kind != self.first)
            )
        }
        self.of_kind = {kind: Controls(_parameters(cls), f"dial-{field}-{kind}") for kind, cls in self.classes.items()}

    def names(self, kind: str) -> dict[str, str]:
        """Control => the parameter of ``kind`` that it sets."""
        return {f"{self.field}.{kind}.{name}": name for name in self.of_kind[kind].fields}

    def shown(self, values: Values) -> dict[str, bool]:
        """The part of the page with a kind's parameters => whether that kind is chosen."""
        picked = values.get(self.field)
        on = {
            kind: bool(values.get(f"{self.field}.{kind}")) if self.several else kind == picked for kind in self.classes
        }
        return {f"{self.field}.{kind}.parameters": on[kind] for kind in self.classes if self.open and self.names(kind)}

    def blank(self) -> dict[str, Any]:
        return self.unfold(() if self.several else None)

    def fold(self, values: Values) -> dict[str, Any]:
        if self.several:
            kept = [kind for kind in str(values.get(self.field) or "").split(",") if kind in self.classes]
            order = dict.fromkeys([*kept, *self.classes])
            on = [self._of(kind, values) for kind in order if values.get(f"{self.field}.{kind}")]
            return {self.field: on} if on else {}
        kind = values.get(self.field)
        return {self.field: self._of(kind, values)} if kind in self.classes and kind != self.first else {}

    def unfold(self, data: Any) -> dict[str, Any]:
        given = {one["kind"]: one for one in (data if self.several else [data] if data else [])}
        known = {kind: one for kind, one in given.items() if kind in self.classes}
        chosen: dict[str, Any] = {self.field: next(iter(known), self.first)}
        if self.several:
            switches = {f"{self.field}.{kind}": kind in known for kind in self.classes}
            chosen = {self.field: ",".join(known), **switches}
        return {**chosen, **self._parameters(known)}

    @property
    def open(self) -> bool:
        """Whether there is something to choose."""
        return bool(self.classes) if self.several else len(self.classes) > 1

    def _of(self, kind: str, values: Values) -> dict[str, Any]:
        """The parameters of one kind, blank ones left to the kind."""
        given = {name: values.get(control) for control, name in self.names(kind).items()}
        return {"kind": kind, **{name: value for name, value in given.items() if value not in (None, "")}}

    def _parameters(self, given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Every parameter's control, for the kinds that are ``given`` with their values."""
        values: dict[str, Any] = {}
        for kind, controls in self.of_kind.items():
            for control, name in self.names(kind).items():
                value = given.get(kind, {}).get(name)
                values[control] = controls.blank(name) if value is None else value
        return values


def _parameters(cls: Any) -> dict[str, Any]:
    """The fields of a kind that a person sets."""
    return {name: info for name, info in cls.model_fields.items() if name != "kind"}


class Loras:
    """LoRAs as one text, ``slow pans:0.8, glow:1``, so that they travel like every other value; what is seen is a list."""

    field = "loras"

    def blank(self) -> dict[str, Any]:
        return {"loras": ""}

    def fold(self, values: Values) -> dict[str, Any]:
        """The request checks them."""
        pairs = listed(str(values.get("loras") or ""))
        return {"loras": [{"name": name, "weight": weight} for name, weight in pairs]} if pairs else {}

    def unfold(self, data: Any) -> dict[str, Any]:
        refs = (LoraRef.model_validate(lora) for lora in data or ())
        return {"loras": written({ref.name: ref.weight for ref in refs})}


WEIGHT = Controls(LoraRef.model_fields)


def weights(text: Any) -> dict[str, float]:
    """Name => weight of the LoRAs chosen; what is not a number counts as the default."""
    found = {}
    for one in Loras().fold({"loras": text}).get("loras", []):
        try:
            found[one["name"]] = float(one["weight"])
        except ValueError:
            found[one["name"]] = float(WEIGHT.blank("weight"))
    return found


def toggled(text: Any, name: str) -> str:
    """``text`` with the LoRA ``name`` added at the default weight, or taken out."""
    chosen = weights(text)
    if chosen.pop(name, None) is None:
        chosen[name] = float(WEIGHT.blank("weight"))
    return written(chosen)


def weighed(text: Any, name: str, weight: float) -> str:
    """``text`` with another weight, kept within the range, of a LoRA that is chosen."""
    chosen = weights(text)
    if name in chosen:
        allowed = WEIGHT["weight"]
        chosen[name] = min(allowed.high or 0.0, max(allowed.low or 0.0, weight))
    return written(chosen)


# The draft wall: only its own button folds it into a request

WALL = Controls(Wall.model_fields)
WALL_CONTROLS = {"seeds": "wall_seeds", "motion_bucket_ids": "wall_motions"}
"""Field of a wall -> control of the form."""


def wall_values(wall: Wall) -> dict[str, Any]:
    """A wall as its controls hold it."""
    return {"wall_seeds": wall.seeds, "wall_motions": ", ".join(map(str, wall.motion_bucket_ids))}


def wall_of(values: Values) -> Wall:
    """The wall its two controls describe. Raises BadInput naming the control."""
    motions = re.findall(r"[^\s,;]+", str(values.get("wall_motions") or ""))
    try:
        return Wall.model_validate({"seeds": values.get("wall_seeds"), "motion_bucket_ids": motions})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = str(first["loc"][0]) if first["loc"] else "motion_bucket_ids"
        raise BadInput(_sentence(at, first.get("ctx") or {}), field=WALL_CONTROLS[at]) from error


def _sentence(at: str, context: Mapping[str, Any]) -> str:
    if isinstance(context.get("error"), ValueError):
        return f"{context['error']}."
    if at == "seeds":
        return f"A whole number from {WALL[at].range}."
    return f"Up to {WALL[at].max_length} whole numbers, {CLIP['motion_bucket_id'].range}, with commas between them."


def with_wall(request: GenerationRequest, wall: Wall) -> GenerationRequest:
    """The request of a wall from that of a clip."""
    return request.model_copy(update={"wall": wall, "speed": "draft"})
