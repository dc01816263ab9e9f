"""A plan played over a still: the planned camera to the pixel, nothing where something is held, the rest as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from svd_ui.catalog import folder_row
from svd_ui.clip import ClipSpec
from svd_ui.core.conditioning import to_pixels
from svd_ui.core.families.scene import Scene, flat, grid
from svd_ui.core.runtime import Runtime
from svd_ui.core.staging import Stage
from svd_ui.media.image import fit
from svd_ui.request import GenerationRequest
from svd_ui.settings import REPOSITORY
from svd_ui.steering.camera import CameraPath, read
from svd_ui.steering.choreography import Choreography
from tests.core.conftest import CPU_PLAN
from tests.tiny import save_tiny_warp

PHOTO = REPOSITORY / "assets" / "examples" / "mountains.jpg"
WIDTH, HEIGHT = 256, 144
SHARES = torch.tensor([0.0, 0.5, 1.0])


@pytest.fixture(scope="module")
def warp(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = save_tiny_warp(tmp_path_factory.mktemp("models") / "warp")
    return Runtime(folder_row(folder), folder, CPU_PLAN)


@pytest.fixture(scope="module")
def still() -> Image.Image:
    return fit(Image.open(PHOTO).convert("RGB"), WIDTH, HEIGHT)


def stage(runtime: Runtime, still: Image.Image, plan: Choreography, **values: Any) -> Stage:
    asked = {"width": WIDTH, "height": HEIGHT, "num_frames": 8, "fps": 7, "seed": 1} | values
    clip = ClipSpec.of(GenerationRequest.model_validate(asked), runtime.row)
    return Stage(runtime, to_pixels([still]), clip, None, plan, (WIDTH, HEIGHT))


def moving(share: torch.Tensor = SHARES) -> Scene:
    """What a checkpoint may have made: a pan, and something that drifts."""
    scene = flat(len(share))
    pose = torch.zeros(len(share), 5)
    pose[:, 0] = 0.1 * share
    return Scene(pose, scene.nearness, scene.drift + 0.02 * share[:, None, None, None])


def pixels(frames: torch.Tensor) -> np.ndarray:
    return ((frames.permute(0, 2, 3, 1) + 1) * 127.5).round().numpy()


def test_the_camera_goes_where_the_path_says_to_the_pixel(warp: Runtime, still: Image.Image) -> None:
    pan = stage(warp, still, Choreography(camera=read("pan=0.125; ease=linear")))
    frames = pixels(pan.frames(flat(3), SHARES))
    whole = np.asarray(still, np.float64)
    assert np.abs(frames[0] - whole).max() <= 1
    assert np.abs(frames[2][:, : WIDTH - 32] - whole[:, 32:]).max() <= 1
    assert np.abs(frames[1][:, : WIDTH - 16] - whole[:, 16:]).max() <= 1


@pytest.mark.parametrize(
    ("text", "place", "there"),
    [
        ("tilt=0.25", (0.0, 0.0), (0.0, -0.5 * HEIGHT / WIDTH)),
        ("zoom=2", (0.5, 0.2), (0.25, 0.1)),
        ("roll=45", (0.0, 0.4), (0.4 * 0.5**0.5, 0.4 * 0.5**0.5)),
        ("roll=45,zoom=2", (0.0, 0.4), (0.4 * 0.5**1.5, 0.4 * 0.5**1.5)),
    ],
)
def test_what_stands_at_a_place_in_the_end(
    warp: Runtime, still: Image.Image, text: str, place: tuple[float, float], there: tuple[float, float]
) -> None:
    """In halves of the width from the middle, y down: up is where a tilt looks, and a picture turns clockwise."""
    scene = stage(warp, still, Choreography(camera=read(text))).directed(flat(1), torch.ones(1))
    points = torch.tensor(place)[:, None, None]
    assert scene._rigid(points)[0, :, 0, 0].tolist() == pytest.approx(there, abs=1e-5)


def test_near_things_come_nearer_in_a_dolly_and_far_ones_stay(warp: Runtime, still: Image.Image) -> None:
    near = np.full((HEIGHT, WIDTH), -0.5, np.float32)
    near[:, WIDTH // 2 :] = 0.5
    plan = Choreography(camera=read("dolly=1.25"), nearness=near, parallax=1.0)
    scene = stage(warp, still, plan).directed(flat(1), torch.ones(1))
    moved = (scene.places(HEIGHT, WIDTH) - grid(HEIGHT, WIDTH, torch.empty(0)))[0]
    far_part, near_part = moved[:, :, : WIDTH // 2 - 20], moved[:, :, WIDTH // 2 + 20 :]
    assert far_part.abs().max() < 0.01
    here = grid(HEIGHT, WIDTH, torch.empty(0))[:, :, WIDTH // 2 + 20 :]
    assert torch.allclose(near_part[0], here[0] * (1 / 1.25 - 1), atol=0.02)


def test_nothing_moves_where_it_is_held_to_the_bit(warp: Runtime, still: Image.Image) -> None:
    hold = np.ones((HEIGHT, WIDTH), np.float32)
    hold[40:100, 60:160] = 0
    frames = pixels(stage(warp, still, Choreography(hold=hold)).frames(moving(), SHARES))
    whole = np.asarray(still, np.float64)
    kept = hold.astype(bool)
    assert (frames[2][kept] == whole[kept]).all()
    assert np.abs(frames[2][50:90, 80:140] - whole[50:90, 80:140]).mean() > 2


def test_what_is_lifted_moves_before_a_background_that_stays(warp: Runtime) -> None:
    """A white square on grey: with the checkpoint's pan the square goes, and grey is behind it."""
    picture = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
    picture[50:90, 100:140] = 255
    hold = np.ones((HEIGHT, WIDTH), np.float32)
    hold[50:90, 100:140] = 0
    plan = Choreography(hold=hold, lifted=True, own=read("pan=-0.125; ease=linear"))
    frames = pixels(stage(warp, Image.fromarray(picture), plan).frames(flat(3), SHARES))
    assert np.abs(frames[2][52:88, 134:170] - 255).max() < 2
    assert np.abs(frames[2][52:88, 100:128] - 96).max() < 8
    assert np.abs(frames[2][:, :90] - 96).max() == 0


