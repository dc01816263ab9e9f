"""Predictions: memory, whether it fits, what would, and seconds."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from svd_ui.catalog import PROFILES, STABILITY_ROWS
from svd_ui.catalog.profiles import CONTEXT_BYTES
from svd_ui.engine import Device, Estimate
from svd_ui.engine.estimates import estimate
from svd_ui.hub import Hub
from svd_ui.notes import remedy
from svd_ui.request import GenerationRequest, Wall
from svd_ui.settings import Settings

GIB = 1024**3
XT = next(row for row in STABILITY_ROWS if row.id == "svd-xt")


def card(gib: float, kind: str = "cuda", **more: Any) -> Device:
    return Device(kind=kind, name="a device", total_bytes=int(gib * GIB), dtype="float16", **more)


def asked(settings: Settings, device: Device | None, **values: Any) -> Estimate:
    request = GenerationRequest(**{"checkpoint": "svd-xt", **values})
    return estimate(settings, Hub(settings), request, device)


def test_nothing_is_claimed_where_nothing_is_known(settings: Settings) -> None:
    assert asked(settings, None) == Estimate()
    assert asked(settings, card(8), checkpoint="no-such") == Estimate()
    known = asked(settings, Device(kind="cuda", name="mute"))
    assert known.fits is None and known.remedy is None and known.seconds is None and known.basis is None


def test_auto_means_the_profile_that_this_clip_fits_in(settings: Settings) -> None:
    chosen = [asked(settings, card(gib)).profile for gib in (80, 24, 16, 12, 8, 6, 4)]
    orders = [PROFILES[id].order for id in chosen if id]
    assert orders == sorted(orders) and chosen[0] == "24gb"
    assert all(asked(settings, card(gib)).fits for gib in (80, 24, 16, 12, 8, 6, 4))
    # a larger clip on the same card steps down, a smaller one up
    native, wide = asked(settings, card(12)), asked(settings, card(12), width=1536, height=1024)
    small = asked(settings, card(12), width=512, height=320)
    assert PROFILES[small.profile or ""].order <= PROFILES[native.profile or ""].order
    assert PROFILES[native.profile or ""].order < PROFILES[wide.profile or ""].order


def test_a_profile_too_large_is_remedied_by_the_largest_that_fits(settings: Settings) -> None:
    bad = asked(settings, card(8), profile="24gb")
    assert bad.fits is False and bad.remedy is not None
    assert set(bad.remedy.values) == {"profile"}
    assert remedy(bad.remedy.values) == f"Use the {bad.remedy.values['profile'].removesuffix('gb')} GB profile"
    above = [row.id for row in PROFILES.values() if row.order < PROFILES[bad.remedy.values["profile"]].order]
    assert not any(asked(settings, card(8), profile=id).fits for id in above)


@pytest.mark.parametrize("gib", [1.5, 2, 3, 4, 8])
def test_a_remedy_applied_fits_and_takes_no_more_than_it_must(settings: Settings, gib: float) -> None:
    sizes = ({}, {"width": 2048, "height": 1152}, {"num_frames": 64}, {"width": 1024, "height": 1024})
    for size, profile, chunk in itertools.product(sizes, ("auto", "16gb", "4gb"), (None, 25)):
        values = {**size, "profile": profile, "decode_chunk_size": chunk}
        before = asked(settings, card(gib), **values)
        if before.fits or before.remedy is None:
            continue
        after = asked(settings, card(gib), **{**values, **before.remedy.values})
        assert after.fits, (values, before.remedy)
        for name in before.remedy.values.keys() - {"width", "height"}:
            fewer = {key: value for key, value in before.remedy.values.items() if key != name}
            assert not asked(settings, card(gib), **{**values, **fewer}).fits, (values, before.remedy, name)


def test_a_smaller_size_keeps_the_aspect_on_the_checkpoints_grid(settings: Settings) -> None:
    before = asked(settings, card(4), width=2048, height=1152, num_frames=25)
    assert before.fits is False and before.remedy is not None
    width, height = before.remedy.values["width"], before.remedy.values["height"]
    assert width % 64 == height % 64 == 0
    assert width / height == pytest.approx(16 / 9, rel=0.1)
    assert f"ake it {width}x{height}" in remedy(before.remedy.values)


def test_more_never_needs_less(settings: Settings) -> None:
    for name, values in (("num_frames", (2, 8, 14, 25, 40, 64)), ("width", (256, 512, 1024, 1536, 2048))):
        for profile in ("24gb", "8gb", "4gb", "cpu"):
            known = [asked(settings, card(24, flops_per_second=1e14), profile=profile, **{name: v}) for v in values]
            peaks, seconds = [one.peak_bytes or 0 for one in known], [one.seconds or 0 for one in known]
            assert peaks == sorted(peaks) and seconds == sorted(seconds), (name, profile)


def test_seconds_come_from_operations_and_the_measured_rate(settings: Settings) -> None:
    slow, fast = (asked(settings, card(24, flops_per_second=rate)) for rate in (1e14, 2e14))
    assert slow.basis == fast.basis == "computed"
    assert slow.seconds == pytest.approx(2 * (fast.seconds or 0))
    draft = asked(settings, card(24, flops_per_second=1e14), speed="draft")
    assert draft.seconds and slow.seconds and draft.cost_ratio
    assert draft.seconds == pytest.approx(draft.cost_ratio * slow.seconds)
    wall = asked(
        settings, card(24, flops_per_second=1e14), speed="draft", wall=Wall(seeds=2, motion_bucket_ids=(9, 99))
    )
    assert 3.9 * draft.seconds < (wall.seconds or 0) < 4 * draft.seconds  # the still is read once


def test_a_cpu_is_held_against_its_hosts_memory_with_wide_weights(settings: Settings) -> None:
    device = card(16, "cpu").model_copy(update={"dtype": "float32"})
    full = asked(settings, device)
    assert full.profile == "cpu"
    assert full.peak_bytes is not None and full.peak_bytes > 4 * 2_254_000_000  # every weight in four bytes
    nano = asked(settings, card(4, "cpu"), checkpoint="nano")
    assert nano.fits and (nano.peak_bytes or GIB) < GIB


def test_shared_memory_keeps_weights_where_they_are(settings: Settings) -> None:
    apple = asked(settings, card(16, "mps"), profile="4gb")
    assert apple.peak_bytes is not None and apple.peak_bytes > 2 * 2_254_000_000
    tight = asked(settings, card(5.5, "mps"), profile="16gb")
    assert tight.remedy is None or "profile" not in tight.remedy.values


def test_what_others_hold_on_a_card_is_not_free(settings: Settings) -> None:
    alone, beside = card(8), card(8, free_bytes=5 * GIB)
    assert PROFILES[asked(settings, beside).profile or ""].order >= PROFILES[asked(settings, alone).profile or ""].order
    assert asked(settings, card(8, free_bytes=GIB)).fits is False
    # our own weights, once loaded, are not somebody else's
    assert asked(settings, card(8, free_bytes=GIB, loaded_checkpoint="svd-xt")).fits is True


def test_the_drivers_own_memory_is_kept_free(settings: Settings) -> None:
    peak = asked(settings, card(24), profile="16gb").peak_bytes or 0
    exactly = Device(kind="cuda", name="", dtype="float16", total_bytes=peak + CONTEXT_BYTES)
    assert asked(settings, exactly, profile="16gb").fits is True
    assert asked(settings, exactly.model_copy(update={"total_bytes": peak}), profile="16gb").fits is False
