"""What this machine makes of it without a card, with the limits that each figure has to keep.

    python -m benchmarks.cpu                    everything, some twenty minutes on two cores
    python -m benchmarks.cpu step encode        some of it: page, encode, step, requests, click, switching
    python -m benchmarks.cpu two_devices        one clip on two halves of the processor
    python -m benchmarks.cpu cancel             a full-size model, 12 GiB of memory and some minutes

Ratios are taken in turn within one run and are the figures; seconds depend on the machine and on what else it does.
Leaves with status 1 when a limit was missed.
"""

from __future__ import annotations

import importlib
import os

from svd_ui.core.devices import describe

from .. import report

PARTS = {
    "page": "page",
    "encode": "encode",
    "step": "step",
    "two_devices": "two_devices",
    "requests": "requests",
    "against_stock": "against_stock",
    "neighbours": "neighbours",
    "click": "click_to_clip",
    "switching": "switching",
    "cancel": "cancel",
}
ON_REQUEST = {"cancel", "two_devices"}
"""Need the memory of a full-size model, or two free cores."""


def main(arguments: list[str] | None = None) -> None:
    parser = report.parser(__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--runs", type=int, help="rounds, clips or switches of every part; each has its own default")
    given = parser.parse_args(arguments)
    unknown = set(given.parts) - PARTS.keys()
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    rows: list[report.Row] = []
    for name in given.parts or [name for name in PARTS if name not in ON_REQUEST]:
        print(f"{name} ...", flush=True)
        part = importlib.import_module(f".{PARTS[name]}", __package__)
        rows += part.rows(**({"runs": given.runs} if given.runs else {}))
    report.finish("cpu", describe("cpu").name, rows, given.json, load_before=load)


if __name__ == "__main__":
    main()
