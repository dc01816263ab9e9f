"""``python -m svd_ui.train nano``: train the embedded checkpoint from scratch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .nano import RECIPES, Job, train


def parse(arguments: Sequence[str] | None = None) -> Job:
    """Command line => job."""
    parser = argparse.ArgumentParser(prog="python -m svd_ui.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    nano = commands.add_parser("nano", help="the embedded checkpoint; run again to resume")
    nano.add_argument("--recipe", choices=sorted(RECIPES), default="cpu")
    nano.add_argument("--minutes", type=float, help="training time")
    nano.add_argument("--photos", type=Path, nargs="+", required=True, help="folders of pictures")
    nano.add_argument("--work", type=Path, required=True, help="state and log are kept here")
    nano.add_argument("--out", type=Path, default=Path("assets/nano"), help="checkpoint folder to write")
    nano.add_argument("--held-out", type=Path, default=Path("benchmarks/data"), help="pictures never trained on")
    nano.add_argument("--processes", type=int, help="default: 2 on a CPU, 1 on a GPU")
    nano.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    recipe = RECIPES[given.recipe]
    if given.minutes is not None:
        recipe = replace(recipe, minutes=given.minutes)
    gpu = given.recipe == "gpu"
    return Job(
        recipe=recipe,
        work=given.work,
        photos=tuple(given.photos),
        out=given.out,
        held_out=tuple(sorted(p.stem for p in given.held_out.glob("*.*"))),
        processes=given.processes or (1 if gpu else 2),
        device="cuda" if gpu else "cpu",
        seed=given.seed,
    )


if __name__ == "__main__":
    train(parse())
