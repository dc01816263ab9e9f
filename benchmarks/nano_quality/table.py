"""The acceptance table: what was measured, over photographs and seeds, beside its limits."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable

from benchmarks.report import Row

from . import moves
from .measure import BENT, MOTIONS, OWN, STIRRED, Measured

WANTED = {30: 1.0, 60: 2.0, 127: 5.0, 200: 8.0, 255: 12.0}
"""Motion => path over the whole clip, % of the frame's width."""
LEEWAY = 0.35
RUBBER = {127: 1.0, 255: 1.6}
DEEPER = 1.3
STIRRING, CONTRAST = 0.3, 2.0
"""Pixels a frame, and how many times as much as elsewhere: where everything wobbles nothing stirs by itself."""
OF_TEN = 0.6
"""Share of the photographs on which something has to stir."""


def rows(measured: list[Measured], width: int) -> list[Row]:
    return [
        *_kinds(measured),
        *_shape(measured),
        *_paths(measured, width),
        *_depth(measured),
        *_stirring(measured),
        *_pixels(measured),
        *_viewing(measured),
    ]


def _values(measured: Iterable[Measured], name: str) -> list[float]:
    """Every clip's."""
    return [value for one in measured for value in one.figures.get(name, [])]


def _medians(measured: Iterable[Measured], name: str) -> dict[str, float]:
    """Photograph => median over its clips; those that have none are left out."""
    return {one.name: statistics.median(one.figures[name]) for one in measured if one.figures.get(name)}


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _percent(measured: list[Measured], name: str) -> float:
    """Of all clips' pixels."""
    return 100 * statistics.mean(_values(measured, name))


def _which(values: dict[str, float], digits: int = 1) -> str:
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in values.items())


def _kinds(measured: list[Measured]) -> list[Row]:
    counts = Counter(kind for one in measured for kind in one.kinds)
    total = counts.total()
    share = {kind: 100 * counts[kind] / total for kind in (*moves.KINDS, moves.STANDS)}
    spreads = {one.name: moves.spread(one.ends) for one in measured if len(one.ends) > 1}
    return [
        *(Row(f"seeds that {_verb(kind)}", share[kind], "%", at_least=5, at_most=35) for kind in moves.KINDS),
        Row("seeds that stand still", share[moves.STANDS], "%", at_most=5, note=f"{total} clips"),
        Row("distance of two seeds' ends over the path, median", _median(spreads.values()), "x", at_least=0.6),
    ]


def _verb(kind: str) -> str:
    return "push in" if kind == "push" else "pull out" if kind == "pull" else kind


def _shape(measured: list[Measured]) -> list[Row]:
    found = []
    for motion in BENT:
        left, bent = (_medians(measured, f"{name} at {motion}") for name in ("rubber", "bend"))
        what = f"rubber at {motion}, median"
        found += [
            Row(what, _median(left.values()), "px", at_most=RUBBER[motion], note=_which(left)),
            Row(f"straight edges at {motion}, off a line, median", _median(bent.values()), "px", at_most=0.5, note=_which(bent)),
        ]  # fmt: skip
    return found


def _paths(measured: list[Measured], width: int) -> list[Row]:
    paths = {motion: _medians(measured, f"path at {motion}") for motion in MOTIONS}
    risen = sum(
        all(a < b for a, b in itertools.pairwise(path[one.name] for path in paths.values())) for one in measured
    )
    found = []
    for motion, by_photo in paths.items():
        shares = {name: 100 * value / width for name, value in by_photo.items()}
        low, high = (WANTED[motion] * (1 + way * LEEWAY) for way in (-1, 1))
        what = f"path at motion {motion}, first frame to last, median"
        found.append(Row(what, _median(shares.values()), "% of width", at_least=low, at_most=high, note=_which(shares)))
    own = [100 * value / width for value in _values(measured, "path")]
    quick = statistics.median(_values(measured, "path at twice the rate"))
    return [
        *found,
        Row("photographs whose path grows with every motion", risen, f"of {len(measured)}", at_least=len(measured)),
        Row(f"path of all seeds at motion {OWN}, least", min(own), "% of width"),
        Row("the same, most", max(own), "% of width"),
        Row(
            "told twice the fps: path over its own",
            quick / max(statistics.median(paths[OWN].values()), 1e-6),
            "x",
            at_most=0.75,
        ),
    ]


def _depth(measured: list[Measured]) -> list[Row]:
    deep = [one for one in measured if one.deep]
    ratios = _medians(deep, "parallax")
    nearer = sum(ratio >= DEEPER for ratio in ratios.values())
    right = sum(ratio > 1 for ratio in ratios.values())
    return [
        Row(
            "near layer over far, by what the camera does there, median", _median(ratios.values()), "x", at_least=DEEPER
        ),
        Row("photographs whose near layer goes further", right, f"of {len(deep)}", at_least=len(deep)),
        Row(f"photographs whose near layer goes {DEEPER:g}x as far", nearer, f"of {len(deep)}", note=_which(ratios, 2)),
    ]


def _stirring(measured: list[Measured]) -> list[Row]:
    inside, outside = _medians(measured, "stir"), _medians(measured, "stir outside")
    alive = sum(value >= max(STIRRING, CONTRAST * outside[name]) for name, value in inside.items())
    return [
        Row("photographs where something stirs by itself", alive, f"of {len(measured)}", at_least=OF_TEN * len(measured), note=_which(inside, 2)),
        Row(f"stirring parts at motion {STIRRED}, camera removed, median", _median(inside.values()), "px/frame"),
        Row("elsewhere, median", _median(outside.values()), "px/frame", at_most=0.1, note=_which(outside, 2)),
    ]  # fmt: skip


def _pixels(measured: list[Measured]) -> list[Row]:
    sharp = _values(measured, "sharpness")
    return [
        Row("pixels shown from beyond what was painted", _percent(measured, "beyond"), "%", at_most=0),
        Row("pixels painted, beyond the photograph", _percent(measured, "painted"), "%"),
        Row("pixels from outside the still", _percent(measured, "outside the still"), "%"),
        Row("first frame against the still, median", _median(_values(measured, "first")), "dB", at_least=46),
        Row("incoherence at 255, median", _median(_values(measured, "incoherence")), "", at_most=0.3),
        Row("sharpness last over first at 255, median", _median(sharp), "x", at_least=0.7, at_most=1.3),
        Row("the same, least", min(sharp), "x"),
        Row("the same, most", max(sharp), "x"),
        Row(
            "frames between key frames against true ones, median",
            _median(_values(measured, "between")),
            "dB",
            at_least=45,
        ),
        Row("twice as large and made small again, median", _median(_values(measured, "other size")), "dB", at_least=45),
        Row("a clip encoded, denoised, decoded, fp32, median", _median(_values(measured, "seconds")), "s", at_most=20),
    ]


def _viewing(measured: list[Measured]) -> list[Row]:
    """What a viewer complains about."""
    return [
        Row(
            "largest step between frames over the median one, median",
            _median(_values(measured, "jump")),
            "x",
            at_most=2,
        ),
        Row("speed in the first tenth over the median, median", _median(_values(measured, "begins")), "x", at_most=0.8),
        Row("speed in the last tenth over the median, median", _median(_values(measured, "ends")), "x", at_most=0.8),
        Row("roll of pans and tilts, median", _median(_values(measured, "level")), "degrees", at_most=0.5),
    ]
