"""Words to a recipe: "slow push-in, hold the background" as fields of a request, each shown as a chip that can be removed.

Rules only, in English, without a network (``phrases.py`` is the vocabulary, ``hearing.py`` listens). A clip has one method: what fits it is joined,
and what does not is named with the reason, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from . import camera
from .camera import MOVES
from .hearing import Wish, heard

MOST_LETTERS = 500
LONGEST, SHORTEST = 60.0, 1.0
"""Seconds that a clip may be extended to."""
WITH_CAMERA = ("camera", "brush", "drag", "extend", "loop", "lock")
"""Methods with a camera's path, which all have it in ``camera``."""
METHOD_OF = {"end": "end_frame", "effect": "brush", "loop": "loop", "seconds": "extend", "hold": "lock"}
"""What is wished => the method that is about it."""
CHOOSING = {*METHOD_OF, "move", "handheld", "stands"}
"""Wishes that a method is chosen for."""
CALLED = {
    "camera": "a camera path", "brush": "the brush", "drag": "arrows", "extend": "a longer clip", "loop": "a loop",
    "lock": "a held background", "end_frame": "an end frame",
}  # fmt: skip
EFFECTS = {"water": "Water", "leaves": "Leaves", "clouds": "Clouds", "smoke": "Smoke"}
WAYS = {
    0: "right", 180: "left", 90: "up", -90: "down", 45: "upper right", 135: "upper left", -45: "lower right",
    -135: "lower left",
}  # fmt: skip
STANDS = "zoom=1"
"""A camera path on which nothing moves, where a blank one means the checkpoint's own."""

Wants = Literal["", "strokes", "picture"]


@dataclass(frozen=True)
class Chip:
    """One thing that was understood. ``id`` names it for ``recipe(text, without=...)``; ``source`` is the part of the text.

    ``sets`` are request fields by name, ``method`` its kind, ``method.brush.effect``; empty where it only says what is so
    anyway. ``wants`` is what a person has to add: strokes that say where, or a picture.
    """

    id: int
    text: str
    source: str
    sets: Mapping[str, Any] = field(default_factory=dict)
    wants: Wants = ""


@dataclass(frozen=True)
class Unused:
    """A part of the text that set nothing, and why; '' where it was not understood."""

    source: str
    why: str = ""

    def __str__(self) -> str:
        return f"Not used: {self.source}{f' ({self.why})' if self.why else ''}"


