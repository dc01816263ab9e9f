"""Measure, print, write."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch

from benchmarks.nano_quality import sheets
from benchmarks.nano_quality.checkpoint import SEED, Nano, Photo
from benchmarks.nano_quality.labels import labels
from benchmarks.nano_quality.measure import Labelled
from benchmarks.report import Row, finish, parser, write_json
from recipes.nano.photos import find_photos
from svd_ui.catalog import NANO
from svd_ui.core.devices import describe
from svd_ui.methods.motion_strength import MotionStrength
from svd_ui.request import Speed

from . import __doc__ as description
from . import camera, cost, facts, parts, times
from .case import Case, Found
from .table import LINES, rows

ROOT = Path(__file__).resolve().parents[2]
MEASURES: dict[str, Callable[[Case], None]] = {
    "lock": parts.lock, "drag": parts.drag, "brush": parts.brush, "loop": times.loop, "extend": times.extend,
}  # fmt: skip
OTHERS = ("strength", "cost", "facts")


def main() -> None:
    given = _arguments()
    nano = Nano.load(given.checkpoint, given.speed)
    found, methods = Found(), given.only or [*LINES, *OTHERS]
    counts: list[int] = [0]
    nano.runtime.unet.register_forward_pre_hook(lambda *_: counts.__setitem__(0, counts[0] + 1))
    paths = find_photos([ROOT / "benchmarks" / "data"])
    photos = {path.stem: Photo.open(path, nano.size) for path in paths}
    known, names = labels(), list(photos)
    for index, name in enumerate(names[: given.photos]):
        for turn in range(given.seeds):
            case = Case(nano, name, Labelled(photos[name], known[name]), SEED + index * given.seeds + turn, turn, found, calls=counts)  # fmt: skip
            _measure(case, methods, index, given.seeds, photos[names[(index + 1) % len(names)]])
            print(case.where, flush=True)
            _keep(given, found, methods)  # what was measured stays, whatever happens to the rest
    table = [*rows(found, methods), *_others(nano, methods)]
    finish("control_quality", describe("cpu").name, table, given.json, photographs=min(given.photos, len(names)), seeds=given.seeds, speed=given.speed)  # fmt: skip


def _keep(given: argparse.Namespace, found: Found, methods: list[str]) -> None:
    if given.json is not None:
        write_json(given.json, "control_quality", "so far", rows(found, methods))
    for method, strips in found.strips.items():
        if given.sheets is not None:
            sheets.write(given.sheets / f"{method}.jpg", strips)


def _arguments() -> argparse.Namespace:
    options: argparse.ArgumentParser = parser(description)
    options.add_argument("--checkpoint", type=Path, default=NANO)
    options.add_argument("--speed", choices=get_args(Speed), default="exact", help="how many steps a clip takes")
    options.add_argument("--photos", type=int, default=10, help="only the first N photographs")
    options.add_argument("--seeds", type=int, default=3, help="clips of each photograph")
    options.add_argument("--only", type=lambda text: text.split(","), help=",".join([*LINES, *OTHERS]))
    options.add_argument("--sheets", type=Path, metavar="FOLDER", help="write contact sheets there")
    return options.parse_args()


@torch.inference_mode()
def _measure(case: Case, methods: list[str], index: int, seeds: int, other: Photo) -> None:
    for method in methods:
        if method == "camera":
            camera.measure(case, index, seeds)
        elif method == "end_frame":
            times.end_frame(case, other)
        elif method in MEASURES:
            MEASURES[method](case)


def _others(nano: Nano, methods: list[str]) -> list[Row]:
    found: list[Row] = []
    if "strength" in methods:
        refused = MotionStrength().needs(nano.runtime.row.facts)
        said = "not run" if refused is None else f"refused: {refused.code}"
        found.append(Row("strength", said, note="a checkpoint made for its own noise levels alone"))
    found += cost.rows() if "cost" in methods else []
    found += facts.rows() if "facts" in methods else []
    return found


if __name__ == "__main__":
    main()
