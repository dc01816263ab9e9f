"""Where a crop is put by itself: on faces, else on what stands out."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svd_ui.media.faces import faces
from svd_ui.media.image import crop_box
from svd_ui.media.subject import MIDDLE, Subject, subject
from svd_ui.presets import ASPECTS
from svd_ui.settings import REPOSITORY

PHOTOS, EXAMPLES = REPOSITORY / "benchmarks" / "data", REPOSITORY / "assets" / "examples"
Box = tuple[float, float, float, float]

# Of each photograph what must be seen, by hand: (left, top, right, bottom) in pixels, and how much of it may be cut off.
HEAD: Box = (165, 12, 285, 178)
KEPT: dict[str, tuple[Path, Box, float]] = {
    "her head": (PHOTOS / "astronaut.jpg", HEAD, 0.0),
    "her head in the example": (EXAMPLES / "astronaut.jpg", HEAD, 0.0),
    "the upper dog": (PHOTOS / "friends.jpg", (105, 118, 178, 205), 0.25),
    "the lower dog": (PHOTOS / "friends.jpg", (160, 228, 230, 330), 0.02),
    "the cat's face": (PHOTOS / "chelsea.jpg", (120, 70, 350, 270), 0.3),
    "the bloom": (PHOTOS / "flower.jpg", (140, 70, 355, 290), 0.15),
    "the rocket": (PHOTOS / "rocket.jpg", (240, 100, 275, 325), 0.02),
    "the pagoda": (PHOTOS / "pagoda.jpg", (65, 25, 275, 335), 0.25),
}


def found(path: Path) -> tuple[tuple[int, int], Subject]:
    with Image.open(path) as image:
        return image.size, subject(image.convert("RGB"))


def cut_off(crop: Box, box: Box) -> float:
    """The share of ``box`` outside of ``crop``."""
    wide = max(0.0, min(crop[2], box[2]) - max(crop[0], box[0]))
    high = max(0.0, min(crop[3], box[3]) - max(crop[1], box[1]))
    return 1 - wide * high / ((box[2] - box[0]) * (box[3] - box[1]))


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("what", KEPT)
def test_a_crop_keeps_what_the_picture_is_of(what: str, aspect: str) -> None:
    path, box, most = KEPT[what]
    size, known = found(path)
    width, height = round(720 * ASPECTS[aspect]), 720
    crop = crop_box(size, width, height, *known.focus(width, height))
    assert cut_off(crop, box) <= most + 1e-6


def test_the_middle_would_have_cut_her_head() -> None:
    assert cut_off(crop_box((512, 512), 16, 9), HEAD) > 0.4


def test_a_face_is_found_and_none_where_there_is_none() -> None:
    with Image.open(PHOTOS / "astronaut.jpg") as image:
        (face,) = faces(image.convert("RGB"))
    assert cut_off(face, (190, 85, 255, 155)) == 0 and cut_off(HEAD, face) < 0.1
    others = [path for path in sorted(PHOTOS.glob("*.jpg")) if path.stem != "astronaut"]
    assert len(others) == 9
    for path in others:
        with Image.open(path) as image:
            assert faces(image.convert("RGB")) == [], path.name


def test_small_faces_at_any_place_are_found() -> None:
    """Twenty-five people in the same photograph of a place, grey, a fifth of its width."""
    data = pytest.importorskip("skimage.data")
    people = data.lfw_subset()[:100:4]
    with Image.open(PHOTOS / "pagoda.jpg") as image:
        place = image.convert("RGB")
    seen = 0
    for index, person in enumerate(people):
        corner = 60 + 5 * index, 30 + 3 * index
        face = Image.fromarray((person * 255).astype(np.uint8)).resize((110, 110), Image.Resampling.BICUBIC)
        scene = place.copy()
        scene.paste(face.convert("RGB"), corner)
        middle = corner[0] + 55, corner[1] + 55
        seen += any(box[0] < middle[0] < box[2] and box[1] < middle[1] < box[3] for box in faces(scene))
    assert seen >= 0.8 * len(people)


def test_of_two_faces_far_apart_the_surest_is_kept_whole() -> None:
    with Image.open(PHOTOS / "astronaut.jpg") as image:
        one = image.convert("RGB").crop((100, 0, 356, 256))
    scene = Image.new("RGB", (800, 256), "grey")
    scene.paste(one, (0, 0))
    scene.paste(one, (544, 0))
    known = subject(scene)
    assert len(known.heads) == 2
    left, right = sorted(known.heads)
    both = crop_box(scene.size, 720, 256, *known.focus(720, 256))
    assert both[0] <= left[0] * 800 and both[2] >= right[2] * 800
    one_of_them = crop_box(scene.size, 256, 256, *known.focus(256, 256))
    assert one_of_them[0] <= known.heads[0][0] * 800 and one_of_them[2] >= known.heads[0][2] * 800


def test_where_nearly_all_is_kept_the_crop_stays_in_the_middle() -> None:
    size, known = found(PHOTOS / "astronaut.jpg")
    assert known.focus(*size) == known.focus(528, 512) == MIDDLE
    assert known.focus(640, 512) != MIDDLE


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (3, 4000), (23, 23), (64, 64)])
@pytest.mark.parametrize("colour", ["black", "white", "#6a5acd"])
def test_an_empty_picture_of_any_shape_is_cropped_in_its_middle(size: tuple[int, int], colour: str) -> None:
    known = subject(Image.new("RGB", size, colour))
    assert known.heads == ()
    for width, height in ((1024, 576), (576, 1024), (512, 512)):
        x, y = known.focus(width, height)
        assert x == pytest.approx(0.5, abs=0.01) and y == pytest.approx(0.5, abs=0.01)


def test_one_bright_thing_at_the_side_is_followed() -> None:
    night = Image.new("RGB", (900, 300), "black")
    night.paste("white", (780, 140, 800, 160))
    left, _, right, _ = crop_box(night.size, 300, 300, *subject(night).focus(300, 300))
    assert left < 780 and right > 800


def test_the_same_pixels_give_the_same_subject() -> None:
    path = PHOTOS / "wine.jpg"
    assert found(path) == found(path)


def test_a_photo_of_twelve_million_pixels_takes_no_time() -> None:
    """Its own work alone: what others do on the machine is not counted."""
    with Image.open(PHOTOS / "astronaut.jpg") as image:
        large = image.convert("RGB").resize((4000, 3000))
    seconds = []
    for _ in range(3):
        start = time.thread_time()
        subject(large)
        seconds.append(time.thread_time() - start)
    assert min(seconds) <= 0.15
