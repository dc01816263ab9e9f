"""What is heard in a sentence about a clip's motion: one wish after the other, by rules.

A sentence falls into clauses. In each, whole phrases are looked for first (lengths, loops, what is held), then things that
move by themselves, then moves of the camera; words of strength and direction belong to what stands nearest to them.
``words.py`` makes one clip of the wishes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from .phrases import (
    ANGLES,
    CAMERA,
    DIRECTIONS,
    DOWN,
    EASES,
    ENDS,
    HANDHELD,
    HOLDS,
    KEN_BURNS,
    LEFT,
    LONGER,
    LOOPS,
    MOOD,
    MOTION,
    MOTIONS,
    NO_MOVE,
    NOT,
    NOT_BACK,
    NOUNS,
    NUMBERS,
    PAN,
    PUSH,
    RIGHT,
    SECONDS,
    SHARED,
    SPEEDS,
    STANDS,
    STEADY,
    STIRS,
    STOPWORDS,
    STRENGTHS,
    UP,
    VERBS,
    VERTIGO,
    WHERE,
    Ways,
    inflected,
)

What = Literal[
    "move", "handheld", "ease", "stands", "hold", "effect", "seconds", "loop", "end", "motion", "speed", "without"
]


@dataclass(frozen=True)
class Wish:
    """One thing that is wanted. ``at`` is the part of the text that it came from, its first letter and the one behind its last.

    ``name`` is the move, effect, ease or speed, or what is not wanted; ``value`` its strength (1 as usual), the seconds or the
    motion; ``amount`` the camera's own number where one was said; ``angle`` the direction of an effect, 0 right, 90 up; ``part``
    counts the moves that follow one another.
    """

    what: What
    name: str = ""
    value: float = 1.0
    amount: str = ""
    angle: float | None = None
    part: int = 0
    at: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Heard:
    """The wishes in the order of the text, and what was not understood: (part of the text, why)."""

    wishes: tuple[Wish, ...]
    unknown: tuple[tuple[str, str], ...]


def heard(text: str) -> Heard:
    """The wishes in ``text``. Nothing in it is an error: what means nothing here is in ``unknown``."""
    wishes: list[Wish] = []
    unknown: list[tuple[str, str]] = []
    before: list[Wish] = []
    for start, end, part in _clauses(text):
        clause = _Clause(text, start, end, part)
        found = clause.listen(before)
        if clause.of_those_before:
            changed = dict(zip(before, found, strict=True))
            wishes = [changed.get(wish, wish) for wish in wishes]
        else:
            wishes += found
        unknown += clause.unknown
        before = found or before
    return Heard(tuple(wishes), tuple(unknown))


def _plain(text: str) -> str:
    """In small letters, with spaces for dashes, every letter where it was."""
    small = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    return re.sub(r"[-–—_\s/]", " ", small.replace("’", "'"))


_SPLIT = re.compile(
    r"(?P<then>[,;.]?\s+(?:and )?(?:then|after that|afterwards|finally|followed by)\b,?)"
    r"|[,;:!?]+|\.(?= |$)|(?<!ease in)(?<!easing in)(?<!eases in)(?<!eased in) (?:and|while|whilst|but|plus)\b"
    r"|(?<!end)(?<!ends)(?<!ending)(?<!finish)(?<!finishes) with\b(?! a(?:n|nother)? (?:second|other|end))"
    r"| as\b(?! (?:far|much|fast|strong|well|if|long|a|an|it|they)\b)"
)


def _clauses(text: str) -> Iterator[tuple[int, int, int]]:
    """(start, end, part) of each clause; a ``then`` begins another part."""
    plain = _plain(text.replace("\n", ","))
    start = part = 0
    for cut in _SPLIT.finditer(plain):
        if plain[start : cut.start()].strip():
            yield start, cut.start(), part
        part += 1 if cut["then"] and plain[: cut.start()].strip() else 0
        start = cut.end()
    if plain[start:].strip():
        yield start, len(plain), part


@dataclass
class _Found:
    """Something of a clause, as far as it is known: the letters it lies at, and the wish."""

    first: int
    last: int
    wish: Wish

    def distance(self, first: int, last: int) -> float:
        """Letters between; what follows is a little nearer than what went before."""
        return first - self.last + 0.5 if first >= self.last else self.first - last

    def reach(self, first: int, last: int) -> None:
        self.first, self.last = min(self.first, first), max(self.last, last)


class _Clause:
    """``text[start:end]`` while it is listened to: letters that were understood become spaces in ``left``."""

    def __init__(self, text: str, start: int, end: int, part: int) -> None:
        self.text, self.start, self.part = text[start:end], start, part
        self.left = self.plain = _plain(self.text)
        self.unknown: list[tuple[str, str]] = []
        self.of_those_before = False
        self._found: list[_Found] = []
        self._not: re.Match[str] | None = None

    def listen(self, before: list[Wish]) -> list[Wish]:
        """The wishes of the clause. ``before`` are those of the last one, for a clause that goes on about them: ``pan left
        and up``, ``push in, slowly``; then they come back changed and ``of_those_before`` is set.
        """
        self._phrases()
        strengths = [(m, value) for pattern, value in STRENGTHS for m in self._take(pattern)]
        amounts = self._take(
            r"(?:by |to |of |about |around )?(?P<n>\d+(?:\.\d+)?) ?(?P<unit>%|percent|per cent|x|times|degrees?|deg|°)"
        )
        directions = [(m, name) for pattern, name in DIRECTIONS for m in self._take(pattern)]
        self._not = next(iter(self._take(NOT)), None)
        self._effects(directions)
        self._moves(directions, before)
        self._strengths(strengths, amounts, before)
        self._rest(directions)
        if self.of_those_before:
            return [found.wish for found in self._found]
        self._found.sort(key=lambda one: one.first)
        return [replace(one.wish, at=self._at(one.first, one.last), part=self.part) for one in self._found]

    # Phrases

    def _phrases(self) -> None:
        for pattern in (*NO_MOVE, *STANDS):
            self._wishes(pattern, "stands")
        for pattern in (*NOT_BACK, *HOLDS):
            self._wishes(pattern, "hold")
        for pattern in ENDS:
            self._wishes(pattern, "end")
        for match in self._take(SECONDS):
            number, unit = match["number"], match["unit"]
            seconds = (NUMBERS[number] if number in NUMBERS else float(number)) * (
                60 if unit.strip().startswith("m") else 1
            )
            self._add(match, Wish("seconds", value=seconds))
        for match in self._take(LONGER):
            self._add(match, Wish("seconds", value=8))
        for match in self._take(
            r"(?:motion|movement)(?: (?:of|at|bucket|to|is))* (?P<n>\d{1,3})(?![\d.%]| ?(?:%|percent|s\b|sec))"
        ):
            self._add(match, Wish("motion", value=min(max(int(match["n"]), 1), 255)))
        for pattern, name in SPEEDS:
            self._wishes(pattern, "speed", name)
        for pattern in LOOPS:
            self._wishes(pattern, "loop")
        for pattern, name in EASES:
            self._wishes(pattern, "ease", name)
        self._wishes(HANDHELD, "handheld")
        for match in self._take(STEADY):
            self._add(match, Wish("without", "handheld"))
        self._wishes(VERTIGO, "move", "vertigo")
        self._wishes(KEN_BURNS, "move", "push in")

    def _wishes(self, pattern: str, what: What, name: str = "") -> None:
        """A wish where ``pattern`` is found; after a "no", that it is not wanted."""
        for match in self._take(pattern):
            denied = re.search(rf"\b(?:{NOT})\s+(?:any )?(?:a )?$", self.plain[: match.start()])
            if denied and what in ("loop", "handheld", "move", "ease"):
                self._blank(denied.start(), match.start())
                self._add(match, Wish("without", name or what), denied.start())
            else:
                self._add(match, Wish(what, name))

    # What moves by itself

    def _effects(self, directions: list[tuple[re.Match[str], str]]) -> None:
        nouns = [
            (match, name) for name, pattern in NOUNS for match in self._take(rf"(?:the |some |my |all )*(?:{pattern})")
        ]
        nouns.sort(key=lambda one: one[0].start())
        nouns = [one for at, one in enumerate(nouns) if not (at and one[0][0] == "waves")]  # what hair does
        led = self._has(CAMERA) or any(self._has(inflected(verb)) for verb in VERBS)
        found: list[_Found] = []
        for match, name in nouns:
            before, after = self.plain[: match.start()], self.plain[match.end() :]
            stirs = inflected(*STIRS.split("|"))
            moving = re.search(rf"\b(?:{stirs})\s+$", before) or re.match(rf"\s+(?:\w+\s+)?(?:{stirs})\b", after)
            if led and not moving:
                place = re.search(rf"\b{WHERE}\s+(?:\w+\s+)?$", before)
                self._blank(place.start() if place else match.start(), match.start())
                continue
            if any(one.wish.name == name for one in found):
                found[-1].reach(match.start(), match.end())
                continue
            found.append(_Found(match.start(), match.end(), Wish("without" if self._not else "effect", name)))
        for match in self._take(inflected(*STIRS.split("|"))) if found and not led else ():
            min(found, key=lambda one: one.distance(match.start(), match.end())).reach(match.start(), match.end())
        for one in found if found and led else ():
            self._stirred(one)
        self._blow(found, directions, led)
        self._found += found

    def _stirred(self, one: _Found) -> None:
        """Beside a move of the camera, the word that says how it moves stands next to it."""
        stirs = inflected(*STIRS.split("|"))
        for match in re.finditer(rf"\b(?:{stirs})\b", self.left):
            if 0 <= one.first - match.end() <= 1 or 0 <= match.start() - one.last <= 14:
                self._blank(match.start(), match.end())
                one.reach(match.start(), match.end())
                return

    def _blow(self, found: list[_Found], directions: list[tuple[re.Match[str], str]], led: bool) -> None:
        """The direction nearest to each effect: behind it, where the camera has directions too."""
        for one in found:
            near = [
                (match, name)
                for match, name in directions
                if name in ANGLES and (not led or 0 <= match.start() - one.last <= 8)
            ]
            if near:
                match, name = min(near, key=lambda said: one.distance(said[0].start(), said[0].end()))
                directions.remove((match, name))
                one.reach(match.start(), match.end())
                one.wish = replace(one.wish, angle=ANGLES[name])

    # The camera

    def _moves(self, directions: list[tuple[re.Match[str], str]], before: list[Wish]) -> None:
        camera = self._has(CAMERA)
        of_others = any(one.wish.what == "effect" for one in self._found)
        for verb, meanings in (*VERBS.items(), *SHARED.items()):
            if verb in SHARED and not camera and (of_others or self._strangers(verb)):
                continue
            for match in self._take(rf"{inflected(verb)}(?: (?:the )?camera)?(?: (?:move|shot|angle))?"):
                self._move(match, verb, meanings, directions)
        if not self._found and directions:
            self._go_on(directions, before)

    def _move(
        self,
        match: re.Match[str],
        verb: str,
        meanings: Ways,
        directions: list[tuple[re.Match[str], str]],
    ) -> None:
        one = _Found(match.start(), match.end(), Wish("move"))
        said = [(place, name) for place, name in directions if name in meanings]
        name = ""
        if said:
            place, name = min(said, key=lambda said: one.distance(said[0].start(), said[0].end()))
            directions.remove((place, name))
            one.reach(place.start(), place.end())
        led = re.search(r"(?:\bthe )?\bcamera (?:\w+ly )?$", self.plain[: one.first])
        one.reach(led.start() if led else one.first, one.last)
        if self._not:
            self._found.append(_Found(min(one.first, self._not.start()), one.last, Wish("without", verb)))
        elif name in meanings:
            self._found += [_Found(one.first, one.last, Wish("move", move)) for move in meanings[name]]
        elif verb in VERBS or self._has(CAMERA):
            ways = ", ".join(_ways(meanings))
            self.unknown.append((self.text[one.first : one.last].strip(), f"say which way: {ways}"))
        else:
            self._restore(match)

    def _go_on(self, directions: list[tuple[re.Match[str], str]], before: list[Wish]) -> None:
        """A direction alone, after a move: ``pan left and up``."""
        if any(wish.what == "move" for wish in before) and not re.search(r"[a-z]", self._bare()):
            ways = PAN | PUSH
            for match, name in [said for said in directions if said[1] in ways]:
                directions.remove((match, name))
                self._found += [_Found(match.start(), match.end(), Wish("move", move)) for move in ways[name]]

    def _strangers(self, verb: str) -> bool:
        """Whether something that is not known here may be what moves: ``the boat drifts left``."""
        match = re.search(rf"\b{inflected(verb)}\b", self.left)
        words = re.findall(r"[\w']+", self.left[: match.start()]) if match else []
        return any(word not in STOPWORDS for word in words)

    # How much

    def _strengths(
        self, strengths: list[tuple[re.Match[str], float]], amounts: list[re.Match[str]], before: list[Wish]
    ) -> None:
        targets = [one for one in self._found if one.wish.what in ("move", "effect", "handheld")]
        for match in amounts:
            moves = [one for one in targets if one.wish.what != "handheld"]
            if moves:
                one = min(moves, key=lambda one: one.distance(match.start(), match.end()))
                one.wish = _by_amount(one.wish, float(match["n"]), match["unit"], match[0].startswith("to "))
                one.reach(match.start(), match.end())
            else:
                much = float(match["n"]) / 100
                self._add(match, Wish("motion", value=float(min(max(round(255 * much), 1), 255))))
        if not targets and strengths and self._of_before(strengths, before):
            return
        for match, value in strengths:
            if targets:
                one = min(targets, key=lambda one: one.distance(match.start(), match.end()))
                shared = [other for other in targets if (other.first, other.last) == (one.first, one.last)]
                for other in shared:
                    other.wish = replace(other.wish, value=value)
                    other.reach(match.start(), match.end())
            elif not self._found or all(one.wish.what in ("loop", "seconds") for one in self._found):
                about = re.match(rf"\s+(?:camera )?(?:{MOTION})\b", self.plain[match.end() :])
                self._add(
                    match, Wish("motion", value=float(MOTIONS[value])), last=match.end() + (about.end() if about else 0)
                )
                self._take(r"action|life|energy|mood|atmosphere")

    def _of_before(self, strengths: list[tuple[re.Match[str], float]], before: list[Wish]) -> bool:
        """Whether nothing but words of strength are here, which then belong to the clause before: ``push in, slowly``."""
        moved = [wish for wish in before if wish.what in ("move", "effect", "handheld")]
        of_all = any(self._has(pattern) for pattern in (MOOD, MOTION))
        if of_all or not moved or self._found or re.search(r"[a-z]", self._bare()):
            return False
        self.of_those_before = True
        value, end = strengths[-1][1], self.start + strengths[-1][0].end()
        self._found = [
            _Found(0, 0, replace(wish, value=value, at=(wish.at[0], end)) if wish in moved else wish) for wish in before
        ]
        return True

    # What is left

    def _rest(self, directions: list[tuple[re.Match[str], str]]) -> None:
        for match, name in directions:
            if name not in ("in", "out"):
                self._restore(match)
        words = [match for match in re.finditer(r"[\w'%°]+", self.left) if match[0] not in STOPWORDS]
        if not words and (self._found or not self._not):
            return
        if self._found:
            self.unknown.append((" ".join(self.text[word.start() : word.end()] for word in words), ""))
        else:
            self.unknown.append((self.text.strip(" .,;:!?"), ""))

    def _bare(self) -> str:
        """What is not understood by now, without the words that say nothing."""
        return " ".join(word for word in re.findall(r"[\w']+", self.left) if word not in STOPWORDS)

    # Letters

    def _take(self, pattern: str) -> list[re.Match[str]]:
        found = list(re.finditer(rf"(?<![\w'])(?:{pattern})(?![\w'])", self.left))
        for match in found:
            self._blank(match.start(), match.end())
        return found

    def _has(self, pattern: str) -> bool:
        return bool(re.search(rf"\b(?:{pattern})\b", self.plain))

    def _blank(self, first: int, last: int) -> None:
        self.left = self.left[:first] + " " * (last - first) + self.left[last:]

    def _restore(self, match: re.Match[str]) -> None:
        self.left = self.left[: match.start()] + match[0] + self.left[match.end() :]

    def _add(self, match: re.Match[str], wish: Wish, first: int | None = None, last: int | None = None) -> None:
        self._found.append(_Found(match.start() if first is None else first, last or match.end(), wish))

    def _at(self, first: int, last: int) -> tuple[int, int]:
        """In the whole text, without spaces around."""
        inner = self.text[first:last]
        first += len(inner) - len(inner.lstrip())
        return self.start + first, self.start + first + len(inner.strip())


def _ways(meanings: Ways) -> list[str]:
    return [name for name in meanings if name in (LEFT, RIGHT, UP, DOWN)]


def _by_amount(wish: Wish, number: float, unit: str, to: bool) -> Wish:
    """``zoom in 20%`` => ``zoom=1.2``: the camera's own numbers, where they were said."""
    if wish.what == "effect":
        return replace(wish, value=number / 100 if unit.startswith(("%", "per")) else number)
    axis, _, way = wish.name.partition(" ")
    sign = -1 if way in (LEFT, DOWN, "out") else 1
    if axis in ("push", "pull", "dolly"):
        name = "dolly" if axis == "dolly" else "zoom"
        if unit in ("x", "times"):
            much = number if sign > 0 else 1 / number if number else 1.0
        else:
            much = number / 100 if to else 1 + sign * number / 100
        return replace(wish, amount=f"{name}={much:g}")
    if axis in ("pan", "tilt", "arc") and unit.startswith(("%", "per")):
        return replace(wish, amount=f"{axis}={sign * number / 100:g}")
    if axis == "roll" and not unit.startswith(("%", "per", "x", "times")):
        return replace(wish, amount=f"roll={sign * number:g}")
    return replace(wish, value=number / 100 if unit.startswith(("%", "per")) else number)