def test_a_held_background_stays_while_its_subject_has_only_begun_to_move(warp: Runtime, still: Image.Image) -> None:
    """What moves by less than a pixel is not parted from what is behind it: that must not take the background along."""
    hold = np.ones((HEIGHT, WIDTH), np.float32)
    hold[50:90, 100:140] = 0
    barely = read("pan=-0.004; ease=linear")
    frames = pixels(stage(warp, still, Choreography(hold=hold, lifted=True, own=barely)).frames(flat(3), SHARES))
    away = np.ones((HEIGHT, WIDTH), bool)
    away[20:120, 70:170] = False
    assert np.abs(frames - np.asarray(still, np.float64))[:, away].max() == 0


def test_a_held_clip_may_have_a_camera_over_it(warp: Runtime, still: Image.Image) -> None:
    held = Choreography(hold=np.ones((HEIGHT, WIDTH), np.float32), camera=read("pan=0.125; ease=linear"))
    frames = pixels(stage(warp, still, held).frames(moving(), SHARES))
    assert np.abs(frames[2][:, : WIDTH - 32] - np.asarray(still, np.float64)[:, 32:]).max() <= 1


def test_scenery_is_what_the_camera_looks_at(warp: Runtime, still: Image.Image) -> None:
    def brighter(picture: np.ndarray) -> Any:
        return lambda share: np.clip(picture * (1.0 - share), 0, 255).astype(np.uint8)

    plan = Choreography(camera=CameraPath(), scenery=brighter)
    frames = pixels(stage(warp, still, plan).frames(flat(3), SHARES))
    assert np.abs(frames[0] - np.asarray(still, np.float64)).max() <= 1
    assert frames[2].max() == 0


def test_a_loop_s_last_frame_is_a_step_before_the_first(warp: Runtime, still: Image.Image) -> None:
    open_, closed = (stage(warp, still, Choreography(camera=read("orbit"), closed=one)) for one in (False, True))
    assert open_.span == 7
    shape = closed.clip.shape
    assert closed.span == pytest.approx(shape.num_frames * closed.clip.fps / shape.fps)


def test_without_a_plan_the_checkpoint_s_own_scene_is_seen(warp: Runtime, still: Image.Image) -> None:
    scene = moving()
    assert stage(warp, still, Choreography()).directed(scene, SHARES) is scene
