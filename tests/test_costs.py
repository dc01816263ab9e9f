"""Predicted operations and memory: they follow what a clip consists of, and the coefficients are what is counted."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import coefficients
from benchmarks.meta import CHUNKED, IN_TURN_CHUNKED, Ours
from benchmarks.models import write_holes
from benchmarks.single_file import in_stability_names
from svd_ui import catalog
from svd_ui.catalog.architectures import ARCHITECTURES, Architecture, Peak, architecture_of
from svd_ui.catalog.costs import clip_flops, cost_ratio, peak_bytes, step_flops
from svd_ui.clip import ClipSpec
from svd_ui.core.sampling.feature_cache import FeatureCache
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import REPOSITORY
from svd_ui.stability_keys import COMPONENTS
from tests.tiny import save_tiny_svd

XT = next(row for row in catalog.STABILITY_ROWS if row.id == "svd-xt")
NANO = catalog.nano_row()
GIB = 1024**3
README = (REPOSITORY / "README.md").read_text("utf-8")


def asked(row: catalog.CheckpointRow = XT, **values: object) -> ClipSpec:
    return ClipSpec.of(GenerationRequest.model_validate(values), row)


@pytest.fixture(scope="module")
def nano() -> Ours:
    return Ours("nano")


# The coefficients


def test_nanos_coefficients_are_what_is_counted(nano: Ours) -> None:
    known = ARCHITECTURES["nano"]
    _agrees(known, nano, (6, 12, 20))
    assert known.decode.flops(18 * 32, 14) == pytest.approx(nano.decode(14, 18, 32).flops, rel=0.02)
    assert known.decoding.bytes(5 * 18 * 32) == pytest.approx(nano.decode(5, 18, 32).peak, rel=0.06)


@pytest.mark.slow
def test_svds_coefficients_are_what_is_counted() -> None:
    known, ours = ARCHITECTURES["svd"], Ours("svd")
    _agrees(known, ours, (7, 40, 56))
    assert known.decode.flops(40 * 56, 3) == pytest.approx(ours.decode(3, 40, 56).flops, rel=0.01)
    assert known.decoding.bytes(6 * 72 * 128) == pytest.approx(ours.decode(6, 72, 128).peak, rel=0.05)
    assert known.encode.flops(40 * 56, 1) == pytest.approx(ours.encode(40, 56).flops, rel=0.01)
    assert known.encoding * 40 * 56 == pytest.approx(ours.encode(40, 56).peak, rel=0.03)
    assert known.embed == ours.embed().flops
    assert known.streamed == ours.streamed()


def _agrees(known: Architecture, ours: Ours, size: tuple[int, int, int]) -> None:
    """On a clip that no coefficient was taken from."""
    frames, area, total = size[0], size[1] * size[2], math.prod(size)
    alone = ours.step(*size, guided=False, profile=IN_TURN_CHUNKED)
    assert known.unet.flops(area, frames) == pytest.approx(alone.flops, rel=0.02)
    assert known.denoising["one chunked"].bytes(total) == pytest.approx(alone.peak, rel=0.06)
    two = ours.step(*size, guided=True, profile=CHUNKED)
    assert known.denoising["two chunked"].bytes(total) == pytest.approx(two.peak, rel=0.06)
    reusing = ours.step(*size, guided=False, reuse=FeatureCache(1000))
    assert known.reusing.flops(area, frames) == pytest.approx(reusing.flops, rel=0.02)
    parameters = {name: coefficients._parameters(module) for name, module in ours.modules.items()}
    assert known.parameters == parameters


def test_the_file_is_what_the_benchmark_prints() -> None:
    file = Path(catalog.__file__).with_name("architectures.json")
    assert coefficients.table(ARCHITECTURES.values()) == file.read_text("utf-8")


def test_predicted_peaks_are_those_measured_on_a_card() -> None:
    """Each rung of the memory ladder, SVD-XT at its own size: about a tenth above or below at most."""
    file = Path(__file__).parent.parent / "benchmarks" / "results" / "gpu-nvidia-h200.json"
    measured = json.loads(file.read_text("utf-8"))["measured"]
    measured["ladder/12gb"] = measured["ladder/8gb resident"]  # that row with its weights in place is what 12gb is
    for row in (row for row in catalog.PROFILES.values() if row.id != "cpu"):
        said = peak_bytes(asked(profile=row.id), row)
        assert said == pytest.approx(measured[f"ladder/{row.id}"]["peak"], rel=0.11), row.id


# What they are used for


def test_a_folder_is_known_by_its_configuration_and_never_guessed(tmp_path: Path) -> None:
    assert architecture_of(XT) is ARCHITECTURES["svd"]
    assert architecture_of(NANO) is ARCHITECTURES["nano"]
    other = catalog.folder_row(save_tiny_svd(tmp_path / "tiny"))
    assert architecture_of(other) is None
    request = asked(other)
    assert clip_flops(request) is None and cost_ratio(request) is None
    assert step_flops(request) is None
    assert peak_bytes(request, catalog.PROFILES["8gb"]) is None


def test_the_native_clip_costs_what_performance_says() -> None:
    assert step_flops(asked()) == pytest.approx(153.9e12, rel=0.01)
    assert clip_flops(asked(num_inference_steps=25)) == pytest.approx(4_024e12, rel=0.01)


def test_each_way_of_saving_costs_its_share() -> None:
    exact = asked()
    assert cost_ratio(exact) == 1.0
    assert cost_ratio(asked(num_inference_steps=15)) == pytest.approx(0.5, abs=0.03)
    cached = [cost_ratio(asked(cache_interval=interval)) or 0 for interval in (1, 2, 3, 5)]
    assert cached == sorted(cached, reverse=True) and cached[2] < 0.47
    unguided = cost_ratio(asked(min_guidance_scale=1.0, max_guidance_scale=1.0)) or 0
    partly = cost_ratio(asked(guidance_sigma_min=1.0, guidance_sigma_max=50.0)) or 0
    assert 0.5 < unguided < 0.55 and unguided < partly < 1
    assert cost_ratio(asked(speed="draft")) < cost_ratio(asked(speed="fast")) < 1  # type: ignore[operator]


def test_few_step_weights_are_compared_with_the_model_behind_them() -> None:
    row = XT.model_copy(update={"family": "consistency", "num_inference_steps": 4, "max_guidance_scale": 1.0})
    row = row.model_copy(update={"min_guidance_scale": 1.0})
    assert 0.08 < (cost_ratio(asked(row)) or 1) <= 0.13


def test_a_wall_costs_its_tiles() -> None:
    one, wall = asked(speed="draft"), asked(speed="draft", wall=Wall(seeds=2, motion_bucket_ids=(1, 2, 3)))
    assert 5.9 < (clip_flops(wall) or 0) / (clip_flops(one) or 1) < 6
    assert cost_ratio(wall) == pytest.approx(cost_ratio(one), rel=0.01)


@pytest.mark.parametrize("row", [XT, NANO], ids=lambda row: row.id)
@pytest.mark.parametrize("field", ["num_frames", "width", "height", "num_inference_steps", "decode_chunk_size"])
def test_more_never_costs_less(row: catalog.CheckpointRow, field: str) -> None:
    values = {"num_frames": range(2, 65), "num_inference_steps": range(1, 101), "decode_chunk_size": range(1, 65)}
    for profile in catalog.PROFILES.values():
        # Where frames are rendered fewer are made at once the larger they are, unless somebody says how many.
        same = {"decode_chunk_size": 4} if row.facts.renders(row) else {}
        requests = [asked(row, **same | {field: value}) for value in values.get(field, range(64, 2049, 64))]
        for cost in (clip_flops, lambda one: peak_bytes(one, profile)):  # noqa: B023
            costs = [cost(request) or 0 for request in requests]
            assert costs == sorted(costs)


def test_larger_and_more_frames_are_rendered_for_longer_in_the_same_memory() -> None:
    row = NANO.model_copy(update={"motion_paths": ((127, 0.05),), "fps": 5})
    small, large = asked(row), asked(row, render_height=1080)
    assert (clip_flops(small) or 0) < (clip_flops(asked(row, output_fps=48)) or 0) < (clip_flops(large) or 0)
    assert step_flops(small) == step_flops(large)
    peaks = [peak_bytes(one, catalog.PROFILES["cpu"]) or 0 for one in (small, asked(row, output_fps=48), large)]
    assert peaks[0] == peaks[1]
    assert peaks[2] < 1.1 * peaks[0]


def test_memory_falls_down_the_ladder_as_the_readme_says() -> None:
    request, ladder = asked(), [row for row in catalog.PROFILES.values() if row.id != "cpu"]
    peaks = [peak_bytes(request, row) or 0 for row in ladder]
    assert peaks == sorted(peaks, reverse=True)
    for row, peak in zip(ladder, peaks, strict=True):
        assert peak + catalog.profiles.CONTEXT_BYTES <= float(row.id.removesuffix("gb")) * catalog.GB, row.id
        line = next(line for line in README.splitlines() if line.startswith(f"| `{row.id}` |"))
        published = [float(figure) for figure in line.strip("| ").rpartition("|")[2].split("/")]
        assert max(published) == pytest.approx(peak / GIB, abs=0.06)


def test_streamed_weights_count_with_what_is_there_of_them() -> None:
    known = ARCHITECTURES["svd"]
    streamed = peak_bytes(asked(num_frames=64, width=2048, height=1152), catalog.PROFILES["4gb"]) or 0
    assert streamed > known.denoising["one chunked"].bytes(64 * known.cells(2048, 1152)) + 2 * known.streamed - 1


def test_features_kept_are_paid_for() -> None:
    row = catalog.PROFILES["6gb"]
    large = {"num_frames": 64, "width": 1536, "height": 1024, "decode_chunk_size": 1}
    extra = (peak_bytes(asked(cache_interval=3, **large), row) or 0) - (peak_bytes(asked(**large), row) or 0)
    assert extra == pytest.approx(2 * 640 * 64 * ARCHITECTURES["svd"].cells(1536, 1024), rel=0.01)


def test_lines_between_counted_points() -> None:
    peak = Peak(points=((10, 100), (20, 150)))
    assert [peak.bytes(n) for n in (0, 5, 10, 15, 30)] == [0, 50, 100, 125, 200]
    assert peak.bytes(5, 4) == 100


# Noise levels


def test_the_largest_sigma_of_the_interval_is_guided_and_the_smallest_is_not() -> None:
    request = asked(num_inference_steps=25)
    levels = request.sigmas
    bounded = replace(request, guidance_sigma_min=levels[20], guidance_sigma_max=levels[5])
    assert [index for index, guided in enumerate(bounded.guided_steps) if guided] == list(range(5, 20))


def test_a_single_file_is_of_the_architecture_that_its_shapes_tell(tmp_path: Path) -> None:
    """Sparse, with the real names and shapes: nothing but the header is read."""
    names = {name: shape for part in COMPONENTS for name, shape in in_stability_names(part).items()}
    file, small = tmp_path / "svd_xt.safetensors", tmp_path / "small.safetensors"
    write_holes(file, names)
    write_holes(
        small, {name: tuple(side // 2 if side % 64 == 0 else side for side in shape) for name, shape in names.items()}
    )
    row = XT.model_copy(update={"repo": None, "file": file})
    assert architecture_of(row) == ARCHITECTURES["svd"]
    assert architecture_of(row.model_copy(update={"file": small})) is None
    assert architecture_of(row.model_copy(update={"file": tmp_path / "none.safetensors"})) is None
