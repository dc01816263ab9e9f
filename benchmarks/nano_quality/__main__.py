"""Measure, print, write."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import torch

from benchmarks.report import finish
from recipes.nano.photos import find_photos
from svd_ui.catalog import NANO
from svd_ui.core.devices import describe
from svd_ui.request import Speed

from . import __doc__ as description
from . import seconds, sheets
from .checkpoint import Nano
from .labels import labels
from .measure import measure
from .table import rows

ROOT = Path(__file__).resolve().parents[2]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=NANO)
    parser.add_argument("--photos", type=Path, default=ROOT / "benchmarks/data")
    parser.add_argument("--sheet", type=Path, default=Path("nano_quality.jpg"))
    parser.add_argument(
        "--sheets", type=Path, metavar="FOLDER", help="only write there where the seeds of four photographs end"
    )
    parser.add_argument("--speed", choices=get_args(Speed), default="exact", help="how many steps a clip takes")
    parser.add_argument("--limit", type=int, help="only the first N photographs")
    parser.add_argument("--seeds", type=int, default=24, help="clips of each photograph with nothing asked for")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()  # fmt: skip
    nano = Nano.load(given.checkpoint, given.speed)
    paths = find_photos([given.photos])[: given.limit]
    if given.sheets:
        sheets.of_seeds(nano, paths, given.seeds, given.sheets)
        return
    known, measured = labels(), []
    for index, path in enumerate(paths):
        measured.append(measure(nano, path, known[path.stem], given.seeds, index))
        print(f"{path.stem:16}", measured[-1].summary, flush=True)
    sheets.write(given.sheet, [one.strip for one in measured])
    table = rows(measured, nano.size[1])
    if given.checkpoint == NANO:
        table += seconds.rows()
    finish("nano_quality", describe("cpu").name, table, given.json, seeds=given.seeds)


if __name__ == "__main__":
    main()
