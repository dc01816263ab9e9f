"""Each rung of the memory ladder as if the card were that small: peak, seconds, and does it finish.

A card of N GB has N GiB; what CUDA's context takes of them is not the allocator's to give, so the cap is N GiB less
``CONTEXT``. Rows that move weights are also made with all of them resident and no cap, to see what moving costs.
"""

from __future__ import annotations

from typing import Any

from svd_ui.catalog import PROFILES, STABILITY_ROWS, ProfileRow
from svd_ui.catalog.costs import peak_bytes
from svd_ui.clip import ClipSpec
from svd_ui.request import GenerationRequest

from ..accelerator import GIB
from ..ours import Ours
from ..report import Row
from .bench import Bench, clip_of
from .kept import failed, why

CONTEXT = 0.6 * GIB
STEPS = 5
"""Enough for a median step: the peak does not grow with their number."""
COST = {"model": 1.05, "group": 1.15}
"""Most times the seconds of the same row resident."""
MARGIN = 1.1
"""Most times the predicted peak."""
RUNGS = [row for row in PROFILES.values() if row.id != "cpu"]


def cap(row: ProfileRow) -> int:
    """Bytes the allocator may take on the card that ``row`` is named after."""
    return int(int(row.id.removesuffix("gb")) * GIB - CONTEXT)


def measure(bench: Bench) -> None:
    steps = min(STEPS, bench.config.num_inference_steps)
    with bench.ours() as ours:
        for row in RUNGS:
            bench.kept.once(f"ladder/{row.id}", lambda row=row: _capped(bench, ours, row, steps))
    with bench.ours() as ours:
        ours.stages.resident = True
        for row in RUNGS:
            if row.offload != "none":
                name = f"ladder/{row.id} resident"
                bench.kept.once(name, lambda row=row: bench.our_clip(ours, steps, profile=row.id))


def _capped(bench: Bench, ours: Ours, row: ProfileRow, steps: int) -> dict[str, Any]:
    limit, total = cap(row), bench.accelerator.total
    if total is not None and total < limit:
        raise ValueError("this card is smaller")
    with bench.accelerator.capped(limit):
        ours.runtime(row.id)  # weights that the rung keeps on the host are no part of its peak
        return bench.our_clip(ours, steps, profile=row.id)


def _predicted(bench: Bench, row: ProfileRow) -> int | None:
    """Peak bytes that the page shows for this clip before it runs."""
    if bench.config.name != "full":
        return None
    checkpoint = next(one for one in STABILITY_ROWS if one.id == "svd-xt")
    return peak_bytes(ClipSpec.of(GenerationRequest(profile=row.id), checkpoint), row)


def rows(bench: Bench) -> list[Row]:
    return [made for row in RUNGS for made in _rung(bench, row)]


def _rung(bench: Bench, row: ProfileRow) -> list[Row]:
    figure = bench.kept.measured.get(f"ladder/{row.id}")
    ends = f"{row.id}: finishes within {cap(row) / GIB:.1f} GiB"
    if figure is None or (failed(figure) and figure["error"].endswith("smaller")):
        return [Row(ends, None, at_least=1, note=why(figure))]
    if failed(figure):
        return [Row(ends, 0, at_least=1, note=why(figure))]
    clip, made = clip_of(figure)
    predicted = _predicted(bench, row)
    seconds = clip.at(bench.config.num_inference_steps, made)
    held = clip.profile == row.id
    found = [Row(ends, int(held), at_least=1, note=clip.note if held else f"went down to {clip.profile}: {clip.note}")]
    if clip.peak is not None:
        limit = round(MARGIN * predicted / GIB, 2) if predicted else None
        note = f"predicted {(predicted or 0) / GIB:.2f}, denoising {(clip.peak_denoising or 0) / GIB:.2f}, taken from the card {(clip.peak_reserved or 0) / GIB:.2f}"
        found.append(Row(f"{row.id}: peak", clip.peak / GIB, "GiB", at_most=limit, note=note))
    note = f"{clip.step * 1e3:.0f} ms a step, decode chunk {clip.chunk}, from a clip of {made} steps"
    found.append(Row(f"{row.id}: clip", seconds, "s", note=note))
    return found + _cost(bench, row, seconds)


def _cost(bench: Bench, row: ProfileRow, seconds: float) -> list[Row]:
    """What moving weights costs, against the same row with all of them resident."""
    if row.offload == "none":
        return []
    figure = bench.kept.measured.get(f"ladder/{row.id} resident")
    what, limit = f"{row.id}: {row.offload} offload over resident", COST[row.offload]
    if figure is None or failed(figure):
        return [Row(what, None, "x", at_most=limit, note=why(figure))]
    clip, made = clip_of(figure)
    if clip.profile != row.id:
        return [Row(what, None, "x", at_most=limit, note="this card cannot hold it resident")]
    return [Row(what, seconds / clip.at(bench.config.num_inference_steps, made), "x", at_most=limit)]
