"""``python -m recipes.nano``: train the embedded checkpoint from scratch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .recipe import RECIPES, Job, train


def parse(arguments: Sequence[str] | None = None) -> Job:
    """Command line => job."""
    parser = argparse.ArgumentParser(prog="python -m recipes.nano", description=f"{__doc__} Run again to resume.")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="cpu")
    parser.add_argument("--minutes", type=float, help="training time")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of pictures")
    parser.add_argument("--cutouts", type=Path, help="folder of PNG pictures with transparency, to set in front")
    parser.add_argument("--work", type=Path, required=True, help="state and log are kept here")
    parser.add_argument("--out", type=Path, default=Path("assets/nano"), help="checkpoint folder to write")
    parser.add_argument("--held-out", type=Path, default=Path("benchmarks/data"), help="pictures never trained on")
    parser.add_argument("--processes", type=int, help="default: 2 on a CPU, 1 on a GPU")
    parser.add_argument("--readers", type=int, default=0, help="further processes that draw clips; for a GPU")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    recipe = RECIPES[given.recipe]
    if given.minutes is not None:
        recipe = replace(recipe, minutes=given.minutes)
    gpu = given.recipe == "gpu"
    return Job(
        recipe=recipe,
        work=given.work,
        photos=tuple(given.photos),
        cutouts=given.cutouts,
        out=given.out,
        held_out=tuple(sorted(p.stem for p in given.held_out.glob("*.*"))),
        processes=given.processes or (1 if gpu else 2),
        readers=given.readers,
        device="cuda" if gpu else "cpu",
        seed=given.seed,
    )


if __name__ == "__main__":
    train(parse())
