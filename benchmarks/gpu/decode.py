"""The autoencoder's decoder, stock and ours, on the same latents in chunks of the same size, taking turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from svd_ui.core.decode import decode, decode_pixels, decoder_of
from svd_ui.core.families.svd import Decoder
from svd_ui.engine import never

from ..accelerator import GIB
from ..clips import in_turn, median_ratio
from ..report import Row
from ..stock import DECODE_CHUNK
from .bench import Bench, clip_of
from .kept import OUT_OF_MEMORY, failed, why

ROUNDS = 3
SHARE = 8.0
"""Most percent of the clip that decoding may take."""


def measure(bench: Bench) -> None:
    """At the documented chunk; at a smaller one where memory does not hold that."""
    for chunk in _chunks(bench):
        figure = bench.kept.once(f"decode/{chunk}", lambda chunk=chunk: _both(bench, chunk))
        if not (failed(figure) and figure["error"] == OUT_OF_MEMORY):
            return


def _chunks(bench: Bench) -> list[int]:
    return sorted({min(size, bench.config.num_frames) for size in (DECODE_CHUNK, 4, 2, 1)}, reverse=True)


@torch.no_grad()
def _both(bench: Bench, chunk: int) -> dict[str, Any]:
    still = bench.picture()
    with bench.ours() as ours:
        runtime, pipeline, frames = ours.runtime(), bench.stock.pipeline, bench.config.num_frames
        shape = (1, frames, 4, bench.config.height // 8, bench.config.width // 8)
        latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(bench.accelerator.device)
        latents *= runtime.scaling_factor
        decoder = decoder_of(runtime, still)

        def stock() -> Tensor:
            return pipeline.decode_latents(latents.to(pipeline.vae.dtype), frames, chunk)  # type: ignore[no-any-return]

        def to_pictures() -> Any:
            return pipeline.video_processor.postprocess_video(video=stock(), output_type="pil")

        ways: dict[str, Callable[[], Any]] = {
            "stock": stock,
            "ours": lambda: _pixels(decoder, latents, chunk),
            "stock to pictures": to_pictures,
            "ours to frames": lambda: list(decode(decoder, latents, chunk, never())),
        }
        timed = {name: _timed(bench, way) for name, way in ways.items()}
        in_turn(timed, 1)  # warms up
        found = in_turn(timed, ROUNDS)
        same = ours_as_stock(ways["ours"]()).float() - ways["stock"]()
        return {
            "seconds": {name: [seconds for seconds, _ in rounds] for name, rounds in found.items()},
            "peaks": {name: rounds[-1][1] for name, rounds in found.items()},
            "difference": float(same.abs().max()),
        }


def _pixels(decoder: Decoder, latents: Tensor, chunk: int) -> Tensor:
    """``[F 3 H W]`` in float32 on the device, as stock leaves them."""
    return torch.cat([decode_pixels(decoder, part) for part in latents[0].split(chunk)])


def ours_as_stock(pixels: Tensor) -> Tensor:
    """``[F 3 H W]`` => ``[1 3 F H W]``."""
    return pixels[None].transpose(1, 2)


def _timed(bench: Bench, way: Callable[[], Any]) -> Callable[[], tuple[float, int | None]]:
    def run() -> tuple[float, int | None]:
        bench.accelerator.reset_peak()
        started = time.perf_counter()
        made = way()
        bench.accelerator.synchronise()
        seconds = time.perf_counter() - started
        del made
        return seconds, bench.accelerator.peak()

    return run


def rows(bench: Bench) -> list[Row]:
    chunk = next((size for size in _chunks(bench) if bench.kept.good(f"decode/{size}")), None)
    if chunk is None:
        note = why(bench.kept.measured.get(f"decode/{_chunks(bench)[0]}"))
        return [Row("decoding, stock over ours", None, "x", at_least=1.5, note=note), _share(bench)]
    figure = bench.kept.good(f"decode/{chunk}")
    seconds, peaks = figure["seconds"], figure["peaks"]
    return [
        *(
            Row(f"decode, {name}, chunk {chunk}", statistics.median(took), "s", note=_peak(peaks[name]))
            for name, took in seconds.items()
        ),
        Row(
            "decoding, stock over ours",
            median_ratio(seconds["stock"], seconds["ours"]),
            "x",
            at_least=1.5,
            note=f"latents to pixels on the device; largest difference {figure['difference']:.2g} of 2",
        ),
        Row(
            "decoding to uint8 in host memory, stock (PIL) over ours",
            median_ratio(seconds["stock to pictures"], seconds["ours to frames"]),
            "x",
        ),
        _share(bench),
    ]


def _peak(peak: int | None) -> str:
    return "" if peak is None else f"peak {peak / GIB:.2f} GiB, weights included"


def _share(bench: Bench) -> Row:
    """Of the exact clip, the compiled one where there is one."""
    what = "decoding, share of the clip"
    for name in ("compiled", "eager"):
        figure = bench.kept.good(f"e2e/{name}/0")
        if figure:
            clip, made = clip_of(figure)
            whole = clip.at(bench.config.num_inference_steps, made)
            share = 100 * clip.stages.get("decoding", 0.0) / whole
            return Row(what, share, "%", at_most=SHARE, note=f"of the {name} clip, encoding the file included")
    return Row(what, None, "%", at_most=SHARE, note="needs e2e")
