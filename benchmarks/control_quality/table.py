"""The rows: a median, its worst case, and the same of a clip that nobody steered."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.report import Row

from .camera import DEEP, FLAT
from .case import Found


@dataclass(frozen=True)
class Line:
    """``name`` of a figure, ``beside`` names of others that are shown with it: (text, figure)."""

    name: str
    what: str
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    beside: tuple[tuple[str, str], ...] = ()
    note: str = ""

    def row(self, found: Found) -> Row | None:
        """None where the figure was never taken."""
        values = found.values.get(self.name)
        if not values:
            return None
        middle = statistics.median(value for value, _ in values)
        notes = [
            self._worst(values, middle),
            *(f"{text} {_median(found, name)}" for text, name in self.beside),
            self.note,
        ]
        return Row(self.what, middle, self.unit, self.at_most, self.at_least, note="; ".join(filter(None, notes)))

    def _worst(self, values: list[tuple[float, str]], middle: float) -> str:
        if self.at_least is not None and self.at_most is not None:
            value, where = max(values, key=lambda one: abs(one[0] - middle))
        else:
            value, where = (min if self.at_least is not None else max)(values)
        missed = sum(not self._kept(one) for one, _ in values)
        said = f", {missed} of {len(values)} miss" if self.at_least is not None or self.at_most is not None else ""
        return f"worst {value:.3g} ({where}){said}"

    def _kept(self, value: float) -> bool:
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)


def _median(found: Found, name: str) -> str:
    values = [value for value, _ in found.values.get(name, [])]
    return f"{statistics.median(values):.3g}" if values else "not taken"


def _ways() -> Iterator[Line]:
    for path in FLAT + DEEP:
        name = f"camera {path}"
        beside = (("px", f"{name}: px"), ("%", f"{name}: %"))
        beside += (("plain clip px", f"{name}: plain"),) if path in FLAT else ()
        yield Line(name, f"{name}: error, of 2 % or 0.5 px", "x", at_most=1, beside=beside)


LINES: dict[str, tuple[Line, ...]] = {
    "camera": (
        *_ways(),
        Line("camera: rubber", "camera: rubber", "px", at_most=1, beside=(("plain", "camera: plain's rubber"),)),
        Line("camera: beyond", "camera: pixels from beyond the canvas", "%", at_most=0),
    ),
    "lock": (
        Line("lock: background", "lock: background", "px/frame", at_most=0.3, beside=(("plain", "lock: background, plain"),)),
        Line("lock: untouched", "lock: background 64 px away from the subject, off the still", "/255", at_most=0.05),
        Line("lock: subject", "lock: subject's flow, of the plain clip's", "%", at_least=50),
        Line("lock: first", "lock: first frame against the still", "dB"),
    ),
    "drag": (
        Line("drag: still", "drag: end of what is dragged", "px", at_most=1, beside=(("plain", "drag: plain"), ("% of the frame", "drag: size"))),
        Line("drag: panning", "drag: the same while the camera pans", "px", at_most=3),
        Line("drag: first", "drag: first frame against the still", "dB", at_least=34),
    ),
    "brush": (
        Line("brush: static", "brush: what is not painted, off the still", "/255", at_most=0.5, beside=(("plain", "brush: static, plain"),)),
        Line("brush: deep", "brush: the same, 8 px inside", "/255", at_most=0.05),
        Line("brush: inside", "brush: flow of what is painted, of the plain clip's", "%", at_least=25),
        Line("brush: seam", "brush, whole cycles: seam", "x", at_most=1.1, beside=(("plain", "brush: seam, plain"), ("largest step over the median", "brush: jump"), ("flow in px", "brush: flow"))),
        Line("brush: unbrushed", "brush, whole cycles: what is not painted, off the still", "/255", at_most=0.005),
    ),
    "end_frame": (
        Line("end: stills", "end frame: the farther of both stills", "dB", at_least=40),
        Line("end: jump", "end frame: largest step over the median", "x", at_most=1.3, beside=(("dissolve", "end: dissolve's jump"),)),
        Line("end: sharpness", "end frame: sharpness in the middle", "x", at_least=0.85, beside=(("dissolve", "end: dissolve's sharpness"),)),
        Line("end: taken for unrelated", "end frame: pairs of one photograph taken for unrelated", "%"),
        Line("keys: stills", "with a still between: the farther of both ends", "dB", at_least=40),
        Line("keys: middle", "with a still between: that one", "dB", at_least=40),
        Line("keys: jump", "with a still between: largest step over the median", "x", at_most=1.3),
        Line("keys: sharpness", "with a still between: sharpness in the middle", "x", at_least=0.85),
        Line("unrelated: stills", "unrelated stills: the farther one", "dB", at_least=40),
        Line("unrelated: jump", "unrelated stills: largest step over the median", "x", note="a dissolve"),
        Line("unrelated: sharpness", "unrelated stills: sharpness in the middle", "x"),
        Line("unrelated: said", "unrelated stills: said to be so", "%", at_least=100),
    ),
    "loop": (
        Line("loop: seam", "loop: seam", "x", at_most=1.2, beside=(("plain", "loop: seam, plain"),)),
        Line("loop: jump", "loop: largest step over the median", "x", at_most=1.3),
        Line("loop: palindrome", "loop: not the same way back", "", at_least=0.6, beside=(("plain there and back", "loop: palindrome, there and back"),)),
        Line("loop: flow", "loop: flow, of the open clip's", "%", at_least=50),
        Line("loop: sharpness", "loop: least sharp frame, of the still", "x", at_least=0.9),
    ),
    "extend": (
        Line("extend: cosine", "extend x8: flow across a seam, cosine", "", at_least=0.93, beside=(("naive", "naive: cosine"),)),
        Line("extend: speed", "extend x8: speed after a seam over before", "x", at_most=1.3, at_least=0.8, beside=(("naive", "naive: speed"),)),
        Line("extend: sharpness", "extend x8: sharpness of its own look-up in the still", "x", at_least=0.9),
        Line("extend: sharpness of the still", "extend x8: last frame's sharpness, of the still's", "x", beside=(("naive, after one", "naive: sharpness"),)),
        Line("extend: calls", "extend x8: calls of the U-Net", "", at_most=14),
        Line("extend: length", "extend x8: key frames of the plain clip's", "x"),
    ),
}  # fmt: skip


def rows(found: Found, methods: list[str]) -> list[Row]:
    lines = (line.row(found) for method in methods for line in LINES.get(method, ()))
    return [row for row in lines if row is not None]
