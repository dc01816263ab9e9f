"""The line that tells which devices there are, what each does and which of them rest."""

from __future__ import annotations

import html
import re

from svd_ui.engine import Device
from svd_ui.jobs.rotation import DeviceState, in_words
from svd_ui.web.animate.device_line import status

CARD = Device(kind="cuda", name="NVIDIA L4", total_bytes=22 * 2**30, free_bytes=20 * 2**30, profile="16gb")


def shown(*devices: DeviceState) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", status(devices)))).strip()


def test_before_anything_is_known_the_worker_starts() -> None:
    assert shown() == shown(DeviceState(name="cuda:0")) == "Starting the worker…"


def test_one_device_is_told_with_its_memory() -> None:
    text = shown(DeviceState(name="cuda:0", doing="free", device=CARD))
    assert text.startswith("NVIDIA L4 20 of 22 GB free no model loaded profile 16gb")
    assert "cuda:0" not in text


def test_of_several_each_is_told_with_what_it_does() -> None:
    loaded = CARD.model_copy(update={"loaded_checkpoint": "svd-xt"})
    text = shown(
        DeviceState(name="cuda:0", doing="working", device=loaded, job="0" * 32),
        DeviceState(name="cuda:1", doing="free", device=CARD),
        DeviceState(name="cuda:2", doing="resting", device=CARD, why="CUDA error: GPU is lost"),
    )
    assert text.startswith("3 × NVIDIA L4 1 resting cuda:0, NVIDIA L4, 20 of 22 GB free: making a clip")
    assert "cuda:1, NVIDIA L4, 20 of 22 GB free: idle" in text
    assert "cuda:2, NVIDIA L4, 20 of 22 GB free: resting: CUDA error: GPU is lost" in text
    assert "svd-xt loaded" in text
    assert "0" * 32 not in text  # whose clip it is, is nobody else's business


def test_one_that_cannot_be_used_says_why_instead_of_starting_for_ever() -> None:
    text = shown(DeviceState(name="cuda:9", doing="resting", why="There is no device 'cuda:9' here."))
    assert text.startswith("no device resting cuda:9: resting: There is no device 'cuda:9' here.")


def test_a_pair_is_told_as_one() -> None:
    pair = CARD.model_copy(update={"second": CARD})
    assert "cuda:0+cuda:1, NVIDIA L4, 20 of 22 GB free, with NVIDIA L4: idle" in shown(
        DeviceState(name="cuda:0+cuda:1", doing="free", device=pair)
    )


def test_how_long_a_rest_lasts_is_said_roughly() -> None:
    resting = DeviceState(name="cuda:0", doing="resting", why="it died", back=1000.0)
    assert in_words(resting, 760.0) == "resting, tried again in 4 min: it died"
    assert in_words(resting, 980.0) == "resting, tried again in 20 s: it died"
    assert in_words(resting, 1001.0) == "resting, being tried again: it died"
