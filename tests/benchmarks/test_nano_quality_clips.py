"""The quality table from the checkpoint to its rows, and what it reads off a clip's own scene; a tiny checkpoint stands in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.nano_quality import edges, rendering, sheets, table
from benchmarks.nano_quality.checkpoint import Clip, Nano, Photo
from benchmarks.nano_quality.labels import labels
from benchmarks.nano_quality.measure import Measured, measure
from svd_ui.core.families.scene import Scene
from svd_ui.settings import REPOSITORY
from tests.tiny import save_tiny_warp

DATA = REPOSITORY / "benchmarks" / "data"
CELLS = (4, 8)
UNSEEN = [[127, 1e-6], [255, 2e-6]]
"""Paths as shares of the width, by motion."""


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Nano:
    return Nano.load(save_tiny_warp(tmp_path_factory.mktemp("models") / "warp"), "exact")


@pytest.fixture(scope="module")
def photo(nano: Nano) -> Photo:
    return Photo.open(DATA / "pagoda.jpg", nano.size)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Of a checkpoint that makes the moves it knows too small to be seen."""
    folder = save_tiny_warp(tmp_path_factory.mktemp("models") / "standing")
    about = folder / "svd_ui.json"
    about.write_text(json.dumps(json.loads(about.read_text("utf-8")) | {"motion_paths": UNSEEN}), "utf-8")
    with torch.inference_mode():
        return measure(Nano.load(folder, "exact"), DATA / "pagoda.jpg", labels()["pagoda"], 2, 0)


def panned(nano: Nano, photo: Photo, far: float) -> Clip:
    """The camera goes ``far`` halves of the longer side to the right, evenly."""
    spec = nano.spec(1)
    pose = torch.zeros(spec.num_frames, 5)
    pose[:, 0] = torch.linspace(0, far, spec.num_frames)
    scene = Scene(pose, torch.zeros(CELLS), torch.zeros(spec.num_frames, 2, *CELLS))
    frames = np.repeat(photo.still[None], spec.shape.num_frames, axis=0)
    return Clip(frames, spec.output_fps, spec, scene)


def test_every_figure_has_a_row_and_what_stands_still_misses(measured: Measured) -> None:
    rows = {row.what: row for row in table.rows([measured], 128)}
    assert rows["seeds that stand still"].value == 100
    assert rows["seeds that push in"].passed is False
    assert rows["first frame against the still, median"].passed
    assert rows["pixels shown from beyond what was painted"].value == 0
    assert all(row.value is not None or row.what.startswith(("near", "stir", "else", "largest", "speed", "roll", "rubber", "straight")) for row in rows.values())  # fmt: skip


def test_what_wobbles_everywhere_does_not_stir_by_itself(measured: Measured) -> None:
    alive = replace(measured, name="alive", figures=measured.figures | {"stir": [0.5], "stir outside": [0.1]})
    wobbling = replace(measured, name="wobbling", figures=measured.figures | {"stir": [0.5], "stir outside": [0.4]})
    rows = {row.what: row.value for row in table.rows([alive, wobbling], 128)}
    assert rows["photographs where something stirs by itself"] == 1


def test_what_a_pan_shows_from_outside_is_counted(nano: Nano, photo: Photo) -> None:
    found = edges.edges(nano, photo, panned(nano, photo, 0.2))
    assert found.still == pytest.approx(0.05, abs=0.01)  # a tenth of the width in the end, half of it in the mean
    assert found.photograph == found.still  # this crop is as wide as its photograph
    assert found.canvas == 0
    assert edges.edges(nano, photo, panned(nano, photo, 0.0)) == edges.Edges(0, 0, 0)


def test_frames_between_and_other_sizes_are_compared(nano: Nano, photo: Photo) -> None:
    clip = panned(nano, photo, 0.1)
    assert rendering.between_keys(nano, photo, clip) > 40
    still = panned(nano, photo, 0.0)
    assert rendering.other_size(nano, photo, still) > 35
    assert rendering.other_size(nano, photo, clip) < rendering.other_size(nano, photo, still)  # its frames do not pan


def test_a_known_motion_starts_at_the_still_and_ends_where_the_clip_does(nano: Nano, photo: Photo) -> None:
    scene = panned(nano, photo, 0.3).scene
    motion = rendering.known(scene, torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 1.0, 2.0]))
    assert motion.pose[0].abs().max() == 0
    torch.testing.assert_close(motion.pose[-1], scene.pose[-1])
    assert motion.pose[1, 0] == pytest.approx(0.15)


def test_sheets_show_where_the_seeds_end(nano: Nano, tmp_path: Path) -> None:
    with torch.inference_mode():
        sheets.of_seeds(nano, [DATA / "pagoda.jpg", DATA / "rocket.jpg"], 2, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pagoda.jpg"]
