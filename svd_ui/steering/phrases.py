"""The words that are understood when a person says what should move: patterns, in English, and what each means.

All of them are looked for in small letters, with spaces for dashes. ``hearing.py`` says in which order.
"""

from __future__ import annotations

from collections.abc import Mapping

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
PAN: Ways = {LEFT: ("pan left",), RIGHT: ("pan right",), UP: ("tilt up",), DOWN: ("tilt down",)}
PAN |= {f"{v} {h}": (f"pan {h}", f"tilt {v}") for v in (UP, DOWN) for h in (LEFT, RIGHT)}
PUSH: Ways = {"in": ("push in",), "out": ("pull out",)}
_ROLL: Ways = {
    LEFT: ("roll left",), "counterclockwise": ("roll left",), RIGHT: ("roll right",), "clockwise": ("roll right",),
}  # fmt: skip
_RISE: Ways = {"": ("tilt up",), UP: ("tilt up",)}
_SINK: Ways = {"": ("tilt down",), DOWN: ("tilt down",)}
_ARC: Ways = {LEFT: ("arc left",), RIGHT: ("arc right",)}
VERBS: Mapping[str, Ways] = {
    **dict.fromkeys(("pan", "truck"), PAN | PUSH),
    **dict.fromkeys(("push", "approach"), PAN | PUSH | {"": ("push in",)}),
    **dict.fromkeys(("pull", "retreat"), PAN | PUSH | {"": ("pull out",)}),
    "zoom": PUSH | {"": ("push in",)},
    "dolly": PAN | {"in": ("dolly in",), "out": ("dolly out",), "": ("dolly in",)},
    "tilt": PAN | {LEFT: ("roll left",), RIGHT: ("roll right",)},
    **dict.fromkeys(("crane", "pedestal", "jib", "boom"), PAN | {"": ("tilt up",)}),
    **dict.fromkeys(("orbit", "circle", "revolve"), _ARC | {"": ("orbit",)}),
    "arc": _ARC | {"": ("arc right",)},
    "dutch": _ROLL | {"": ("roll right",)},
}
"""Words of the camera alone => by direction what they mean, at '' without one."""
SHARED: Mapping[str, Ways] = {
    **dict.fromkeys(
        ("move", "go", "come", "get", "drift", "glide", "fly", "slide", "track", "swing", "look", "scroll"),
        PAN | PUSH,
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

MOTION = r"motions?|movements?|action|moving|life"
MOOD = r"calm(?:ly)?|peaceful|serene|quiet|tranquil|relaxed|lively|energetic|dynamic|vivid|vigorous|wild|chaotic"
"""What is said of a whole clip, where it is said of nothing in particular."""

NUMBERS = {
    "half a": 0.5, "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "sixty": 60,
}  # fmt: skip
_NUMBER = rf"\d+(?:\.\d+)?|{'|'.join(NUMBERS)}"
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


def inflected(*verbs: str) -> str:
    """A pattern of the forms of regular verbs, and of the few irregular ones used here."""
    forms = []
    for verb in verbs:
        stem, doubled = verb.removesuffix("e"), verb + verb[-1]
        forms += [verb, f"{verb}s", f"{verb}es", f"{stem}ing", f"{stem}ed", f"{doubled}ing", f"{doubled}ed"]
        forms += [f"{verb.removesuffix('y')}ies"] if verb.endswith("y") else []
    return f"(?:{'|'.join(sorted(forms, key=len, reverse=True))})"
