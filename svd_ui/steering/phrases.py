"""What is heard in a sentence about a clip's motion: one wish after the other, by rules, in English.

A sentence falls into clauses. In each, whole phrases are looked for first (lengths, loops, what is held), then things that
move by themselves, then moves of the camera; words of strength and direction belong to what stands nearest to them.
``words.py`` makes one clip of the wishes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

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


# The vocabulary

STRENGTHS: tuple[tuple[str, float], ...] = (
    (r"not (?:too|so|very|that) (?:fast|quick|strong|lively|wild|much|far)(?:ly)?", 0.5),
    (r"(?:very|really|super|extremely|ever so|so) (?:slow|slight|gentle|gently|subtle|subtly|soft|small|faint|calm|little)(?:ly)?", 0.25),
    (r"barely|hardly|a tiny bit|tiny|faint(?:ly)?", 0.25),
    (r"(?:very|really|super|extremely) (?:fast|quick|strong|big|far|lively|energetic|dynamic|wild|dramatic)(?:ly|ally)?", 2.0),
    (r"three times(?: as (?:far|much|fast))?|triple", 3.0),
    (r"twice(?: as (?:far|much|fast|strong))?|double|two times", 2.0),
    (r"half(?: as (?:far|much|fast))?(?: (?:speed|strength))?", 0.5),
    (r"dramatic(?:ally)?|extreme(?:ly)?|huge|massive|wild(?:ly)?|violent(?:ly)?|intense(?:ly)?|chaotic", 2.0),
    (r"slow(?:ly)?|gentl[ey]|subtl[ey]|slight(?:ly)?|soft(?:ly)?|lightly|small|a little(?: bit)?|a bit|little|less|minimal|delicate(?:ly)?", 0.5),
    (r"calm(?:ly)?|peaceful(?:ly)?|serene|quiet(?:ly)?|tranquil|relaxed", 0.5),
    (r"fast(?:er)?|quick(?:ly)?|rapid(?:ly)?|strong(?:ly)?|big|large|a lot(?: of)?|lots of|more|much|plenty of", 1.5),
    (r"lively|energetic(?:ally)?|dynamic(?:ally)?|vivid(?:ly)?|vigorous(?:ly)?", 1.5),
    (r"normal(?:ly)?|medium|moderate(?:ly)?", 1.0),
)  # fmt: skip
MOTIONS = {0.25: 30, 0.5: 60, 1.0: 127, 1.5: 180, 2.0: 220, 3.0: 255}
"""Strength of a word that is said of nothing in particular => Motion."""

LEFT, RIGHT, UP, DOWN = "left", "right", "up", "down"
ANGLES: dict[str, float] = {
    RIGHT: 0, LEFT: 180, UP: 90, DOWN: -90,
    "up right": 45, "up left": 135, "down right": -45, "down left": -135,
}  # fmt: skip
_TO = r"(?:(?:to|towards?|on|at) (?:the )?)?(?:the )?"
DIRECTIONS: tuple[tuple[str, str], ...] = (
    (r"(?:from )?(?:the )?left to (?:the )?right|from (?:the )?left", RIGHT),
    (r"(?:from )?(?:the )?right to (?:the )?left|from (?:the )?right", LEFT),
    (r"(?:from )?(?:the )?bottom to (?:the )?top", UP),
    (r"(?:from )?(?:the )?top to (?:the )?bottom", DOWN),
    (rf"{_TO}(?:upper|top|up|upwards?) {_TO}left", "up left"),
    (rf"{_TO}(?:upper|top|up|upwards?) {_TO}right", "up right"),
    (rf"{_TO}(?:lower|bottom|down|downwards?) {_TO}left", "down left"),
    (rf"{_TO}(?:lower|bottom|down|downwards?) {_TO}right", "down right"),
    (r"counter ?clockwise|anti ?clockwise", "counterclockwise"),
    (r"clockwise", "clockwise"),
    (rf"{_TO}left(?:wards?)?", LEFT),
    (rf"{_TO}right(?:wards?)?", RIGHT),
    (r"up(?:wards?)?", UP),
    (r"down(?:wards?)?", DOWN),
    (r"in(?:wards?)?|forwards?|closer|nearer|ahead", "in"),
    (r"(?:further|farther)(?: (?:away|back|out))?|out(?:wards?)?|back(?:wards?)?|away", "out"),
)

Ways = dict[str, tuple[str, ...]]
"""Direction => the moves by name that it means."""
_PAN: Ways = {LEFT: ("pan left",), RIGHT: ("pan right",), UP: ("tilt up",), DOWN: ("tilt down",)}
_PAN |= {f"{v} {h}": (f"pan {h}", f"tilt {v}") for v in (UP, DOWN) for h in (LEFT, RIGHT)}
_PUSH: Ways = {"in": ("push in",), "out": ("pull out",)}
_ROLL: Ways = {
    LEFT: ("roll left",), "counterclockwise": ("roll left",), RIGHT: ("roll right",), "clockwise": ("roll right",),
}  # fmt: skip
_RISE: Ways = {"": ("tilt up",), UP: ("tilt up",)}
_SINK: Ways = {"": ("tilt down",), DOWN: ("tilt down",)}
_ARC: Ways = {LEFT: ("arc left",), RIGHT: ("arc right",)}
VERBS: Mapping[str, Ways] = {
    **dict.fromkeys(("pan", "truck"), _PAN | _PUSH),
    **dict.fromkeys(("push", "approach"), _PAN | _PUSH | {"": ("push in",)}),
    **dict.fromkeys(("pull", "retreat"), _PAN | _PUSH | {"": ("pull out",)}),
    "zoom": _PUSH | {"": ("push in",)},
    "dolly": _PAN | {"in": ("dolly in",), "out": ("dolly out",), "": ("dolly in",)},
    "tilt": _PAN | {LEFT: ("roll left",), RIGHT: ("roll right",)},
    **dict.fromkeys(("crane", "pedestal", "jib", "boom"), _PAN | {"": ("tilt up",)}),
    **dict.fromkeys(("orbit", "circle", "revolve"), _ARC | {"": ("orbit",)}),
    "arc": _ARC | {"": ("arc right",)},
    "dutch": _ROLL | {"": ("roll right",)},
}
"""Words of the camera alone => by direction what they mean, at '' without one."""
SHARED: Mapping[str, Ways] = {
    **dict.fromkeys(
        ("move", "go", "come", "get", "drift", "glide", "fly", "slide", "track", "swing", "look", "scroll"),
        _PAN | _PUSH,
    ),
    **dict.fromkeys(("rise", "lift", "ascend"), _RISE),
    **dict.fromkeys(("descend", "sink", "lower"), _SINK),
    **dict.fromkeys(("roll", "rotate", "spin", "turn", "twist"), _ROLL),
}
"""Words that are said of other things too: they mean the camera where nothing else could be meant."""
CAMERA = r"camera|shot|view|lens|we"

NOUNS: tuple[tuple[str, str], ...] = (
    ("water", r"waters?|rivers?|seas?|oceans?|lakes?|streams?|brooks?|waterfalls?|fountains?|surf|ripples?|ponds?|tides?"),
    ("leaves", r"leaf|leaves|trees?|grass(?:es)?|hair|flowers?|branch(?:es)?|foliage|plants?|wheat|reeds?|meadows?|fur"),
    ("clouds", r"clouds?|sky|skies"),
    ("smoke", r"smoke|steam|fog|mist|haze|vapou?r"),
    ("water", r"waves?"),
)  # fmt: skip
STIRS = (
    r"drift|flow|sway|ripple|swirl|billow|wave|churn|rustle|flutter|blow|float|stream|shimmer|splash|crash|lap|"
    r"curl|surge|bob|breathe|stir|move|roll|rise|fall|go|run|rush|pass|glide|spread|sink|turn|spin|fly"
)
WHERE = (
    r"(?:from|over|across|along|towards?|to|on|at|into|through|past|above|around|behind|beside|of|near|by|under|below)"
)

_MOTION = r"motions?|movements?|action|moving|life"
_MOOD = r"calm(?:ly)?|peaceful|serene|quiet|tranquil|relaxed|lively|energetic|dynamic|vivid|vigorous|wild|chaotic"
"""What is said of a whole clip, where it is said of nothing in particular."""

_NUMBERS = {
    "half a": 0.5, "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "sixty": 60,
}  # fmt: skip
_NUMBER = rf"\d+(?:\.\d+)?|{'|'.join(_NUMBERS)}"
SECONDS = (
    rf"(?:(?:extend(?:ed|s)?|make|stretch|lengthen|it|this|the|clip|video|to|for|by|last(?:s|ing)?|over|about|around) )*"
    rf"(?P<number>{_NUMBER})(?P<unit>(?<=\d)s|(?<=\d) s| ?secs?| ?seconds?| ?mins?| ?minutes?)\b(?: (?:long|in length|clip|video|in total))*"
)
LONGER = r"(?:extend(?:ed)?(?: (?:it|the clip|the video))?|(?:make|much) (?:it )?longer|(?:a )?longer(?: clip| video)?)"
_STILL = r"(?:still|static|steady|fixed|locked(?: (?:off|down|in place))?|in place|put|frozen|held|motionless|as (?:it|they) (?:is|are)|where (?:it|they) (?:is|are))"
_REST = (
    r"(?:the )?(?:background|backdrop|scene(?:ry)?|surroundings|everything else|rest(?: of (?:the )?(?:picture|image|photo|scene))?|"
    r"landscape|environment|buildings?|ground|house|city)"
)
HOLDS = (
    rf"(?:hold|keep|lock|freeze|fix|pin|leave)(?:s|ing)? {_REST}(?: {_STILL})?",
    rf"{_REST} (?:is |is being |must |should |to )?(?:stays?|stands?|remains?|holds?|held|locked|frozen|fixed|static|still)(?: {_STILL})?",
    rf"(?:still|static|fixed|locked|frozen|held) {_REST}",
    r"background (?:lock|hold)",
    r"only (?:the |my )?(?:subject|person|man|woman|child|dog|cat|animal|car|foreground)s? (?:moves?|moving|should move)",
)
_SHOT = r"(?:the )?(?:camera|shot|frame|framing)"
STANDS = (
    rf"(?:hold|keep|lock|fix|freeze)(?:s|ing)? {_SHOT}(?: {_STILL})?",
    rf"{_SHOT} (?:is |must |should )?(?:stays?|stands?|remains?|holds?|static|still|fixed|locked)(?: {_STILL})?",
    r"(?:a )?(?:static|still|fixed|locked(?: (?:off|down))?|motionless|stationary|tripod) (?:camera|shot)",
    r"locked off|(?:on a |from a )?tripod",
)
NO_MOVE = (
    r"(?:no|without(?: any)?|zero) camera (?:movement|motion|moves?)",
    r"(?:no|without(?: any)?) (?:movement|motion|moves?) of the camera",
    r"(?:do not|don't|never) (?:let )?(?:move )?(?:the )?camera(?: move)?",
    r"(?:the )?camera (?:does not|doesn't|must not|should not|is not|isn't) (?:mov(?:e|ing))",
)
NOT_BACK = (
    rf"(?:do not|don't|never) move {_REST}",
    rf"{_REST} (?:does not|doesn't|do not|don't|must not|should not) move",
)
LOOPS = (
    r"(?:(?:a|an|in|into|as|it|make) )*(?:(?:seamless|perfect|endless|infinite|true|smooth)(?:ly)? )*loop(?:s|ed|ing|able)?\b(?: (?:for ?ever|endlessly|seamlessly|perfectly|smoothly))*",
    r"(?:plays?|repeats?|goes|runs?) (?:on )?(?:for ?ever|endlessly)",
    r"ends? (?:where|as) it (?:began|begins|started|starts)",
    r"seamless(?:ly)?|endless(?:ly)?",
)  # fmt: skip
_TO_END = (
    r"ends?|ending|finish(?:es|ing)?|arriv(?:es?|ing)|morph(?:s|ing)?|turn(?:s|ing)?|transition(?:s|ing)?|"
    r"transform(?:s|ing)?|blend(?:s|ing)?|dissolv(?:es?|ing)|chang(?:es?|ing)|go(?:es|ing)?"
)
_ANOTHER = (
    r"(?:(?:the|a|an|my|this) )?(?:(?:second|other|another|next|last|third|end|different|new) )*"
    r"(?:picture|photo(?:graph)?|image|frame|still|one)"
)
ENDS = (
    rf"(?:{_TO_END}) (?:up )?(?:on|at|in|into|with|to) {_ANOTHER}",
    r"(?:with an? |an? |the )?end frame",
)
EASES: tuple[tuple[str, str], ...] = (
    (r"eas(?:e|es|ed|ing) in (?:and|&) out|ease in out", "in-out"),
    (r"eas(?:e|es|ed|ing) in|(?:starts?|starting) slow(?:ly)?|accelerat(?:e|es|ing)|speed(?:s|ing)? up", "in"),
    (r"eas(?:e|es|ed|ing) out|(?:ends?|ending) slow(?:ly)?|decelerat(?:e|es|ing)|slow(?:s|ing)? down|(?:comes?|coming) to (?:a )?(?:stop|rest)", "out"),
    (r"linear(?:ly)?|(?:at )?(?:a )?(?:constant|even|steady|uniform) (?:speed|pace)", "linear"),
)  # fmt: skip
SPEEDS: tuple[tuple[str, str], ...] = (
    (r"(?:(?:as )?(?:a|an) )?(?:(?:quick|fast|rough) )?(?:draft|preview|test)(?: (?:first|quality|only))?", "draft"),
    (r"(?:in |at )?(?:full|best|highest?|top|exact) quality|exact(?:ly)?", "exact"),
    (r"(?:in )?fast mode|(?:quick|fast) render|speed fast", "fast"),
)
HANDHELD = r"(?:a )?(?:hand ?held|shak(?:y|es?|ing)|wobbl(?:y|es?|ing)|trembl(?:es?|ing)|jitter(?:s|y|ing)?)(?: (?:camera|shot|look|feel|footage))?"
STEADY = r"(?:a |the )?(?:steady|stable) (?:camera|shot|hand)|(?:the )?camera (?:is|stays|remains) (?:steady|stable)"
KEN_BURNS = r"(?:a |the )?ken burns(?: effect| move)?"
VERTIGO = r"(?:a |the )?(?:vertigo(?: effect| shot)?|dolly zoom|hitchcock(?: zoom| effect| shot)?|trombone shot)"
NOT = r"no|not|don't|do not|doesn't|does not|never|without|avoid|stop|isn't"
STOPWORDS = frozenset(
    """a an the and or of to on in at it its is are be by for with this that these please make made let just only some any i
    want would like should have has clip video picture image photo animate animation motion movement movements moving move moves
    camera shot view we us then while as so into from very really there here also too both all over around kind bit
    smooth smoothly steadily look feel effect scene through across along towards toward will can my me
    again around subject's s get give add use using do does when during whole time everything way goes go going out back
    wind breeze breezy windy keep her his their your""".split()
)


# Listening


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
            seconds = (_NUMBERS[number] if number in _NUMBERS else float(number)) * (
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
        led = self._has(CAMERA) or any(self._has(_inflected(verb)) for verb in VERBS)
        found: list[_Found] = []
        for match, name in nouns:
            before, after = self.plain[: match.start()], self.plain[match.end() :]
            stirs = _inflected(*STIRS.split("|"))
            moving = re.search(rf"\b(?:{stirs})\s+$", before) or re.match(rf"\s+(?:\w+\s+)?(?:{stirs})\b", after)
            if led and not moving:
                place = re.search(rf"\b{WHERE}\s+(?:\w+\s+)?$", before)
                self._blank(place.start() if place else match.start(), match.start())
                continue
            if any(one.wish.name == name for one in found):
                found[-1].reach(match.start(), match.end())
                continue
            found.append(_Found(match.start(), match.end(), Wish("without" if self._not else "effect", name)))
        for match in self._take(_inflected(*STIRS.split("|"))) if found and not led else ():
            min(found, key=lambda one: one.distance(match.start(), match.end())).reach(match.start(), match.end())
        for one in found if found and led else ():
            self._stirred(one)
        self._blow(found, directions, led)
        self._found += found

    def _stirred(self, one: _Found) -> None:
        """Beside a move of the camera, the word that says how it moves stands next to it."""
        stirs = _inflected(*STIRS.split("|"))
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
            for match in self._take(rf"{_inflected(verb)}(?: (?:the )?camera)?(?: (?:move|shot|angle))?"):
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
            ways = _PAN | _PUSH
            for match, name in [said for said in directions if said[1] in ways]:
                directions.remove((match, name))
                self._found += [_Found(match.start(), match.end(), Wish("move", move)) for move in ways[name]]

    def _strangers(self, verb: str) -> bool:
        """Whether something that is not known here may be what moves: ``the boat drifts left``."""
        match = re.search(rf"\b{_inflected(verb)}\b", self.left)
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
                about = re.match(rf"\s+(?:camera )?(?:{_MOTION})\b", self.plain[match.end() :])
                self._add(
                    match, Wish("motion", value=float(MOTIONS[value])), last=match.end() + (about.end() if about else 0)
                )
                self._take(r"action|life|energy|mood|atmosphere")

    def _of_before(self, strengths: list[tuple[re.Match[str], float]], before: list[Wish]) -> bool:
        """Whether nothing but words of strength are here, which then belong to the clause before: ``push in, slowly``."""
        moved = [wish for wish in before if wish.what in ("move", "effect", "handheld")]
        of_all = any(self._has(pattern) for pattern in (_MOOD, _MOTION))
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


def _inflected(*verbs: str) -> str:
    """A pattern of the forms of regular verbs, and of the few irregular ones used here."""
    forms = []
    for verb in verbs:
        stem, doubled = verb.removesuffix("e"), verb + verb[-1]
        forms += [verb, f"{verb}s", f"{verb}es", f"{stem}ing", f"{stem}ed", f"{doubled}ing", f"{doubled}ed"]
        forms += [f"{verb.removesuffix('y')}ies"] if verb.endswith("y") else []
    return f"(?:{'|'.join(sorted(forms, key=len, reverse=True))})"


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
