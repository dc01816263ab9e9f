"""What a CUDA card makes of Stable Video Diffusion, stock and ours, on random full-size weights.

    python -m benchmarks.gpu                 everything, each part in a process of its own
    python -m benchmarks.gpu e2e             one part: e2e, decode, ladder, attention or queue
    python -m benchmarks.gpu --device cpu --config tiny      tries the script itself, anywhere

A part takes at most ten minutes: past --minutes nothing new is begun. Every measurement is written to the JSON file
when it is done, and a rerun goes on with what is missing (--again forgets what is kept). Needs no page and no
network; leaves with status 1 when a limit was missed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from .. import report
from ..accelerator import Accelerator, accelerator
from ..stock import CONFIGS
from . import attention, decode, e2e, ladder, queue
from .bench import Bench
from .kept import Kept, read

PARTS: dict[str, Any] = {"e2e": e2e, "decode": decode, "ladder": ladder, "attention": attention, "queue": queue}
RESULTS = Path(__file__).resolve().parent.parent / "results"


def main(arguments: list[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    on = accelerator(given.device)
    path = given.json or RESULTS / f"{_slug(on.name, given.config)}.json"
    if given.again:
        path.unlink(missing_ok=True)
    bench = _bench(on, given.config, path, given.minutes)
    if given.part == "all":
        _each_in_its_own_process(given, path)
        bench.kept.measured = read(path, on.name, given.config)
    else:
        _quiet()
        print(f"{given.part} on {on.name}, figures in {path}", flush=True)
        PARTS[given.part].measure(bench)
    parts = PARTS if given.part == "all" else {given.part: PARTS[given.part]}
    _save(bench, path)
    report.finish("gpu", on.name, [row for part in parts.values() for row in part.rows(bench)], None)


def _parser() -> argparse.ArgumentParser:
    parser = report.parser(__doc__)
    parser.add_argument("part", nargs="?", default="all", choices=[*PARTS, "all"])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--config", default="full", choices=CONFIGS)
    parser.add_argument("--minutes", type=float, default=9, help="per part; past it nothing new is begun")
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    return parser


def _bench(on: Accelerator, config: str, path: Path, minutes: float) -> Bench:
    def save(_: dict[str, Any]) -> None:
        _save(bench, path)

    kept = Kept(save, minutes * 60, read(path, on.name, config))
    bench = Bench(CONFIGS[config], on, kept)
    return bench


def _save(bench: Bench, path: Path) -> None:
    rows = [row for part in PARTS.values() for row in part.rows(bench)]
    report.write_json(path, "gpu", bench.accelerator.name, rows, config=bench.config.name, measured=bench.kept.measured)


def _each_in_its_own_process(given: argparse.Namespace, path: Path) -> None:
    """So that a crash, a cap or a compiled graph of one part is not the next one's."""
    options = ["--device", given.device, "--config", given.config, "--minutes", str(given.minutes)]
    for part in PARTS:
        subprocess.run([sys.executable, "-m", "benchmarks.gpu", part, *options, "--json", str(path)], check=False)


def _quiet() -> None:
    """What diffusers and transformers say about random weights and moved pipelines is of no use here."""
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", module="diffusers|transformers")


def _slug(name: str, config: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"gpu-{words}" if config == "full" else f"gpu-{words}-{config}"


if __name__ == "__main__":
    main()