@dataclass(frozen=True)
class Recipe:
    """``values`` is a partial request: ``method``, ``motion_bucket_id`` and ``speed`` as far as they were spoken of."""

    chips: tuple[Chip, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)
    unknown: tuple[Unused, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As JSON: ``{"chips": [...], "values": {...}, "unknown": [...]}``."""
        return {
            "chips": [{**asdict(chip), "sets": dict(chip.sets)} for chip in self.chips],
            "values": self.values,
            "unknown": [asdict(one) for one in self.unknown],
        }


def recipe(text: str, without: Collection[int] = (), kind: str = "") -> Recipe:
    """What ``text`` asks for. ``without`` are ids of chips that were removed; ``kind`` is a method that is chosen already, which
    the words then fill.

    Raises ValueError with a sentence where the text is too long.
    """
    if len(text) > MOST_LETTERS:
        raise ValueError(f"describe the motion in at most {MOST_LETTERS} letters")
    found = heard(text)
    wishes = [(id, wish) for id, wish in enumerate(found.wishes) if id not in without]
    unknown = [Unused(source, why) for source, why in found.unknown]
    kept, unused = _agreed(wishes)
    chosen = kind or _kind(wish for _, wish in kept)
    unused += [(wish, why) for _, wish in kept if (why := _misfit(chosen, wish))]
    made = _Clip(text, chosen, [(id, wish) for id, wish in kept if not _misfit(chosen, wish)])
    chips = tuple(made.chips())
    unknown += [
        Unused(_part(text, wish), why if isinstance(why, str) else _against(text, wish, why)) for wish, why in unused
    ]
    if text.strip() and not (chips or unknown or without):
        unknown = [Unused(text.strip())]
    return Recipe(chips, made.values(), tuple(unknown))


Wishes = list[tuple[int, Wish]]


def _part(text: str, wish: Wish) -> str:
    return text[slice(*wish.at)]


def _against(text: str, wish: Wish, rival: Wish) -> str:
    if wish.what == rival.what == "effect":
        return "a brush has one effect"
    return f"it contradicts “{_part(text, rival)}”"


def _agreed(wishes: Wishes) -> tuple[Wishes, list[tuple[Wish, str | Wish]]]:
    """``wishes`` without those that contradict an earlier one, which come with it; what was said twice is there once."""
    kept: Wishes = []
    against: list[tuple[Wish, str | Wish]] = []
    for id, wish in wishes:
        rival = next((other for _, other in kept if _opposed(other, wish)), None)
        twin = next((at for at, (_, other) in enumerate(kept) if _same(other, wish)), None)
        if rival is not None:
            against.append((wish, rival))
        elif twin is None:
            kept.append((id, wish))
        elif wish.what == "effect":  # "clouds and sky drift left"
            first = kept[twin][1]
            angle = wish.angle if first.angle is None else first.angle
            joined = replace(first, angle=angle, value=max(first.value, wish.value), at=(first.at[0], wish.at[1]))
            kept[twin] = (kept[twin][0], joined)
    return kept, against


def _same(one: Wish, other: Wish) -> bool:
    if one.what != other.what:
        return False
    return one.what not in ("move", "without") or (one.name, one.part) == (other.name, other.part)


def _opposed(one: Wish, other: Wish) -> bool:
    """Whether two wishes cannot both be had, whatever the method."""
    pair = {one.what, other.what}
    if pair == {"move"}:
        return one.part == other.part and one.name != other.name and bool(_axes(one) & _axes(other))
    if pair in ({"stands", "move"}, {"stands", "handheld"}):
        return True
    if "without" in pair and pair != {"without"}:
        return _denies(one, other) if one.what == "without" else _denies(other, one)
    if pair == {"effect"}:
        return one.name != other.name or (None not in (one.angle, other.angle) and one.angle != other.angle)
    alone = ("seconds", "motion", "speed", "ease")
    return len(pair) == 1 and one.what in alone and (one.name, one.value) != (other.name, other.value)


def _axes(wish: Wish) -> set[str]:
    """What a move moves; a dolly and a push are moves along the same line."""
    return {"zoom"} if wish.name.split()[0] in ("push", "pull", "dolly", "vertigo") else {wish.name.split()[0]}


def _denies(denied: Wish, wanted: Wish) -> bool:
    """Whether "no zoom" speaks against a wish."""
    if wanted.what != "move":
        return denied.name == wanted.what or denied.name == wanted.name != ""
    lines = {
        "zoom": "zoom",
        "push": "zoom",
        "pull": "zoom",
        "dolly": "zoom",
        "truck": "pan",
        "crane": "tilt",
        "rotate": "roll",
    }
    return lines.get(denied.name, denied.name) in _axes(wanted)


def _kind(wishes: Iterable[Wish]) -> str:
    """The method for what is wished: the first that something is about, else what the camera does; '' for none.

    A brush holds the background too, and what it stirs loops; a camera that stands leaves the subject free.
    """
    whats: list[str] = [wish.what for wish in wishes]
    if "effect" in whats:
        whats = [what for what in whats if what not in ("hold", "loop")]
    about = next((METHOD_OF[what] for what in whats if what in METHOD_OF), "")
    if about:
        return about
    if "move" in whats or "handheld" in whats:
        return "camera"
    return "lock" if "stands" in whats else ""


def _misfit(kind: str, wish: Wish) -> str:
    """Why a method has no room for a wish; '' where it has."""
    what = wish.what
    if kind == "loop" and what == "handheld":
        return "a hand’s tremor does not end where it began"
    fits = {
        "move": kind in WITH_CAMERA, "handheld": kind in WITH_CAMERA, "ease": kind in WITH_CAMERA, "stands": kind in WITH_CAMERA,
        "hold": kind in ("lock", "brush", "drag"), "effect": kind == "brush", "seconds": kind == "extend",
        "loop": kind in ("loop", "brush"), "end": kind == "end_frame",
    }  # fmt: skip
    if fits.get(what, True):
        return ""
    if not kind:
        return "nothing is said that it could belong to"
    return f"a clip has one method, and here it is {CALLED.get(kind, kind.replace('_', ' '))}"


class _Clip:
    """The values of a request for wishes that agree and fit the method ``kind``."""

    def __init__(self, text: str, kind: str, wishes: Wishes) -> None:
        self.text, self.kind, self.wishes = text, kind, wishes
        self.loops = kind == "brush" and any(
            wish.what == "loop" for _, wish in wishes
        )  # a loop's own path comes back itself
        self.path_field = f"method.{kind}.camera"

    def values(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        method: dict[str, Any] = {"kind": self.kind}
        for chip in self.chips():
            for name, value in chip.sets.items():
                if name.startswith("method."):
                    method |= {} if name == self.path_field else {name.rsplit(".", 1)[1]: value}
                elif name != "method":
                    values[name] = value
        path = self._path()
        if self.kind in WITH_CAMERA and (path or self.kind == "camera"):
            method["camera"] = path
        return {"method": method, **values} if self.kind else values

    def chips(self) -> Iterator[Chip]:
        for id, wish in self.wishes:
            text, sets, wants = self._said(wish)
            about = METHOD_OF.get(wish.what, "camera" if wish.what in ("move", "handheld") else "lock")
            chooses = {"method": self.kind} if about == self.kind and wish.what in CHOOSING else {}
            yield Chip(id, text, _part(self.text, wish), {**chooses, **sets}, wants)

    def _said(self, wish: Wish) -> tuple[str, dict[str, Any], Wants]:
        """A chip's text, what it sets, and what it wants."""
        what, of = wish.what, f"method.{self.kind}"
        if what == "move":
            return _move_text(wish), {self.path_field: _entry(wish)}, ""
        if what == "handheld":
            return f"Handheld {_shake(wish):g}", {self.path_field: f"handheld={_shake(wish):g}"}, ""
        if what == "ease":
            return f"Ease {wish.name}", {self.path_field: f"ease={wish.name}"}, ""
        if what == "stands":
            return "The camera stands still", {self.path_field: STANDS} if self.kind in ("extend", "loop") else {}, ""
        if what == "hold":
            sets = {f"{of}.rest": "stays"} if self.kind == "drag" else {}
            return "The background stays", sets, ""
        if what == "effect":
            return self._effect(wish)
        if what == "seconds":
            seconds = min(max(wish.value, SHORTEST), LONGEST)
            limit = "" if seconds == wish.value else f", the {'most' if wish.value > seconds else 'least'} there is"
            return f"{seconds:g} second{'' if seconds == 1 else 's'}{limit}", {f"{of}.seconds": seconds}, ""
        if what == "end":
            return "Ends on another picture: choose it", {}, "picture"
        if what == "motion":
            return f"Motion {wish.value:g}", {"motion_bucket_id": int(wish.value)}, ""
        if what == "speed":
            return f"Speed {wish.name}", {"speed": wish.name}, ""
        return ("Loops", {}, "") if what == "loop" else (f"No {wish.name}", {}, "")

    def _effect(self, wish: Wish) -> tuple[str, dict[str, Any], Wants]:
        of = f"method.{self.kind}"
        sets: dict[str, Any] = {f"{of}.effect": wish.name}
        way = ""
        if wish.angle is not None:
            sets[f"{of}.angle"] = wish.angle
            way = f" to the {WAYS[int(wish.angle)]}" if wish.angle not in (90, -90) else f" {WAYS[int(wish.angle)]}"
        if wish.value != 1:
            sets[f"{of}.strength"] = min(wish.value, 4.0)
        much = "" if wish.value == 1 else f" ×{min(wish.value, 4.0):g}"
        return f"{EFFECTS[wish.name]}{way}{much}: paint where", sets, "strokes"

    def _path(self) -> str:
        """The camera's path in the words that ``camera.read`` reads; '' for none. Of a loop it comes back."""
        moves = [wish for _, wish in self.wishes if wish.what == "move"]
        parts = sorted({wish.part for wish in moves})
        legs = [", ".join(_entry(wish) for wish in moves if wish.part <= part) for part in parts]
        if self.loops and any(wish.name != "orbit" for wish in moves):
            legs.append(STANDS)
        keys = [f"{(at + 1) / len(legs):.3g}:{leg}" for at, leg in enumerate(legs)] if len(legs) > 1 else legs
        rest = [entry for _, wish in self.wishes if (entry := self._beside(wish, bool(moves)))]
        return "; ".join([*keys, *([", ".join(rest)] if rest else [])]) if len(keys) > 1 else ", ".join([*keys, *rest])

    def _beside(self, wish: Wish, moves: bool) -> str:
        if wish.what == "handheld":
            return f"handheld={_shake(wish):g}"
        if wish.what == "stands" and self.kind in ("extend", "loop"):
            return STANDS
        return f"ease={wish.name}" if wish.what == "ease" and wish.name != "in-out" and moves else ""


def _entry(wish: Wish) -> str:
    """A move as a camera path has it: ``push in*0.5``, ``zoom=1.2``."""
    if wish.amount:
        name, _, value = wish.amount.partition("=")
        low, high = camera.LIMITS[name]
        return f"{name}={min(max(float(value), low), high):g}"
    strength = min(wish.value, 4.0)
    return wish.name if strength == 1 else f"{wish.name}*{strength:g}"


def _move_text(wish: Wish) -> str:
    entry = _entry(wish)
    if "=" in entry:
        name, _, value = entry.partition("=")
        return f"{name.capitalize()} {value}"
    name, times, strength = entry.partition("*")
    assert name in MOVES, name
    return f"{name.capitalize()}{f' ×{strength}' if times else ''}"


def _shake(wish: Wish) -> float:
    """Half a hand's full tremor, as usual."""
    return min(0.5 * wish.value, 1.0)
