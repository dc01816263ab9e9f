"""The attention kernels this card offers, per shape of the U-Net: what ``auto`` chooses from, measured anew."""

from __future__ import annotations

from typing import Any

from ..report import Row
from .bench import Bench
from .kept import why


def measure(bench: Bench) -> None:
    bench.kept.once("attention", lambda: _candidates(bench))


def _candidates(bench: Bench) -> list[dict[str, Any]]:
    with bench.ours() as ours:
        return [timed.model_dump() for timed in ours.engine.benchmark()]


def rows(bench: Bench) -> list[Row]:
    found = bench.kept.good("attention")
    if found is None:
        return [Row("attention", None, note=why(bench.kept.measured.get("attention")))]
    return [
        Row(
            f"{line['what']} {line['shape']}: {line['choice']}".replace(" :", ":"),
            line["milliseconds"],
            "ms",
            note="; ".join(part for part in ("chosen" if line["chosen"] else "", line["note"]) if part),
        )
        for line in found
    ]
