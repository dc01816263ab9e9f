"""Which number format a device computes in, and what comes after it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from svd_ui.catalog import STABILITY_ROWS, profile_for
from svd_ui.clip import ClipSpec
from svd_ui.core.attention import suited
from svd_ui.core.autotune import BenchmarkStore
from svd_ui.core.devices import Plan, plan_for
from svd_ui.core.number_formats import Traits, dtype_for, failed_formats, remember_overflow, wider
from svd_ui.notes import sentence
from svd_ui.request import GenerationRequest, LoraRef
from svd_ui.settings import Settings
from tests.pretended import PretendedDevice

GB = 1_000_000_000
XT = next(row for row in STABILITY_ROWS if row.id == "svd-xt")
CLIP = ClipSpec.of(GenerationRequest(), XT)


@pytest.mark.parametrize(
    ("traits", "dtype", "why"),
    [
        (Traits("cuda", "NVIDIA GeForce RTX 3060", (8, 6), 12 * GB, bfloat16=True), "float16", "on a GPU"),
        (Traits("cuda", "NVIDIA GeForce RTX 2060", (7, 5), 6 * GB), "float16", "on a GPU"),
        (Traits("cuda", "Tesla T4", (7, 5), 15 * GB), "float16", "on a GPU"),
        (Traits("cuda", "NVIDIA GeForce GTX 1660 SUPER", (7, 5), 6 * GB), "float32", "cannot compute in float16"),
        (Traits("cuda", "NVIDIA GeForce GTX 1650 with Max-Q Design", (7, 5), 4 * GB), "float32", "GTX 1650"),
        (Traits("cuda", "NVIDIA T600 Laptop GPU", (7, 5), 4 * GB), "float32", "T600"),
        (Traits("cuda", "Quadro T1000", (7, 5), 4 * GB), "float32", "T1000"),
        (Traits("cuda", "NVIDIA GeForce MX450", (7, 5), 2 * GB), "float32", "MX450"),
        (Traits("cuda", "Tesla V100-SXM2-32GB", (7, 0), 32 * GB), "float16", "on a GPU"),
        (Traits("cuda", "Tesla P100-PCIE-16GB", (6, 0), 16 * GB), "float16", "on a GPU"),
        (Traits("cuda", "NVIDIA GeForce GTX 1080", (6, 1), 8 * GB), "float16", "half the memory"),
        (Traits("cuda", "Tesla P40", (6, 1), 24 * GB), "float32", "has enough memory"),
        (Traits("cuda", "Tesla M40", (5, 2), 12 * GB), "float16", "half the memory"),
        (Traits("rocm", "AMD Radeon RX 7900 XTX", None, 24 * GB, bfloat16=True), "float16", "on a GPU"),
        (Traits("mps", "Apple GPU"), "float16", "on a GPU"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_auto_suits_the_device(traits: Traits, dtype: str, why: str) -> None:
    found, reason = dtype_for(traits)
    assert str(found) == f"torch.{dtype}"
    assert why in sentence(reason)


@pytest.mark.parametrize("setting", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 4090", "NVIDIA GeForce GTX 1660"])
def test_the_setting_wins(setting: str, name: str) -> None:
    traits = Traits("cuda", name, None, 24 * GB, bfloat16=True, failed=frozenset({"float16"}))
    found, reason = dtype_for(traits, setting=setting)
    assert str(found) == f"torch.{setting}"
    assert sentence(reason) == f"{setting}: your choice"


def test_a_format_that_the_device_does_not_have_becomes_float32() -> None:
    found, reason = dtype_for(Traits("cuda", "Tesla V100", (7, 0)), setting="bfloat16")
    assert found == torch.float32
    assert sentence(reason) == "float32: Tesla V100 has no bfloat16"


def test_float32_is_the_end_and_bfloat16_is_left_out_where_it_is_not() -> None:
    assert wider(torch.float16, bfloat16=True) == torch.bfloat16
    assert wider(torch.float16, bfloat16=False) == torch.float32
    assert wider(torch.bfloat16, bfloat16=True) == torch.float32
    assert wider(torch.float32, bfloat16=True) is None


def test_what_overflowed_is_remembered_by_device_checkpoint_and_loras(tmp_path: Path) -> None:
    store = BenchmarkStore(tmp_path / "measured.json")
    styled = ClipSpec.of(GenerationRequest(loras=(LoraRef(name="style"),)), XT)
    remember_overflow(store, "a card", styled, "float16")
    again = BenchmarkStore(tmp_path / "measured.json")
    assert failed_formats(again, "a card", styled) == {"float16"}
    assert not failed_formats(again, "a card", CLIP), "the LoRA may have been the cause"
    assert not failed_formats(again, "another", styled)
    remember_overflow(again, "a card", styled, "bfloat16")
    for failed, dtype in ((failed_formats(again, "a card", styled), torch.float32), ({"float16"}, torch.bfloat16)):
        found, reason = dtype_for(Traits("cuda", "a card", (8, 6), bfloat16=True, failed=frozenset(failed)))
        assert found == dtype
        assert "overflowed with this checkpoint before" in sentence(reason)


def test_a_wider_format_needs_a_smaller_profile() -> None:
    """As many bytes hold all weights in float16 and not in float32."""
    half, _ = profile_for("cuda", 16 * GB, 16 * GB, CLIP)
    full, _ = profile_for("cuda", 16 * GB, 16 * GB, CLIP, 4)
    assert (half.id, full.id) == ("12gb", "8gb")


def test_the_plan_follows_setting_and_card() -> None:
    settings = Settings(_env_file=None, devices="cuda:0")
    with PretendedDevice("cuda:0", capability=(7, 5)):
        assert plan_for(settings).dtype == torch.float16
        plan = plan_for(settings.model_copy(update={"number_format": "float32"}), clip=CLIP)
        assert plan.dtype == torch.float32
        assert sentence(plan.reasons["dtype"]) == "float32: your choice"
        plan = plan_for(settings.model_copy(update={"number_format": "bfloat16"}))
        assert plan.dtype == torch.float32, "Turing has none"
    with PretendedDevice("cuda:0", total_bytes=16 * GB) as gpu:
        plan = plan_for(settings, clip=CLIP)
        widened = plan.widened(CLIP)
        assert widened is not None
        assert widened.dtype == torch.bfloat16
        assert widened.profile == plan.profile
        last = widened.widened(CLIP)
        assert last is not None
        assert (last.dtype, last.widened(CLIP)) == (torch.float32, None)
        assert last.profile.order > plan.profile.order
        assert gpu.bytes == 0


def test_flash_attention_is_left_where_its_format_is_left() -> None:
    assert suited("flash", torch.bfloat16) == ("flash", None)
    kernel, why = suited("flash", torch.float32)
    assert kernel == "sdpa"
    assert "flash-attn needs float16" in sentence(why)
    plan = Plan(torch.device("cpu"), profile_for("cpu", None)[0], torch.bfloat16, "flash")
    widened = plan.widened(CLIP)
    assert widened is not None
    assert widened.attention == "sdpa"
